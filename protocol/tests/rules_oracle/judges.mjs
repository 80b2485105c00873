// The judges of our `_redirects` and `_headers`: the parsers that Netlify builds sites with, and the
// parsers and the request handler of Cloudflare Pages.
//
// Reads one order a line, as JSON, and answers each with one line. `protocol/tests/rules_oracle/main.rs`
// gives the orders. The first argument is the folder into which `./scripts/test packages` installed them,
// the second a file that may be written, since Netlify's read nothing else.
//
// Netlify publishes how it reads a file of redirects, not how it matches one, so the matching of what it
// read is written here as its documentation has it, with plain regular expressions.

import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const judges = resolve(process.argv[2]);
const installed = (path) => pathToFileURL(join(judges, "node_modules", path)).href;
const { parseAllRedirects } = await import(installed("@netlify/redirect-parser/lib/index.js"));
const { parseAllHeaders } = await import(installed("@netlify/headers-parser/lib/index.js"));
const cloudflare = await bundled();
const site = "https://site.example";
const scratch = process.argv[3];

// Cloudflare's parsers are published as TypeScript, which Node does not read.
async function bundled() {
  const { buildSync } = createRequire(join(judges, "package.json"))("esbuild");
  const parsers = "pages-shared-with-parsers/metadata-generator";
  const current = "@cloudflare/pages-shared/dist";
  const built = buildSync({
    stdin: {
      contents: `
        export { parseRedirects } from "${parsers}/parseRedirects.ts";
        export { parseHeaders } from "${parsers}/parseHeaders.ts";
        export { createMetadataObject } from "${current}/metadata-generator/createMetadataObject.js";
        export { generateHandler } from "${current}/asset-server/handler.js";
      `,
      resolveDir: judges,
    },
    bundle: true,
    format: "esm",
    platform: "node",
    write: false,
  });
  const source = Buffer.from(built.outputFiles[0].contents).toString("base64");
  return import(`data:text/javascript;base64,${source}`);
}

async function inFile(text) {
  await writeFile(scratch, text);
  return scratch;
}

async function netlifyRedirects({ file, requests }) {
  const { redirects, errors } = await parseAllRedirects({
    redirectsFiles: [await inFile(file)],
    minimal: true,
  });
  return {
    accepted: redirects.length,
    errors: errors.map((error) => error.message),
    answers: requests.map((request) => netlifyAnswer(redirects, request)),
  };
}

