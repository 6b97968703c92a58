#!/usr/bin/env python3
"""Revenue per offer, from the event stream alone.

    ./dev                                    # in another terminal
    python3 docs/examples/analyst.py         # reads .data/demo.json

Nothing but Python's standard library: `Nats` is as much of NATS's text protocol as reading takes. With
a client library it is a dozen lines; docs/analysts.md shows them.
"""

import json
import socket
import ssl
import sys
import urllib.parse
import uuid
from collections import Counter
from decimal import Decimal

STREAM = "OFFERS_EVENTS"
BATCH = 500  # messages asked for at once
ANSWER_TIMEOUT_S = 10
NS = 1_000_000_000


class Nats:
    """A connection that asks, and receives what was asked for."""

    def __init__(self, url):
        at = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((at.hostname, at.port or 4222), ANSWER_TIMEOUT_S)
        info = json.loads(self.read_line().removeprefix("INFO "))
        if info.get("tls_required"):
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=at.hostname)
        self.file = self.socket.makefile("rb")
        credentials = {"user": urllib.parse.unquote(at.username), "pass": urllib.parse.unquote(at.password)}
        options = {"verbose": False, "headers": True, "no_responders": True, **credentials}
        self.inbox = f"_INBOX.{uuid.uuid4().hex}"
        self.socket.sendall(f"CONNECT {json.dumps(options)}\r\nSUB {self.inbox} 1\r\n".encode())

    def read_line(self):
        """The greeting, byte for byte: what follows it may be TLS already."""
        line = b""
        while not line.endswith(b"\r\n"):
            line += self.socket.recv(1) or sys.exit("the server hung up")
        return line.decode()

    def ask(self, subject, body):
        data = json.dumps(body)
        self.socket.sendall(f"PUB {subject} {self.inbox} {len(data)}\r\n{data}\r\n".encode())

    def receive(self):
        """Headers and JSON of the next message to us."""
        while line := self.file.readline().decode().split():
            if line[0] == "PING":
                self.socket.sendall(b"PONG\r\n")
            elif line[0] == "-ERR":
                sys.exit(" ".join(line))
            elif line[0] in ("MSG", "HMSG"):
                head_bytes = int(line[-2]) if line[0] == "HMSG" else 0
                data = self.file.read(int(line[-1]) + 2)[:-2]
                status, *headers = data[:head_bytes].decode().strip().split("\r\n")
                if status not in ("", "NATS/1.0"):
                    sys.exit(f"the server says: {status}")  # "503": nobody answers there
                return dict(header.split(": ", 1) for header in headers), json.loads(data[head_bytes:])
        sys.exit("the server hung up")

    def api(self, call, body):
        self.ask(f"$JS.API.{call}", body)
        _, answer = self.receive()
        return sys.exit(f"{call}: {answer['error']['description']}") if "error" in answer else answer


def events(nats, after=0):
    """Every event after the position `after` up to the newest, in order. Stops where one is missing."""
    last = nats.api(f"STREAM.INFO.{STREAM}", {})["state"]["last_seq"]
    config = {
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after + 1,  # the sequence in the stream is the position
        "ack_policy": "none",
        "inactive_threshold": 30 * NS,  # the server clears it away when we are gone
    }
    made = nats.api(f"CONSUMER.CREATE.{STREAM}", {"stream_name": STREAM, "config": config})
    while after < last:
        batch = min(BATCH, last - after)
        more = {"batch": batch, "expires": ANSWER_TIMEOUT_S * NS}
        nats.ask(f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{made['name']}", more)
        for _ in range(batch):
            headers, event = nats.receive()
            after += 1
            if int(headers["Offers-Position"]) != after:
                sys.exit(f"position {after} is missing")
            yield event


def main():
    with open(sys.argv[1] if len(sys.argv) > 1 else ".data/demo.json", encoding="utf-8") as file:
        nats = Nats(json.load(file)["analyst"]["nats_url"])
    pending = {}  # what was asked for, by transaction: Succeeded does not say it again
    sold, revenue, refunded, position = Counter(), Counter(), Decimal(0), 0
    for event in events(nats):
        position, transaction, data = int(event["position"]), event["subject"], event["data"]
        if event["type"] == "offers.transaction.activation_requested.v1":
            pending[transaction] = (data["offer_name"], Decimal(data["amount"]))
        elif event["type"] == "offers.transaction.succeeded.v1":
            offer, amount = pending.pop(transaction)
            sold[offer] += 1
            revenue[offer] += amount
        elif event["type"] == "offers.transaction.refunded.v1":
            refunded += pending.pop(transaction)[1]
    for offer, amount in revenue.most_common():
        print(f"{offer:30} {sold[offer]:6} {amount:12}")
    print(f"refunded {refunded}, not decided yet {sum(amount for _, amount in pending.values())}")
    print(f"positions 1 to {position}, none missing")


if __name__ == "__main__":
    main()
