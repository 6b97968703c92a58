"""Refused requests on kept connections, as Python's own client sends them.

    python3 tests/clients/refusals.py http://127.0.0.1:8080 CASES

CASES is JSON: [[name, method, path, headers], …]. Each is sent with each body, at once and with a pause
before the body; then `GET /livez` goes over the same connection, unless the answer said `close`. A
body that is to be answered 408 stalls. The same goes through the pool of `httpx`, which is installed from PyPI below
target/ where it is missing.
"""

import http.client
import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from system import python_with

HTTPX_VERSION = "0.28.1"
BODIES = [100, 60_000, 3_000_000]
PAUSES_S = [0, 0.01]
STALL_S = 11  # a body may take 10


def parts(size, pause):
    """The parts of a body; one that stalls waits between its halves."""
    half = size // 2 if pause == STALL_S else 0
    yield b" " * half
    time.sleep(pause)
    yield b" " * (size - half)


def with_http_client(netloc, method, path, headers, size, pause):
    connection = http.client.HTTPConnection(netloc, timeout=20)
    connection.putrequest(method, path)
    for name, value in {**headers, "Content-Length": str(size)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    for part in parts(size, pause):
        connection.send(part)
    answer = connection.getresponse()
    answer.read()
    if not answer.will_close:
        connection.request("GET", "/livez")
        next_answer = connection.getresponse()
        next_answer.read()
        assert next_answer.status == 200, next_answer.status
    connection.close()
    return answer.status


def with_httpx(client, url, method, path, headers, size, pause):
    headers = {**headers, "Content-Length": str(size)}
    answer = client.request(method, url + path, headers=headers, content=parts(size, pause))
    assert client.get(url + "/livez").status_code == 200
    return answer.status_code


def import_httpx():
    """httpx; where it is missing, this script begins again with a Python that has it."""
    try:
        import httpx
    except ImportError:
        python = python_with("httpx", HTTPX_VERSION)
        if python:
            os.execv(python, [python, *sys.argv])
        print("skipped: httpx is not installed")
        return None
    return httpx


def main():
    url, cases = sys.argv[1], json.loads(sys.argv[2])
    netloc = urlsplit(url).netloc
    senders = {"http.client": lambda *case: with_http_client(netloc, *case)}
    if httpx := import_httpx():
        client = httpx.Client(timeout=20)
        senders["httpx"] = lambda *case: with_httpx(client, url, *case)
    broken = 0
    for sender, send in senders.items():
        count = 0
        for name, method, path, headers, status in cases:
            forms = [(size, pause) for size in BODIES for pause in PAUSES_S]
            for size, pause in [(BODIES[0], STALL_S)] if status == 408 else forms:
                count += 1
                try:
                    answered = send(method, path, headers, size, pause)
                    problem = None if answered == status else f"answered {answered}"
                except Exception as error:
                    problem = repr(error)
                if problem:
                    broken += 1
                    print(f"{sender}: {name}, {size} bytes, pause {pause}: {problem}")
        print(f"{sender}: {count} requests")
    sys.exit(1 if broken else 0)


main()
