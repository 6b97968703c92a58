"""What schemathesis does not make up: cursors that are nearly real ones, and bodies that stall. Neither is a 5xx."""

import base64
import json
import re
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl, quote, urlsplit

ANSWER_TIMEOUT_S = 10
STALL_TIMEOUT_S = 30  # a body may take 10
WORKERS = 4
NUMBERS = ["0", "-1", "253402300800000000", "8000000000000000000", "9223372036854775807", "9223372036854775808",
           "-9223372036854775808", "9" * 40]


def nearly(cursor):
    """Texts that are nearly `cursor`: of its key, and of its bytes."""
    texts = {cursor[:-1], cursor + "A", cursor + "=", cursor * 2, cursor[::-1], "\0" + cursor, ""}
    try:
        plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        return texts | set(NUMBERS) | {number + "\0" for number in NUMBERS}
    byte_strings = {plain[:length] for length in range(len(plain))}
    byte_strings |= {plain[:at] + bytes([plain[at] ^ 1 << at % 8]) + plain[at + 1:] for at in range(len(plain))}
    byte_strings |= {plain[:at] + b"\0" + plain[at:] for at in range(len(plain) + 1)} | {plain + b"\xff"}
    for digits in re.finditer(rb"-?\d+", plain):
        start, end = digits.span()
        byte_strings |= {plain[:start] + number.encode() + plain[end:] for number in NUMBERS}
    return texts | {base64.urlsafe_b64encode(one).decode().rstrip("=") for one in byte_strings}


def status(request):
    try:
        return urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S).status
    except urllib.error.HTTPError as refusal:
        return refusal.code


def lists(document):
    """The paths of all lists."""
    for path, operations in document["paths"].items():
        parameters = operations.get("get", {}).get("parameters", [])
        names = {parameter.get("name") or parameter["$ref"].split("/")[-1] for parameter in parameters}
        if {"cursor", "after"} & names:
            yield path


def second_page(url, path, authorizations):
    """The relative URL of a list's second page, and who may read it; None: it has none."""
    for authorization in authorizations:
        request = urllib.request.Request(f"{url}{path}?limit=1", headers={"Authorization": authorization})
        try:
            page = json.load(urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S))
        except urllib.error.HTTPError:
            continue
        if page.get("next"):
            return page["next"], authorization
    return None


def cursors(url, document, ids, authorizations):
    """Asks every list for pages of which there are none: how many, and what was wrong."""
    asked, wrong, without = [], [], []
    for path in lists(document):
        filled = re.sub(r"{\w+}", lambda _: ids.get(path, "none"), path)
        found = second_page(url, filled, authorizations)
        if not found:
            without.append(path)
            continue
        after, authorization = found
        query = dict(parse_qsl(urlsplit(after).query))
        name = "cursor" if "cursor" in query else "after"
        for text in nearly(query[name]):
            link = f"{url}{filled}?limit=1&{name}={quote(text, safe='')}"
            asked.append(urllib.request.Request(link, headers={"Authorization": authorization}))
    with ThreadPoolExecutor(max_workers=WORKERS) as workers:
        for request, answered in zip(asked, workers.map(status, asked)):
            if answered not in (200, 400):
                wrong.append(f"GET {request.full_url}: {answered}")
    if without:
        print(f"lists without a second page, not tried: {', '.join(without)}")
    return len(asked), wrong


def stall(url, method, path, authorization):
    """The status of a request whose body does not come to its end."""
    head = (f"{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"")
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), STALL_TIMEOUT_S) as connection:
        connection.sendall(head.encode())
        return int(connection.recv(4096).split(b" ", 2)[1])


def stalled(url, document, authorizations):
    """Stalls in every body that there is, as every caller, all at the same time."""
    stranger = "00000000-0000-7000-8000-000000000000"
    cases = [(method.upper(), re.sub(r"{\w+}", stranger, path), authorization)
             for path, operations in document["paths"].items()
             for method, operation in operations.items() if "requestBody" in operation
             for authorization in authorizations]
    with ThreadPoolExecutor(max_workers=len(cases)) as workers:
        answers = list(workers.map(lambda case: stall(url, *case), cases))
    wrong = [f"{method} {path} with half a body: {answered}"
             for (method, path, _), answered in zip(cases, answers) if not 400 <= answered < 500]
    if 408 not in answers:
        wrong.append("no body that stalls is answered 408")
    return len(cases), wrong


def hold(url, ids, authorizations):
    """How many requests, and whether nothing was found."""
    document = json.load(urllib.request.urlopen(url + "/openapi.json", timeout=ANSWER_TIMEOUT_S))
    with ThreadPoolExecutor() as beside:
        bodies = beside.submit(stalled, url, document, authorizations)
        counts, wrong = zip(cursors(url, document, ids, authorizations), bodies.result())
    wrong = [one for some in wrong for one in some]
    for one in wrong:
        print(one)
    print(f"nearly real cursors {counts[0]}, bodies that stall {counts[1]}: {'FAILED' if wrong else 'ok'}",
          flush=True)
    return sum(counts), not wrong
