"""Upgrades an installation under load from one version to another, goes back, and forward again (docs/upgrade.md).

    python3 tests/upgrade.py OLD_BINARY NEW_BINARY [--activations 2000]

Two instances serve. The schema is migrated, then one instance is replaced, then the other, while clients buy and read at both.
A client may be told 503 with Retry-After, or find no connection to the instance that is being replaced; nothing else. The new version
cuts off no request when it is ended. At the end every accepted purchase has ended once, and everything that is derived from the log is what the log says.
"""

import argparse
import http.client
import json
import os
import random
import signal
import threading
import time

from installation import ANSWER_S, Failed, Load, Shop, expect, free_port, installed, main, request, say

READS = ["/api/v1/account/", "/api/v1/account/transactions/?limit=20", "/api/v1/account/subscriptions/", "/api/v1/offers/"]


class Reads:
    """Clients that look at their accounts, lists and newest purchases at any of `urls`, and log in now and then."""

    def __init__(self, shop, urls, load):
        self.shop, self.urls, self.load = shop, urls, load
        self.answers, self.wrong, self.no_connection, self.cut_off = {}, [], 0, {}
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(user,), daemon=True) for user in shop.users]
        for thread in self.threads:
            thread.start()

    def work(self, user):
        while not self.stopping.is_set():
            url = random.choice(self.urls)
            mine = [transaction for transaction, owner in list(self.load.accepted.values())[-20:] if owner == user]
            paths = READS + [f"/api/v1/activation/status/{transaction}/" for transaction in mine[-2:]]
            for path in paths:
                self.get(url, "GET", path, user)
            if mine:
                self.get(url, "GET", f"/api/v1/activation/status/{mine[-1]}/", user, {"prefer": "wait=5"})
            login = {"username": user, "password": self.shop.users[user]}
            self.get(url, "POST", "/api/v1/auth/login/", user, body=login)
            self.stopping.wait(0.05)

    def get(self, url, method, path, user, headers=None, body=None):
        authorised = {"authorization": f"Bearer {self.shop.tokens[user]}", **(headers or {})}
        try:
            status, answered, body = request(url, method, path, body, authorised)
        except TimeoutError:
            self.wrong.append(f"no answer within {ANSWER_S} s: {path}")
            return
        except ConnectionRefusedError:
            self.no_connection += 1
            return
        except (OSError, http.client.HTTPException) as cut:
            self.cut_off[type(cut).__name__] = self.cut_off.get(type(cut).__name__, 0) + 1
            return
        self.answers[status] = self.answers.get(status, 0) + 1
        if status != 200 and (status != 503 or not answered["retry-after"]):
            self.wrong.append(f"{status} from {url}{path}: {body[:300]}")

    def end(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(ANSWER_S * 2)
        expect(not self.wrong, f"{len(self.wrong)} answers that no client may get, such as {self.wrong[:3]}")


class Instances:
    def __init__(self, installation, offers):
        self.installation = installation
        self.ports = {name: free_port() for name in ("one", "two")}
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports.values()]
        for name, port in self.ports.items():
            installation.serve(name, port, offers)
        for name, port in self.ports.items():
            installation.wait_ready(name, port)

    def are_replaced_by(self, offers, load):
        for name, port in self.ports.items():
            began = time.monotonic()
            self.installation.end(name, signal.SIGTERM)
            ended = time.monotonic()
            self.installation.serve(name, port, offers)
            self.installation.wait_ready(name, port)
            say(f"{name}: ended after {ended - began:.1f} s, ready again after {time.monotonic() - ended:.1f} s")
            load.has_accepted(len(load.accepted) + 50)


def run():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("old")
    options.add_argument("new")
    options.add_argument("--activations", type=int, default=500, help="purchases between two steps")
    options.add_argument("--history", type=int, default=0, help="events in the log before it begins")
    given = options.parse_args()
    for binary in (given.old, given.new):
        if not os.access(binary, os.X_OK):
            raise Failed(f"{binary} is no program; git worktree add and cargo build --bin offers make one of an older commit")
    old, new = (os.path.abspath(binary) for binary in (given.old, given.new))
    with installed(new) as installation:
        installation.make_key("log")
        installation.begin(old)
        if given.history:
            say(installation.verb("demo", "generate", "--events", str(given.history), offers=old).strip())
        installation.start_nats()
        instances = Instances(installation, old)
        shop = Shop(installation, instances.urls[0], old)
        load = Load(shop, instances.urls)
        reads = Reads(shop, instances.urls, load)
        more = given.activations

        def step(what, action, may_cut_off=True):
            load.has_accepted(len(load.accepted) + more)
            say(what)
            began, cut_off = time.monotonic(), dict(reads.cut_off)
            action()
            expect(may_cut_off or reads.cut_off == cut_off, f"requests were cut off: {reads.cut_off}")
            say(f"  {time.monotonic() - began:.1f} s; {len(load.accepted)} accepted, refused {load.refused}, read {reads.answers}")
            expect(not reads.wrong, f"answers that no client may get: {reads.wrong[:3]}")

        step("migrating, while the old version serves", lambda: installation.migrate())
        step("replacing the old version by the new one", lambda: instances.are_replaced_by(new, load))
        step("going back to the old version", lambda: instances.are_replaced_by(old, load), may_cut_off=False)
        step("and to the new version again", lambda: instances.are_replaced_by(new, load))
        installation.migrate()
        load.has_accepted(len(load.accepted) + more)
        reads.end()
        accepted = load.end()
        say(f"{len(accepted)} accepted, refused {load.refused}, without a connection {load.no_connection} and {reads.no_connection}, most tries {load.most_tries}, read {reads.answers}, cut off {reads.cut_off}")
        installation.everything_is_final()
        ended = "select aggregate_id, count(*) from events where event_type in ('Succeeded', 'Failed') group by 1"
        ends = dict(installation.sql(ended))
        wrong = [transaction for transaction, _ in accepted.values() if ends.get(transaction) != "1"]
        expect(not wrong, f"{len(wrong)} accepted purchases did not end once, such as {wrong[:3]}")
        done = installation.effects_by_transaction()
        wrong = [transaction for transaction, _ in accepted.values() if done.get(transaction) != 1]
        expect(not wrong, f"{len(wrong)} accepted purchases were not done once, such as {wrong[:3]}")
        installation.derived_is_complete()
        say(installation.verb("verify").strip().splitlines()[-1])
        say("sound")


main(run)
