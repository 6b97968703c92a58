"""Refused requests on kept connections, as Python's own client sends them.

    python3 tests/clients/refusals.py http://127.0.0.1:8080 CASES

CASES is JSON: [[name, method, path, headers], …]. Each is sent with each body, at once and with a pause
before the body; then `GET /livez` goes over the same connection, unless the answer said `close`. With
`httpx` installed the same goes through its pool, too.
"""

import http.client
import json
import sys
import time
from urllib.parse import urlsplit

BODIES = [100, 60_000, 3_000_000]


def with_http_client(netloc, method, path, headers, size, pause):
    connection = http.client.HTTPConnection(netloc, timeout=20)
    connection.putrequest(method, path)
    for name, value in {**headers, "Content-Length": str(size)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    time.sleep(pause)
    connection.send(b" " * size)
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
    def body():
        time.sleep(pause)
        yield b" " * size

    headers = {**headers, "Content-Length": str(size)}
    answer = client.request(method, url + path, headers=headers, content=body())
    assert client.get(url + "/livez").status_code == 200
    return answer.status_code


def main():
    url, cases = sys.argv[1], json.loads(sys.argv[2])
    netloc = urlsplit(url).netloc
    senders = {"http.client": lambda *case: with_http_client(netloc, *case)}
    try:
        import httpx

        client = httpx.Client(timeout=20)
        senders["httpx"] = lambda *case: with_httpx(client, url, *case)
    except ImportError:
        print("skipped: httpx is not installed")
    broken = 0
    for sender, send in senders.items():
        count = 0
        for name, method, path, headers, status in cases:
            for size in BODIES:
                for pause in [0, 0.01]:
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
