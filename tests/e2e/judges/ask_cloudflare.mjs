// The request handler of Cloudflare Pages: which file of a site an address means.
//
// Reads orders from standard input, one a line, as JSON: the files of a site, and the addresses that are asked
// for. Answers each with one line: for each address its status, and the file or where to. The first argument
// is the folder into which `./scripts/test packages` installed the handler. tests/e2e/judges/addresses.rs
// gives the orders.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const handler = join(
  process.argv[2],
  "node_modules/@cloudflare/pages-shared/dist/asset-server/handler.js",
);
// Its package does not say that it is a module.
const source = readFileSync(handler).toString("base64");
const { generateHandler } = await import(`data:text/javascript;base64,${source}`);
const origin = "http://site.example";

async function answer(files, address) {
  const response = await generateHandler({
    request: new Request(origin + address),
    metadata: {},
    logError: (error) => {
      throw error;
    },
    findAssetEntryForPath: async (path) => (files.has(path.slice(1)) ? path : null),
    // A key is part of a header.
    getAssetKey: (path) => encodeURIComponent(path.slice(1)),
    negotiateContent: () => ({ encoding: null }),
    fetchAsset: async (key) => ({ body: decodeURIComponent(key), contentType: "text/plain" }),
  });
  const location = response.headers.get("location");
  return `${response.status} ${location ?? (await response.text())}`.trim();
}

for await (const line of createInterface({ input: process.stdin })) {
  const { files, addresses } = JSON.parse(line);
  const site = new Set(files);
  const answers = [];
  for (const address of addresses) {
    answers.push(await answer(site, address));
  }
  process.stdout.write(`${JSON.stringify(answers)}\n`);
}
