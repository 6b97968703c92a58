#!/usr/bin/env python3
"""A crowd at the HTTP edge: idle connections, clients that never read, bodies that never end.

    cargo build && python3 tests/crowd.py --start target/debug/offers [--full]

While all of them are held, `/livez` answers another address, a login is judged, and memory is bounded; then
all of them are given up. The full form holds 10,000 idle connections, 200 that never read and 2,000 unfinished
bodies, until the last is given up, in one or two minutes; the short one holds a tenth of each for a moment.
Linux alone: each group has a source address of its own in 127.0.0.0/8, and memory is read from /proc.

Exit code 0: all is well; 1: a bound does not hold; 2: it could not run.
"""

import argparse
import json
import os
import resource
import selectors
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from system import started

MIB = 1024 * 1024
BODY = 64 * 1024
LIVEZ_LIMIT_MS = 100
LOGIN_LIMIT_S = 2
KERNEL_LIMIT = 200 * MIB
PER_BODY_LIMIT = 160 * 1024  # the body once, and what a debug build holds for a connection
LOGIN_MEMORY = 24 * MIB  # for hashing one password, which the process may keep
LEAST_BODIES = 600
GONE_LIMIT_S = 60
CONNECT_TIMEOUT_S = 30
SPARE_FILES = 200


class Crowd:
    """Connections from one address, each of which has sent `bytes`."""

    def __init__(self, server, address, count, sent=b""):
        self.held, self.selector = [], selectors.DefaultSelector()
        for _ in range(count):
            connection = socket.socket()
            connection.bind((address, 0))
            connection.settimeout(CONNECT_TIMEOUT_S)
            connection.connect(server)
            connection.setblocking(False)
            self.held.append(connection)
        self.send(sent)

    def send(self, sent):
        """To all of them, as far as they take it."""
        left = {connection: memoryview(sent) for connection in self.held}
        deadline = time.monotonic() + 1
        while left and time.monotonic() < deadline:
            for connection, rest in list(left.items()):
                try:
                    rest = rest[connection.send(rest):]
                except BlockingIOError:
                    continue
                except OSError:
                    rest = b""
                if rest:
                    left[connection] = rest
                else:
                    del left[connection]
            time.sleep(0.01)

    def open(self):
        """How many the server has not closed. Nothing is read."""
        return sum(is_open(connection) for connection in self.held)

    def answers(self, deadline):
        """What each was answered, by status."""
        statuses = {}
        for connection in self.held:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                status = connection.recv(4096).split(b" ", 2)[1].decode()
            except (OSError, IndexError):
                status = "none"
            statuses[status] = statuses.get(status, 0) + 1
        return statuses

    def close(self):
        for connection in self.held:
            connection.close()


ESTABLISHED = 1


def is_open(connection):
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED


def ask(server, address, request):
    """The status, and the seconds until it came."""
    began = time.monotonic()
    with socket.socket() as connection:
        connection.bind((address, 0))
        connection.settimeout(CONNECT_TIMEOUT_S)
        connection.connect(server)
        connection.sendall(request)
        answer = connection.recv(4096)
    return answer.split(b" ", 2)[1].decode() if answer else "none", time.monotonic() - began


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def login(body, length):
    head = "POST /api/v1/auth/login/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode() + body


