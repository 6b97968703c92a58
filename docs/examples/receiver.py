#!/usr/bin/env python3
"""A receiver of callbacks: checks the signature, drops what came before, answers at once, and prints a line for each.

    OFFERS_PARTNER_SECRET=whsec_… python3 docs/examples/receiver.py [--port 3000] [--answer 500]

It prints its URL first. Nothing but Python's standard library; Ctrl-C ends it.
"""

import argparse
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from partner import verify


def receiver(secret, status):
    """A handler that answers what it believes with `status`."""
    seen = set()  # a real partner keeps this in its database

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if not verify(secret, self.headers, body):
                return self.answer(401, "wrong signature")
            self.answer(status, "out of order" if status >= 400 else "")  # first the answer, then the work
            callback = json.loads(body)
            told = callback["data"].get("reference", "")
            note = "again" if self.headers["webhook-id"] in seen else ""
            print(" ".join(filter(None, [callback["type"], told, note])), flush=True)
            if status < 300:
                seen.add(self.headers["webhook-id"])

        def answer(self, status, text):
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    return Handler


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--port", type=int, default=0, help="a free one unless given")
    arguments.add_argument("--answer", type=int, default=204, metavar="STATUS", help="what it answers")
    options = arguments.parse_args()
    secret = os.environ.get("OFFERS_PARTNER_SECRET", "")
    if not secret.startswith("whsec_"):
        sys.exit("OFFERS_PARTNER_SECRET is missing: the webhook secret, whsec_…")
    server = ThreadingHTTPServer(("127.0.0.1", options.port), receiver(secret, options.answer))
    print(f"http://127.0.0.1:{server.server_port}/hook", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
