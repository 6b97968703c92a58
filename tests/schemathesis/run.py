#!/usr/bin/env python3
"""Holds the running service against its own OpenAPI document, with every role's token.

    ./dev                                # in another terminal
    python3 tests/schemathesis/run.py    # reads .data/demo.json

`--start target/release/offers` starts a system of its own instead, folds its log afterwards (`offers
check`) and ends it.

Schemathesis (https://schemathesis.io) makes up requests that fit the document and requests that do not,
and all its checks look at the answers: no 5xx, no status, header or body that the document does not know,
nothing accepted that it forbids, nothing refused that it allows. Cursors that are nearly real ones and bodies
that stall are added (beyond.py). Schemathesis is installed from PyPI into a virtual environment below target/.

What it changes stays: offers, users and keys of the demo are not what they were; `./dev reset` makes
them new.

Exit code 0: nothing found; 1: something found; 2: it could not run; 3: PyPI, or Python's venv, is missing.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import beyond
from system import python_with, started

VERSION = "4.32.5"
CALLERS = ["anybody", "user", "partner", "auditor", "admin"]
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUN_TIMEOUT_S = 1800
ANSWER_TIMEOUT_S = 10
FINAL_TIMEOUT_S = 30


def install():
    """The command of this version."""
    python = python_with("schemathesis", VERSION)
    if not python:
        sys.exit(3)
    # By its module: the scripts beside it name the place where they were installed, and target/ may move.
    return [python, "-m", "schemathesis.cli"]


class Api:
    """The service as one caller sees it."""

    def __init__(self, url, authorization=None):
        self.url = url
        self.headers = {"Content-Type": "application/json"}
        if authorization:
            self.headers["Authorization"] = authorization

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + "/api/v1" + path, data, self.headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            # A run leaves logins throttled for minutes, and a demo in which little is as it was.
            print(f"{method} {path}: {refusal.code} {refusal.read().decode()}; `./dev reset` helps")
            sys.exit(2)


def log_in(url, user):
    """Authorization, and for how many seconds it is good."""
    names = {"username": user["username"], "password": user["password"]}
    tokens = Api(url).call("POST", "/auth/login/", names)
    return "Bearer " + tokens["access"], tokens["expires_in"]


def callers(demo):
    """Who calls: name, own id, and what gets an Authorization."""
    users = {user["username"]: user for user in demo["users"]}
    member = lambda name: (users[name]["id"], lambda: log_in(demo["api_url"], users[name]))
    return {
        "anybody": ("none", lambda: (None, RUN_TIMEOUT_S)),
        "user": member("alice"),
        "partner": (demo["partner"]["id"], lambda: ("ApiKey " + demo["partner"]["api_key"], RUN_TIMEOUT_S)),
        "auditor": member("auditor"),
        "admin": member("admin"),
    }


def things(demo):
    """Ids of what is there, so that not everything ends in 404: one list for each kind of path."""
    url = demo["api_url"]
    buyer = next(user for user in demo["users"] if user["username"] == "alice")
    alice, partner = Api(url, log_in(url, buyer)[0]), Api(url, "ApiKey " + demo["partner"]["api_key"])
    offers = alice.call("GET", "/offers/")["results"]
    cheapest = min(offers, key=lambda offer: float(offer["price"]))
    buy = lambda: alice.call("POST", "/activation/", {"offer_id": cheapest["id"]})
    sale = lambda: {"user_id": buyer["id"], "offer_id": cheapest["id"], "amount": cheapest["price"],
                    "partner_reference": str(uuid.uuid4())}
    sell = lambda: partner.call("POST", "/partner/activate/", sale())
    purchases, sales = [buy(), buy()], [sell(), sell()]  # two, so that lists have a second page
    deadline = time.monotonic() + FINAL_TIMEOUT_S
    for purchase in purchases + sales:
        while alice.call("GET", f"/activation/status/{purchase['transaction_id']}/")["status"] != "SUCCESS":
            if time.monotonic() > deadline:
                sys.exit("the first purchases were not done in time")
            time.sleep(0.1)
    transactions = [purchase["transaction_id"] for purchase in purchases + sales]
    return {
        "/activation/status/{id}/": ("path.id", transactions),
        "/account/transactions/{id}/": ("path.id", transactions),
        "/audit/transactions/{id}/": ("path.id", transactions),
        "/partner/validate/{reference}/": ("path.reference", [sold["reference"] for sold in sales]),
        "/offers/{id}/": ("path.id", [offer["id"] for offer in offers]),
        "/audit/accounts/{owner_id}/balance/": ("path.owner_id", [buyer["id"], demo["partner"]["id"]]),
        "/admin/accounts/{owner_id}/": ("path.owner_id", [buyer["id"], demo["partner"]["id"]]),
        "/admin/accounts/{owner_id}/credit/": ("path.owner_id", [buyer["id"]]),
        "/admin/accounts/{owner_id}/debit/": ("path.owner_id", [buyer["id"]]),
    }


def configuration(known):
    """schemathesis.toml, and half of the ids are ones that exist."""
    parts = [(HERE / "schemathesis.toml").read_text()]
    for number, (path, (parameter, values)) in enumerate(known.items()):
        parts.append(f'[dictionaries.known{number}]\nvalues = {json.dumps(values)}\n')
        binding = f'{{ dictionary = "known{number}", probability = 0.5 }}'
        parts.append(f'[[operations]]\ninclude-path = "/api/v1{path}"\n'
                     f'parameters = {{ "{parameter}" = {binding} }}\n')
    return "\n".join(parts)


def run(program, demo, config, name, options):
    """How many cases one caller had, and whether nothing was found."""
    own_id, authorize = callers(demo)[name]
    authorization, good_for_s = authorize()
    command = [*program, "--config-file", config, "run", demo["api_url"] + "/openapi.json",
               "--checks", "all", "--continue-on-failure", "--max-examples", str(options.examples),
               "--generation-database", "none", "--no-color", "--warnings", "off"]
    if authorization:
        command += ["--header", f"Authorization: {authorization}"]
    if options.seed is not None:
        command += ["--seed", str(options.seed)]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(HERE),
                   "OFFERS_FUZZ_OWN_ID": own_id}
    began = time.monotonic()
    done = subprocess.run(command, env=environment, cwd=config.parent, capture_output=True, text=True,
                          timeout=RUN_TIMEOUT_S)
    counted = re.search(r"^\s+(\d+) generated", done.stdout, re.MULTILINE)
    cases = int(counted.group(1)) if counted else 0
    took_s = time.monotonic() - began
    verdict = "ok" if done.returncode == 0 and cases > 0 else "FAILED"
    if verdict == "FAILED":
        print(done.stdout + done.stderr)
    if took_s >= good_for_s:
        verdict = f"FAILED: the token was good for {good_for_s} s only; try fewer --examples"
    print(f"{name:8} {cases:6} cases in {took_s:4.0f} s: {verdict}", flush=True)
    return cases, verdict == "ok"


def beyond_it(demo):
    """What schemathesis does not make up, as every caller that there is."""
    authorizations = {name: authorize()[0] for name, (_, authorize) in callers(demo).items()}
    admin, partner = Api(demo["api_url"], authorizations["admin"]), demo["partner"]["id"]
    admin.call("POST", "/admin/partners/", {"name": f"Second {uuid.uuid4()}"})  # a second page for these lists
    admin.call("POST", f"/admin/partners/{partner}/keys/", {})
    ids = {"/api/v1/admin/partners/{id}/keys/": partner}
    return beyond.hold(demo["api_url"], ids, list(filter(None, authorizations.values())))


def books_balance(offers, demo):
    """Whether everything derived from the log is what the log says, after all that."""
    own = {"OFFERS_DATABASE_URL": demo["database_url"], "OFFERS_REDIS_URL": demo["redis_url"]}
    done = subprocess.run([offers, "check", "--redis"], env={**os.environ, **own}, timeout=RUN_TIMEOUT_S)
    return done.returncode == 0


def hold(demo, options):
    """Every caller's run, and the books afterwards."""
    program = install()
    demo = json.loads(demo.read_text())
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "schemathesis.toml"
        config.write_text(configuration(things(demo)))
        results = [beyond_it(demo)]
        one = lambda name: run(program, demo, config, name, options)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as beside:
            results += beside.map(one, [name for name in options.callers if name != "admin"])
        # Last and alone, because it changes what the others use.
        results += [one(name) for name in options.callers if name == "admin"]
    print(f"{sum(cases for cases, _ in results)} cases")
    good = all(good for _, good in results)
    return books_balance(options.start, demo) and good if options.start else good


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("demo", nargs="?", type=Path,
                           default=Path(os.environ.get("OFFERS_DATA_DIR", ROOT / ".data")) / "demo.json")
    arguments.add_argument("--start", type=Path, help="the program `offers`: start a system of its own")
    arguments.add_argument("--examples", type=int, default=60, help="random requests for each operation")
    arguments.add_argument("--callers", nargs="+", choices=CALLERS, default=CALLERS, help="only these")
    arguments.add_argument("--seed", type=int, help="repeats an earlier run's choices")
    options = arguments.parse_args()
    if options.start:
        install()
        with started(options.start.resolve()) as demo:
            sys.exit(0 if hold(demo, options) else 1)
    if not options.demo.exists():
        print(f"{options.demo} is not there: start ./dev first")
        sys.exit(2)
    sys.exit(0 if hold(options.demo, options) else 1)


if __name__ == "__main__":
    main()
