// The packages of the senders: signs an order as they do, and verifies what is said to be signed.
//
// The first argument is the folder into which `./scripts/test packages` installed them. Reads one order from
// standard input, as JSON: {sender, secret, body, at (unix ms), id}; prints the headers, as JSON. tests/e2e/
// hooks/desk.rs gives the orders.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "package.json"));
const { sender, secret, body, at, id } = JSON.parse(readFileSync(0, "utf8"));

const signs = {
  async github() {
    const hex = createHmac("sha256", secret).update(body).digest("hex");
    return { "x-hub-signature-256": `sha256=${hex}`, "x-github-delivery": id };
  },
  async sanity() {
    const { encodeSignatureHeader, isValidSignature } = require("@sanity/webhook");
    const header = await encodeSignatureHeader(body, at, secret);
    if (!(await isValidSignature(body, header, secret))) throw new Error("its own package refuses it");
    return { "sanity-webhook-signature": header };
  },
  async standard() {
    const { Webhook } = require("standardwebhooks");
    const seconds = Math.floor(at / 1000);
    const headers = {
      "webhook-id": id,
      "webhook-timestamp": String(seconds),
      "webhook-signature": new Webhook(secret).sign(id, new Date(seconds * 1000), body),
    };
    new Webhook(secret).verify(body, headers);
    return headers;
  },
};

console.log(JSON.stringify(await signs[sender]()));
