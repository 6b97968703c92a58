#!/usr/bin/env python3
"""A partner's life: key, purchase, lost answer, repeat, callback, validation.

    ./dev                                    # in another terminal
    python3 docs/examples/partner.py         # reads .data/demo.json

Nothing but Python's standard library: what stands here is all that a partner has to write. The
signature is checked by code of its own, not by the service's.
"""

import base64
import hashlib
import hmac
import json
import queue
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TIMESTAMP_TOLERANCE_S = 300
ANSWER_TIMEOUT_S = 10
CALLBACK_TIMEOUT_S = 60


class Api:
    """The service as one caller sees it."""

    def __init__(self, url, authorization=None):
        self.url = url + "/api/v1"
        self.headers = {"Authorization": authorization} if authorization else {}

    def call(self, method, path, body=None):
        """Status, headers and JSON of the answer; an error is an answer too."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            answer = urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S)
        except urllib.error.HTTPError as refusal:
            answer = refusal
        except urllib.error.URLError as error:
            sys.exit(f"cannot reach {self.url} ({error.reason}): does ./dev run?")
        with answer:
            text = answer.read()
            return answer.status, answer.headers, json.loads(text) if text else None

    def get(self, path):
        return self.expect(200, "GET", path)

    def expect(self, status, method, path, body=None):
        got, _, answer = self.call(method, path, body)
        if got != status:
            sys.exit(f"{method} {path}: {got} instead of {status}: {answer}")
        return answer


def verify(secret, headers, body):
    """Checks a callback as Standard Webhooks says; true when it is from whoever knows the secret."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TIMESTAMP_TOLERANCE_S:
        return False  # too old: somebody may be playing it back
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    # Two signatures during a rotation: one of them has to be ours.
    given = [part.removeprefix("v1,") for part in headers.get("webhook-signature", "").split()]
    return any(hmac.compare_digest(expected, one.encode()) for one in given)


class Receiver:
    """Listens for callbacks: checks the signature, drops what came before, answers quickly."""

    def __init__(self, secret):
        self.received = queue.Queue()
        seen = set()  # a real partner keeps this in its database
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if not verify(secret, self.headers, body):
                    return self.answer(401)
                if self.headers["webhook-id"] not in seen:
                    seen.add(self.headers["webhook-id"])
                    receiver.received.put((dict(self.headers.items()), body))
                return self.answer(204)

            def answer(self, status):
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/callbacks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self):
        try:
            headers, body = self.received.get(timeout=CALLBACK_TIMEOUT_S)
        except queue.Empty:
            sys.exit(f"no callback within {CALLBACK_TIMEOUT_S} s")
        return headers, json.loads(body)


def check(what, truth):
    if not truth:
        sys.exit(f"not so: {what}")
    print(f"  {what}")


def register(demo, partner_id, url):
    """What an operator does when the contract is signed: the URL that is told."""
    admin = next(user for user in demo["users"] if "admin" in user["roles"])
    login = {"username": admin["username"], "password": admin["password"]}
    token = Api(demo["api_url"]).expect(200, "POST", "/auth/login/", login)["access"]
    change = {"callback_url": url, "reason": "docs/examples/partner.py"}
    Api(demo["api_url"], f"Bearer {token}").expect(200, "PATCH", f"/admin/partners/{partner_id}/", change)


def read_demo(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        sys.exit(f"{path} is not there: start ./dev in another terminal, or name the file as the first argument")


def main():
    demo = read_demo(sys.argv[1] if len(sys.argv) > 1 else ".data/demo.json")
    partner = demo["partner"]
    shop = Api(demo["api_url"], f"ApiKey {partner['api_key']}")
    receiver = Receiver(partner["webhook_secret"])

    print("The key works, the callback URL is registered")
    before = shop.get("/partner/balance/")
    print(f"  float: {before['balance']} {before['currency']}")
    register(demo, partner["id"], receiver.url)
    shop.expect(202, "POST", "/partner/callbacks/test/")
    check("a signed ping arrives", receiver.next()[1]["type"] == "ping")

    print("A purchase")
    offer = shop.get(f"/offers/{demo['offers'][0]}/")
    customer = next(user for user in demo["users"] if user["roles"] == ["user"])
    order = {
        "user_id": customer["id"],
        "offer_id": offer["id"],
        "amount": offer["price"],
        "partner_reference": f"order-{uuid.uuid4()}",
        "callback_url": receiver.url + "/purchases",
    }
    status, _, bought = shop.call("POST", "/partner/activate/", order)
    check(f"{status}: {bought['reference']} is {bought['status']}", status == 201)

    print("The answer was lost: look it up, or simply send the order again")
    own = urllib.parse.quote(order["partner_reference"])
    found = shop.get(f"/partner/transactions/?partner_reference={own}")["results"]
    check("it is found by our own reference", [one["reference"] for one in found] == [bought["reference"]])
    status, headers, again = shop.call("POST", "/partner/activate/", order)
    check("the same answer, nothing is sold twice", (status, again) == (201, bought))
    check("it says that it is a repeat", headers["idempotent-replayed"] == "true")
    status, _, refusal = shop.call("POST", "/partner/activate/", {**order, "amount": "0.01"})
    check("another order under that reference is refused", (status, refusal["code"]) == (422, "idempotency_key_reused"))

    print("The callback")
    headers, told = receiver.next()
    check(f"{told['type']} is signed", told["type"] == "transaction.succeeded")
    check("it is about this purchase", told["data"]["reference"] == bought["reference"])
    headers = {name.lower(): value for name, value in headers.items()}
    check("a changed body is not believed", not verify(partner["webhook_secret"], headers, b"{}"))

    print("Validation")
    shown = shop.get(f"/partner/validate/{bought['reference']}/")
    check(f"{shown['reference']} is {shown['status']}", shown == told["data"])
    status, _, unknown = shop.call("GET", "/partner/validate/REF-000000000000/")
    check("an unknown reference is not valid", (status, unknown["is_valid"]) == (404, False))
    after = shop.get("/partner/balance/")
    cost = round(float(before["balance"]) * 100) - round(float(after["balance"]) * 100)
    check(f"the float paid {offer['price']} once", cost == round(float(offer["price"]) * 100))
    print("Done")


if __name__ == "__main__":
    main()
