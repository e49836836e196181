"""Verifies one real request of AURA with the PyPI package standardwebhooks: verify-webhook.py REQUEST.json

REQUEST.json: { secret, headers, body }. Ends with 1 if the package refuses it, or takes a changed one.
"""
import json
import sys

from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

request = json.load(open(sys.argv[1], encoding="utf-8"))
webhook = Webhook(request["secret"])
assert isinstance(webhook.verify(request["body"], request["headers"])["type"], str)
try:
    webhook.verify(request["body"] + " ", request["headers"])
except WebhookVerificationError:
    print("standardwebhooks (PyPI) verified", request["headers"]["webhook-id"])
else:
    sys.exit("a changed body was taken")
