// A stand-in for Sanity's query API that answers with Sanity's own engine for GROQ.
//
// Arguments: the folder into which `./scripts/test packages` installed the engine, and the token that is
// asked for. Prints `listening <port>`. Beside the API it takes `POST /documents` (the dataset, a JSON array),
// `POST /failures` (how many queries fail, and with which status) and `GET /asked` (the queries so far), for
// tests/e2e/hooks/lake.rs.

import { createServer } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , packages, token] = process.argv;
const entry = join(packages, "node_modules/groq-js/dist/1.mjs");
const { parse, evaluate } = await import(pathToFileURL(entry));

let documents = [];
let failures = { count: 0, status: 503 };
const asked = [];

async function body(request) {
  let text = "";
  for await (const piece of request) text += piece;
  return JSON.parse(text);
}

// What the published perspective does not show.
const isPublished = ({ _id }) => !/^(drafts|versions)\./.test(_id);

async function answer(request, url) {
  if (request.headers.authorization !== `Bearer ${token}`) {
    return [401, { statusCode: 401, error: "Unauthorized", message: "Session not found" }];
  }
  if (failures.count > 0) {
    failures.count -= 1;
    return [failures.status, { statusCode: failures.status, error: "made up", message: "try later" }];
  }
  const query = url.searchParams.get("query");
  if (query === null) return [400, { error: { description: "query is required" } }];
  if (url.searchParams.get("perspective") !== "published") {
    return [400, { error: { description: "another perspective" } }];
  }
  const params = {};
  for (const [name, value] of url.searchParams) {
    if (!name.startsWith("$")) continue;
    try {
      params[name.slice(1)] = JSON.parse(value);
    } catch {
      return [400, { error: { description: `the parameter ${name} is no JSON`, type: "httpBadRequest" } }];
    }
  }
  asked.push({ query, params });
  let tree;
  try {
    tree = parse(query, { params });
  } catch (error) {
    return [400, { error: { description: error.message, type: "queryParseError" } }];
  }
  const value = await evaluate(tree, { dataset: documents.filter(isPublished), params });
  return [200, { query, result: await value.get(), ms: 1 }];
}

async function route(request) {
  const url = new URL(request.url, "http://lake");
  const asks = `${request.method} ${url.pathname}`;
  if (asks === "POST /documents") {
    documents = await body(request);
    return [200, {}];
  }
  if (asks === "POST /failures") {
    failures = await body(request);
    return [200, {}];
  }
  if (asks === "GET /asked") return [200, asked];
  if (/^GET \/v\d{4}-\d\d-\d\d\/data\/query\/production$/.test(asks)) return answer(request, url);
  return [404, { statusCode: 404, error: "Not Found", message: "no such dataset" }];
}

const server = createServer(async (request, response) => {
  const [status, value] = await route(request);
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
});
server.listen(0, "127.0.0.1", () => console.log(`listening ${server.address().port}`));
