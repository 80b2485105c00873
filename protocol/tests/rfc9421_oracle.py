"""Signs or verifies requests with the PyPI package http-message-signatures.

Reads one JSON object a line on standard input and writes one a line on standard output:

    {"do": "sign", "request": R, "key": hex, "keyId": text, "nonce": text, "created": s,
     "expires": s, "components": [name, ...]}  ->  {"signatureInput": text, "signature": text}
    {"do": "verify", "request": R, "key": hex, "keyId": text, "components": [name, ...]}
                                               ->  {"verified": bool, "why": text}

where R is {"method", "url", "headers": [[name, value], ...], "body": hex}. Verifying includes the
body's Content-Digest. Run by rfc9421_oracle.rs; knows nothing of onsave.
"""

import datetime
import json
import sys

from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    InvalidSignature,
    MappingKeyResolver,
    algorithms,
)
from http_message_signatures.structures import CaseInsensitiveDict


class Request:
    """A request in the shape that the package reads: method, url, headers."""

    def __init__(self, fields):
        self.method = fields["method"]
        self.url = fields["url"]
        self.headers = CaseInsensitiveDict(fields["headers"])
        self.body = bytes.fromhex(fields["body"])


def keys(order):
    by_id = {order["keyId"]: bytes.fromhex(order["key"])}
    return MappingKeyResolver(public_keys=by_id, private_keys=by_id)


def moment(seconds):
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc)


def sign(order):
    request = Request(order["request"])
    signer = HTTPMessageSigner(
        signature_algorithm=algorithms.HMAC_SHA256, key_resolver=keys(order)
    )
    signer.sign(
        request,
        key_id=order["keyId"],
        created=moment(order["created"]),
        expires=moment(order["expires"]),
        nonce=order["nonce"],
        covered_component_ids=order["components"],
        body=request.body,
        use_existing_digest=True,
    )
    return {
        "signatureInput": request.headers["Signature-Input"],
        "signature": request.headers["Signature"],
    }


def verify(order):
    request = Request(order["request"])
    verifier = HTTPMessageVerifier(
        signature_algorithm=algorithms.HMAC_SHA256, key_resolver=keys(order)
    )
    try:
        verifier.verify(
            request,
            require_components=order["components"],
            body=request.body,
        )
    except InvalidSignature as error:
        return {"verified": False, "why": str(error)}
    return {"verified": True, "why": ""}


for line in sys.stdin:
    task = json.loads(line)
    answer = {"sign": sign, "verify": verify}[task["do"]](task)
    print(json.dumps(answer), flush=True)