def kernel_bytes():
    """What the kernel holds for TCP."""
    line = next(line for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    words = line.split()
    return int(words[words.index("mem") + 1]) * resource.getpagesize()


def resident(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def listener(port):
    """The process that listens on `port`."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    inode = next(row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if f"socket:[{inode}]" in links:
            return int(process.name)
    sys.exit(2)


class Bounds:
    """The bounds that were looked at."""

    def __init__(self):
        self.broken = 0

    def hold(self, good, what):
        self.broken += not good
        print(f"{'ok' if good else 'BROKEN':7} {what}", flush=True)

    def others_are_served(self, server, when, nearly_always=False):
        """Half of the times, or 999 of 1,000."""
        asked = [ask(server, "127.0.0.9", get("/livez")) for _ in range(1000 if nearly_always else 20)]
        times_ms = sorted(seconds * 1000 for _, seconds in asked)
        median_ms, slowest_ms, p999_ms = times_ms[len(times_ms) // 2], times_ms[-1], times_ms[-2]
        judged_ms = p999_ms if nearly_always else median_ms
        good = all(status == "200" for status, _ in asked) and judged_ms < LIVEZ_LIMIT_MS
        share = f"999 times of 1,000 in {p999_ms:.0f}" if nearly_always else f"in {median_ms:.0f}"
        self.hold(good, f"/livez answers another address {share} ms (at most {slowest_ms:.0f}) {when}")
        body = json.dumps({"username": "nobody", "password": "not a password"}).encode()
        status, seconds = ask(server, "127.0.0.9", login(body, len(body)))
        self.hold(status == "401" and seconds < LOGIN_LIMIT_S, f"a login is judged after {seconds:.2f} s {when}")


def gone(crowds, limit_s):
    began = time.monotonic()
    while any(crowd.open() for crowd in crowds) and time.monotonic() - began < limit_s:
        time.sleep(0.25)
    return sum(crowd.open() for crowd in crowds), time.monotonic() - began


def stand(server, size, bounds, is_full):
    pid = listener(server[1])
    bounds.others_are_served(server, "before")
    kernel, before = kernel_bytes(), resident(pid)
    idle = Crowd(server, "127.0.0.2", size)
    bounds.others_are_served(server, f"while {idle.open()} of {size} idle connections of one address are open")
    deaf = Crowd(server, "127.0.0.3", size // 50, get("/openapi.json") * 100)
    bounds.others_are_served(server, f"and {deaf.open()} never read", nearly_always=True)
    resident_before, count = resident(pid), max(size // 5, LEAST_BODIES)
    half = count // 2  # an address may have 1000
    bodies = [Crowd(server, f"127.0.0.{last}", half, login(b" " * (BODY - 1), BODY)) for last in (4, 5)]
    bounds.others_are_served(server, f"and {count} bodies are unfinished")
    used = (resident(pid) - resident_before - LOGIN_MEMORY) / count
    bounds.hold(used < PER_BODY_LIMIT, f"{count} unfinished bodies cost {used / 1024:.0f} KiB each")
    used = kernel_bytes() - kernel
    bounds.hold(used < KERNEL_LIMIT, f"the kernel holds {used / MIB:.0f} MiB for all of them")
    print(f"resident: {before / MIB:.0f} MiB before, {resident(pid) / MIB:.0f} MiB with all of them")
    if is_full:
        answers = [crowd.answers(time.monotonic() + 20) for crowd in bodies]
        bounds.hold(all(set(each) <= {"408", "503"} for each in answers), f"they are answered {answers}")
        left, seconds = gone([idle, deaf], GONE_LIMIT_S)
        bounds.hold(left == 0, f"{left} of the idle and of those that never read are left after {seconds:.0f} s")
    for crowd in [idle, deaf, *bodies]:
        crowd.close()
    bounds.others_are_served(server, "afterwards")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--start", type=Path, required=True, help="the program `offers`")
    arguments.add_argument("--full", action="store_true", help="10,000 connections, until all are given up")
    options = arguments.parse_args()
    size = 10_000 if options.full else 1_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 2 * size:
        size = max(1_000, (most - SPARE_FILES) // 2)
        print(f"only {size} connections, because `ulimit -Hn` is {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    bounds = Bounds()
    with started(options.start.resolve()) as demo:
        url = urlsplit(json.loads(demo.read_text())["api_url"])
        stand((url.hostname, url.port), size, bounds, options.full)
    sys.exit(1 if bounds.broken else 0)


if __name__ == "__main__":
    main()