function netlifyAnswer(redirects, request) {
  const [path, ...query] = request.split("?");
  for (const rule of redirects) {
    const captures = netlifyCaptures(rule, decoded(path));
    const parameters = new URLSearchParams(query.join("?"));
    if (captures === undefined || !takeParameters(rule.query, parameters, captures)) {
      continue;
    }
    const to = rule.to.replace(/:([A-Za-z]\w*)/g, (text, name) => captures[name] ?? text);
    const status = rule.status ?? 301;
    const shown = rule.force ? `${status}!` : status;
    if (status >= 300 && status < 400) {
      return `${shown} ${withParameters(to, parameters)}`;
    }
    const file = to.split(/[?#]/)[0];
    if (status !== 200) {
      return `${shown} ${file}`;
    }
    return page(file) === page(decoded(path)) ? "nothing" : `${shown} ${page(file)}`;
  }
  return "nothing";
}

function withParameters(to, parameters) {
  const [address, fragment] = to.split("#");
  const rest = parameters.toString();
  const slash = /^https?:\/\/[^/]*$/.test(address) ? "/" : "";
  const query = rest !== "" && !address.includes("?") ? `?${rest}` : "";
  return address + slash + query + (fragment === undefined ? "" : `#${fragment}`);
}

function netlifyCaptures(rule, path) {
  const names = [];
  const segments = rule.from.split("/").filter((segment) => segment !== "");
  const expression = segments
    .map((segment, index) => {
      if (segment === "*" && index === segments.length - 1) {
        names.push("splat");
        return "(?:/(.*))?";
      }
      if (/^:[A-Za-z]\w*$/.test(segment)) {
        names.push(segment.slice(1));
        return "/([^/]+)";
      }
      return `/${decoded(segment).replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}`;
    })
    .join("");
  const found = new RegExp(`^${expression}/?$`).exec(path);
  return found
    ? Object.fromEntries(names.map((name, index) => [name, found[index + 1] ?? ""]))
    : undefined;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function takeParameters(wanted, parameters, captures) {
  for (const [name, value] of Object.entries(wanted)) {
    const given = parameters.get(name);
    if (given === null) {
      return false;
    }
    if (value === undefined) {
      // A name without a value: read, and said nowhere what it means.
    } else if (value.startsWith(":")) {
      captures[value.slice(1)] = given;
    } else if (value !== given) {
      return false;
    }
    parameters.delete(name);
  }
  return true;
}

async function netlifyHeaders({ file, requests }) {
  const { headers, errors } = await parseAllHeaders({
    headersFiles: [await inFile(file)],
    minimal: false,
  });
  return {
    accepted: headers.length,
    errors: errors.map((error) => error.message),
    // Each block by itself: the package does not say what several make of one header.
    answers: requests.map((path) =>
      headers
        .filter(({ forRegExp }) => forRegExp.test(decoded(path)))
        .flatMap(({ values }) => Object.entries(values)),
    ),
  };
}

async function cloudflareRedirects({ file, requests }) {
  const redirects = cloudflare.parseRedirects(file);
  const metadata = cloudflare.createMetadataObject({ redirects });
  const answers = [];
  for (const request of requests) {
    answers.push(await cloudflareRedirect(metadata, request));
  }
  const errors = redirects.invalid.map(({ message }) => message);
  return { accepted: redirects.rules.length, errors, answers };
}

async function cloudflareRedirect(metadata, request) {
  const asked = [];
  let response;
  try {
    response = await handled(metadata, request, (path) => {
      asked.push(path);
      return null;
    });
  } catch (error) {
    return `throws ${error.message}`;
  }
  const location = response.headers.get("location");
  if (location !== null) {
    return `${response.status} ${location}`;
  }
  const own = decoded(new URL(site + request).pathname);
  return page(asked[0]) === page(own) ? "nothing" : `200 ${page(asked[0])}`;
}

// A folder and its index are one page: the handler looks for the index.
function page(path) {
  return path.replace(/\/index\.html$/, "/");
}

async function cloudflareHeaders({ file, requests }) {
  const headers = cloudflare.parseHeaders(file);
  const metadata = cloudflare.createMetadataObject({ headers });
  const answers = [];
  for (const request of requests) {
    const [bare, ruled] = [await served({}, request), await served(metadata, request)];
    answers.push({ bare: Object.fromEntries(bare), ruled: Object.fromEntries(ruled) });
  }
  const errors = headers.invalid.map(({ message }) => message);
  return { accepted: headers.rules.length, errors, answers };
}

async function served(metadata, request) {
  const isThere = (path) => path.endsWith("/index.html") || !path.endsWith(".html");
  const response = await handled(metadata, request, (path) => (isThere(path) ? path : null));
  return response.headers.entries();
}

function handled(metadata, request, findAssetEntryForPath) {
  return cloudflare.generateHandler({
    request: new Request(site + request),
    metadata,
    logError: (error) => {
      throw error;
    },
    findAssetEntryForPath: async (path) => findAssetEntryForPath(path),
    getAssetKey: (path) => path,
    negotiateContent: () => ({ encoding: null }),
    fetchAsset: async () => ({ body: null, contentType: "text/plain" }),
  });
}

const orders = {
  "netlify-redirects": netlifyRedirects,
  "netlify-headers": netlifyHeaders,
  "cloudflare-redirects": cloudflareRedirects,
  "cloudflare-headers": cloudflareHeaders,
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(await orders[order.do](order))}\n`);
}
