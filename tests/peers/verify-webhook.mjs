// Verifies one real request of AURA with the npm package standardwebhooks: node verify-webhook.mjs REQUEST.json
// REQUEST.json: { secret, headers, body }. Ends with 1 if the package refuses it, or takes a changed one.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
const { Webhook } = createRequire(process.cwd() + "/")("standardwebhooks");
const { secret, headers, body } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const webhook = new Webhook(secret);
const event = webhook.verify(body, headers);
if (typeof event.type !== "string") throw new Error("no type");
let refused = false;
try { webhook.verify(body + " ", headers); } catch { refused = true; }
if (!refused) throw new Error("a changed body was taken");
console.log("standardwebhooks (npm) verified", headers["webhook-id"]);
