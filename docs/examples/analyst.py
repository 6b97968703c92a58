#!/usr/bin/env python3
"""Revenue per offer, from the event stream alone.

    ./dev                                    # in another terminal
    python3 docs/examples/analyst.py         # reads .data/demo.json
    python3 docs/examples/analyst.py .data/demo.json export.ndjson

The stream keeps the newest events; older ones come from an export (the records of GET /api/v1/audit/events/ as
application/x-ndjson, which an auditor may fetch). The second form reads the export first and goes on where it ends.

Nothing but Python's standard library: `Nats` is as much of NATS's text protocol as reading takes. With
a client library it is a dozen lines; docs/analysts.md shows them.
"""

import json
import os
import re
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

    def __init__(self, url, api_prefix):
        self.api_prefix = api_prefix
        at = urllib.parse.urlsplit(url)
        try:
            self.socket = socket.create_connection((at.hostname, at.port or 4222), ANSWER_TIMEOUT_S)
        except OSError as error:
            sys.exit(f"cannot reach NATS at {at.hostname}:{at.port} ({error}): does ./dev run?")
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
        self.ask(f"{self.api_prefix}.{call}", body)
        _, answer = self.receive()
        return sys.exit(f"{call}: {answer['error']['description']}") if "error" in answer else answer


def events(nats, after=0):
    """Every event after the position `after` up to the newest, in order. Stops where one is missing."""
    state = nats.api(f"STREAM.INFO.{STREAM}", {})["state"]
    first, last = state["first_seq"], state["last_seq"]
    if after < last and after + 1 < first:
        sys.exit(f"the stream begins at {first}: positions {after + 1} to {first - 1} have to come from an export")
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
        nats.ask(f"{nats.api_prefix}.CONSUMER.MSG.NEXT.{STREAM}.{made['name']}", more)
        for _ in range(batch):
            headers, event = nats.receive()
            after += 1
            if int(headers["Offers-Position"]) != after:
                sys.exit(f"position {after} is missing")
            yield event


def exported(path):
    """The events of an export, in the form of those of the stream."""
    with open(path, encoding="utf-8") as file:
        for record in map(json.loads, file):
            names = [re.sub("(?<!^)(?=[A-Z])", "_", record[kind]).lower() for kind in ("aggregate_type", "event_type")]
            yield {
                "type": f"offers.{'.'.join(names)}.v1",
                "position": record["position"],
                "subject": record["aggregate_id"],
                "data": record["payload"],
            }


def everything(nats, export):
    """First what was exported, then the stream from the next position on: no gap, and nothing twice."""
    position = 0
    for event in exported(export) if export else []:
        if event["position"] != position + 1:
            sys.exit(f"position {position + 1} is missing in the export")
        position += 1
        yield event
    yield from events(nats, position)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else ".data/demo.json"
    if not os.path.exists(path):
        sys.exit(f"{path} is not there: start ./dev in another terminal, or name the file as the first argument")
    with open(path, encoding="utf-8") as file:
        analyst = json.load(file)["analyst"]
    nats = Nats(analyst["nats_url"], analyst["js_api_prefix"])
    pending = {}  # what was asked for, by transaction: Succeeded does not say it again
    sold, revenue, refunded, position = Counter(), Counter(), Decimal(0), 0
    for event in everything(nats, sys.argv[2] if len(sys.argv) > 2 else None):
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
