// Signs and verifies with the vendors' own npm packages: one JSON request a line on stdin, one JSON answer a line on
// stdout. Started in the folder that holds their node_modules; every package must be there. See tests/it/e2e_vendors.rs.
//   {op: "sdks"}                                          -> {sdks: [{package, version, scheme, signs}]}
//   {op: "sign", package, scheme, secret, body, url, id, now_s}       -> {headers}
//   {op: "verify", package, scheme, secret, body, url, headers, query}  -> {valid, why}
// secret is what the receiver has; of key pairs {public, private}. The clock is the machine's, as in production.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(process.cwd() + "/");
const Stripe = require("stripe");
const { verifySlackRequest } = require("@slack/bolt");
// An ES module only, which `require` does not take.
const octokit = join(process.cwd(), "node_modules/@octokit/webhooks-methods/dist-node/index.js");
const github = await import(pathToFileURL(octokit).href);
require("@shopify/shopify-api/adapters/node");
const { shopifyApi, ApiVersion } = require("@shopify/shopify-api");
const { EventWebhook } = require("@sendgrid/eventwebhook");
const starkbank = createRequire(require.resolve("@sendgrid/eventwebhook"))("starkbank-ecdsa");
const svix = require("svix");
const standard = require("standardwebhooks");
const { default: OpenAI } = require("openai");
const { Signature: Hubspot } = require("@hubspot/api-client");
const notion = require("@notionhq/client");

const stripe = new Stripe("sk_test_of_nobody");
const openai = new OpenAI({ apiKey: "of nobody" });
const shopify = (secret) =>
  shopifyApi({
    apiKey: "of nobody",
    apiSecretKey: secret,
    hostName: "hooks.example.com",
    apiVersion: Object.values(ApiVersion).at(-1),
    isEmbeddedApp: false,
    logger: { log: () => {} },
  });

const must = (valid) => {
  if (!valid) throw new Error("not valid");
};
const standardSigned = (family, Webhook) => ({ secret, body, id, now_s }) => ({
  [`${family}-id`]: id,
  [`${family}-timestamp`]: String(now_s),
  [`${family}-signature`]: new Webhook(secret).sign(id, new Date(now_s * 1000), body),
});
const hubspot = (signatureVersion) => {
  const timed = signatureVersion === "v3";
  const header = timed ? "x-hubspot-signature-v3" : "x-hubspot-signature";
  const options = ({ secret, body, url }, timestamp) => ({ clientSecret: secret, requestBody: body, url, timestamp });
  return {
    package: "@hubspot/api-client",
    scheme: `hubspot_${signatureVersion}`,
    sign: (asked) => {
      const timestamp = timed ? asked.now_s * 1000 : undefined;
      const signature = Hubspot.getSignature("POST", signatureVersion, options(asked, timestamp));
      return timed
        ? { [header]: signature, "x-hubspot-request-timestamp": String(timestamp) }
        : { [header]: signature, "x-hubspot-signature-version": signatureVersion };
    },
    verify: (asked) => {
      const timestamp = timed ? Number(asked.headers["x-hubspot-request-timestamp"]) : undefined;
      const signature = asked.headers[header];
      must(Hubspot.isValid({ method: "POST", signatureVersion, signature, ...options(asked, timestamp) }));
    },
  };
};

const sdks = [
  {
    package: "stripe",
    scheme: "stripe",
    sign: ({ secret, body, now_s }) => ({
      "stripe-signature": stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: now_s }),
    }),
    verify: ({ secret, body, headers }) => stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret),
  },
  {
    package: "@slack/bolt",
    scheme: "slack",
    verify: ({ secret, body, headers }) => verifySlackRequest({ signingSecret: secret, body, headers }),
  },
  {
    package: "@octokit/webhooks-methods",
    scheme: "github",
    sign: async ({ secret, body, id }) => ({
      "x-github-event": "push",
      "x-github-delivery": id,
      "x-hub-signature-256": await github.sign(secret, body),
    }),
    verify: async ({ secret, body, headers }) => must(await github.verify(secret, body, headers["x-hub-signature-256"])),
  },
  {
    package: "@shopify/shopify-api",
    scheme: "shopify_webhook",
    verify: async ({ secret, body, headers }) => {
      const rawRequest = { method: "POST", url: "/", headers };
      const judged = await shopify(secret).webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} });
      if (!judged.valid) throw new Error(JSON.stringify(judged));
    },
  },
  {
    package: "@shopify/shopify-api",
    scheme: "shopify_query",
    verify: async ({ secret, query }) => {
      const fields = Object.fromEntries(new URLSearchParams(query));
      must(await shopify(secret).utils.validateHmac(fields, { signator: fields.hmac ? "admin" : "appProxy" }));
    },
  },
  {
    package: "@sendgrid/eventwebhook",
    scheme: "sendgrid",
    signs: "its library signs",
    sign: ({ secret, body, now_s }) => {
      const key = starkbank.PrivateKey.fromPem(secret.private);
      return {
        "x-twilio-email-event-webhook-signature": starkbank.Ecdsa.sign(now_s + body, key).toBase64(),
        "x-twilio-email-event-webhook-timestamp": String(now_s),
      };
    },
    verify: ({ secret, body, headers }) => {
      const webhook = new EventWebhook();
      const signature = headers["x-twilio-email-event-webhook-signature"];
      const time = headers["x-twilio-email-event-webhook-timestamp"];
      must(webhook.verifySignature(webhook.convertPublicKeyToECDSA(secret.public), body, signature, time));
    },
  },
  {
    package: "svix",
    scheme: "svix",
    sign: standardSigned("svix", svix.Webhook),
    verify: ({ secret, body, headers }) => new svix.Webhook(secret).verify(body, headers),
  },
  {
    package: "standardwebhooks",
    scheme: "standard_webhooks",
    sign: standardSigned("webhook", standard.Webhook),
    verify: ({ secret, body, headers }) => new standard.Webhook(secret).verify(body, headers),
  },
  {
    package: "openai",
    scheme: "standard_webhooks",
    verify: ({ secret, body, headers }) => openai.webhooks.verifySignature(body, headers, secret),
  },
  hubspot("v1"),
  hubspot("v2"),
  hubspot("v3"),
  {
    package: "@notionhq/client",
    scheme: "notion",
    sign: async ({ secret, body }) => ({
      "x-notion-signature": await notion.signWebhookPayload({ body, verificationToken: secret }),
    }),
    verify: async ({ secret, body, headers }) =>
      must(await notion.verifyWebhookSignature({ body, signature: headers["x-notion-signature"], verificationToken: secret })),
  },
];

const version = (name) =>
  JSON.parse(readFileSync(join(process.cwd(), "node_modules", name, "package.json"), "utf8")).version;

async function answer(asked) {
  if (asked.op === "sdks") {
    return {
      sdks: sdks.map((sdk) => ({
        package: sdk.package,
        version: version(sdk.package),
        scheme: sdk.scheme,
        signs: sdk.signs ?? ("sign" in sdk ? "signs" : "not offered"),
      })),
    };
  }
  const sdk = sdks.find((known) => known.package === asked.package && known.scheme === asked.scheme);
  if (asked.op === "sign") return { headers: await sdk.sign(asked) };
  if (asked.op !== "verify") throw new Error(`no such op: ${asked.op}`);
  try {
    await sdk.verify(asked);
    return { valid: true, why: "" };
  } catch (error) {
    return { valid: false, why: String(error?.message ?? error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await answer(JSON.parse(line))) + "\n");
}
