"""Signs and verifies with the vendors' own PyPI packages: one JSON request a line on stdin, one answer a line on stdout.

Every package must be there. The requests are those of vendors.mjs; see tests/it/e2e_vendors.rs.
"""
import base64
import json
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from urllib.parse import parse_qsl

import openai
import shopify
import standardwebhooks
import stripe
import svix.webhooks
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hubspot.utils.signature import Signature as HubSpot
from sendgrid.helpers.eventwebhook import EventWebhook
from slack_sdk.signature import SignatureVerifier


def must(valid):
    if not valid:
        raise ValueError("not valid")


class Stripe:
    package, scheme = "stripe", "stripe"

    def sign(self, asked):
        made = stripe.WebhookSignature.generate_signature_header(asked["body"], asked["secret"], asked["now_s"])
        return {"stripe-signature": made}

    def verify(self, asked):
        stripe.Webhook.construct_event(asked["body"], asked["headers"].get("stripe-signature"), asked["secret"])


class Slack:
    package, scheme = "slack_sdk", "slack"

    def sign(self, asked):
        time = str(asked["now_s"])
        made = SignatureVerifier(asked["secret"]).generate_signature(timestamp=time, body=asked["body"])
        return {"x-slack-request-timestamp": time, "x-slack-signature": made}

    def verify(self, asked):
        must(SignatureVerifier(asked["secret"]).is_valid_request(asked["body"], asked["headers"]))


class SendGrid:
    package, scheme, signs = "sendgrid", "sendgrid", "its library signs"

    def sign(self, asked):
        time = str(asked["now_s"])
        key = load_pem_private_key(asked["secret"]["private"].encode(), None)
        made = key.sign((time + asked["body"]).encode(), ec.ECDSA(hashes.SHA256()))
        return {
            "x-twilio-email-event-webhook-signature": base64.b64encode(made).decode(),
            "x-twilio-email-event-webhook-timestamp": time,
        }

    def verify(self, asked):
        name = "x-twilio-email-event-webhook-"
        signature, time = asked["headers"][name + "signature"], asked["headers"][name + "timestamp"]
        must(EventWebhook(asked["secret"]["public"]).verify_signature(asked["body"], signature, time))


class Standard:
    package, scheme, family, webhook = "standardwebhooks", "standard_webhooks", "webhook", standardwebhooks.Webhook

    def sign(self, asked):
        time = datetime.fromtimestamp(asked["now_s"], timezone.utc)
        return {
            self.family + "-id": asked["id"],
            self.family + "-timestamp": str(asked["now_s"]),
            self.family + "-signature": self.webhook(asked["secret"]).sign(asked["id"], time, asked["body"]),
        }

    def verify(self, asked):
        self.webhook(asked["secret"]).verify(asked["body"], asked["headers"])


class Svix(Standard):
    package, scheme, family, webhook = "svix", "svix", "svix", svix.webhooks.Webhook


class OpenAI:
    package, scheme = "openai", "standard_webhooks"

    def verify(self, asked):
        client = openai.OpenAI(api_key="of nobody")
        client.webhooks.verify_signature(asked["body"], asked["headers"], secret=asked["secret"])


class HubSpotOf:
    package = "hubspot-api-client"

    def __init__(self, number):
        self.version, self.scheme = number, "hubspot_" + number
        self.header = "x-hubspot-signature-v3" if number == "v3" else "x-hubspot-signature"

    def sign(self, asked):
        time = str(asked["now_s"] * 1000) if self.version == "v3" else None
        made = HubSpot.get_signature(asked["secret"], asked["body"], self.version, asked["url"], "POST", time)
        if time:
            return {self.header: made, "x-hubspot-request-timestamp": time}
        return {self.header: made, "x-hubspot-signature-version": self.version}

    def verify(self, asked):
        time = asked["headers"].get("x-hubspot-request-timestamp")
        signature = asked["headers"][self.header]
        must(HubSpot.is_valid(signature, asked["secret"], asked["body"], asked["url"], "POST", self.version, time))


class ShopifyAddress:
    package, scheme = "ShopifyAPI", "shopify_query"

    def verify(self, asked):
        shopify.Session.setup(api_key="of nobody", secret=asked["secret"])
        must(shopify.Session.validate_params(dict(parse_qsl(asked["query"], keep_blank_values=True))))


SDKS = [
    Stripe(), Slack(), SendGrid(), Standard(), Svix(), OpenAI(), HubSpotOf("v1"), HubSpotOf("v2"), HubSpotOf("v3"),
    ShopifyAddress(),
]


def answer(asked):
    if asked["op"] == "sdks":
        return {
            "sdks": [
                {
                    "package": sdk.package,
                    "version": version(sdk.package),
                    "scheme": sdk.scheme,
                    "signs": getattr(sdk, "signs", "signs" if hasattr(sdk, "sign") else "not offered"),
                }
                for sdk in SDKS
            ]
        }
    sdk = next(known for known in SDKS if (known.package, known.scheme) == (asked["package"], asked["scheme"]))
    if asked["op"] == "sign":
        return {"headers": sdk.sign(asked)}
    try:
        sdk.verify(asked)
        return {"valid": True, "why": ""}
    except Exception as error:  # each SDK has its own ways to refuse
        return {"valid": False, "why": f"{type(error).__name__}: {error}"}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
