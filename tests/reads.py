"""Measures what is read of a long history: search, statements, and the lists (docs/performance.md).

    python3 tests/reads.py target/release/offers [--events 4300000] [--p99 20]

Starts PostgreSQL, Redis and NATS of its own and fills the log: 4,300,000 events are a million transactions. Then one client reads on one connection.
Fails if a reading's p99 is over so many milliseconds, or if PostgreSQL has read all of a large table. With `--servers FILE`, what `offers dev servers`
printed, it reads what is in that database.
"""

import argparse
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import uuid

PASSWORD = "a long passphrase of mine"
READINGS, WARMING, SAMPLE = 300, 30, 200
LARGE = "('events', 'transactions', 'statement', 'subscriptions', 'users')"
SECRETS = {"OFFERS_JWT_KEY": "reads-0123456789abcdef0123456789abcdef", "OFFERS_WEBHOOK_KEY": "reads-fedcba9876543210fedcba9876543210"}

# Everybody in the history is a user or a partner, and 200,000 others are users. Partners' sales get references, which it does not have.
PEOPLE = """
insert into partners (id, name, is_active, created_at)
select account_id, 'partner-' || row_number() over (), true, now()
from (select distinct account_id from read.transactions where partner_id is not null) as partners on conflict do nothing;
insert into users (id, username, email, first_name, last_name, password_hash, roles, date_joined, username_folded, search_text, text_rules,
                   account_opened)
select id, 'user-' || number, 'user-' || number || '@example.com', '', '', password_hash, '{user}', now(), 'user-' || number, '', 1, true
from (select id, row_number() over (order by id) as number
      from (select distinct user_id as id from read.transactions
            union all select gen_random_uuid() from generate_series(1, 200000)) as ids) as people,
     (select password_hash from users where username = 'root') as root
on conflict do nothing;
update read.transactions
set partner_reference = 'order-' || created_position, reference = 'REF-' || lpad(created_position::text, 12, '0')
where partner_id is not null and partner_reference is null;
vacuum analyze;
"""


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("offers")
    arguments.add_argument("--events", type=int, default=4_300_000)
    arguments.add_argument("--p99", type=float, default=20.0, help="milliseconds")
    arguments.add_argument("--servers")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="offers-reads-") as directory:
        processes = []
        try:
            sys.exit(measure(arguments, directory, processes))
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(timeout=60)


def measure(arguments, directory, processes):
    urls = json.load(open(arguments.servers)) if arguments.servers else servers(arguments, directory, processes)
    environment = {**os.environ, **SECRETS}
    for name in ("database_url", "database_owner_url", "redis_url", "nats_url", "nats_analytics_url"):
        environment["OFFERS_" + name.upper()] = urls[name]

    def offers(*verb, said=""):
        subprocess.run([arguments.offers, *verb], env=environment, input=said, text=True, check=True, stdout=subprocess.DEVNULL)

    def sql(statement):
        psql = ["psql", "-qXAt", "-F", " ", "-v", "ON_ERROR_STOP=1", urls["database_owner_url"]]
        return subprocess.run(psql, input=statement, text=True, check=True, capture_output=True).stdout.split("\n")[:-1]

    offers("migrate")
    if not arguments.servers:
        offers("demo", "generate", "--events", str(arguments.events))
        offers("replay", "read-tables")
    if sql("select count(*) from users where username = 'root'") == ["0"]:
        offers("user", "create", "root", "--email", "root@example.com", "--role", "admin", said=PASSWORD + "\n")
        sql(PEOPLE)
    port = free_port()
    serve = {"OFFERS_LISTEN": f"127.0.0.1:{port}", "OFFERS_ROLES": "api,projector", "OFFERS_EXTERNAL_URL": "http://127.0.0.1:9", "RUST_LOG": "error"}
    for kind in ("USER", "PARTNER", "ADDRESS"):
        serve["OFFERS_RATE_LIMIT_" + kind] = "off"
    processes.append(subprocess.Popen([arguments.offers, "serve"], env={**environment, **serve}))
    client = Client(port)
    root = client.login("root")

    [account] = sql("select account_id from read.statement join users on id = account_id group by 1 order by count(*) desc limit 1")
    [name] = sql(f"select username from users where id = '{account}'")
    user = client.login(name)
    [partner] = sql("select account_id from read.statement join partners on id = account_id group by 1 order by count(*) desc limit 1")
    key = client.post(f"/admin/partners/{partner}/keys/", root)["api_key"]
    partner_key = {"authorization": f"ApiKey {key}"}
    middle = sql("select recorded_at::date || 'T12:00:00Z' from events where position = (select max(position) / 2 from events)")[0]

    def some(what, table):
        return sql(f"select {what} from {table} tablesample system (1) limit {SAMPLE}")

    def search(values):
        return lambda: "/admin/search/?q=" + random.choice(values).replace("#", "%23")

    readings = {
        "search: a transaction": (root, search(some("transaction_id", "read.transactions"))),
        "search: a subscription": (root, search(some("subscription_id", "read.subscriptions"))),
        "search: a user": (root, search(some("id", "users"))),
        "search: an event": (root, search(some("event_id", "events"))),
        "search: a new id of nothing": (root, search([str(new_id(of)) for of in some("event_id", "events")])),
        "search: a position": (root, search(["#" + position for position in some("position", "events")])),
        "search: the activation system's reference": (root, search([text for text in some("external_reference", "read.transactions") if text])),
        "search: our reference": (root, search(sql(f"select reference from read.transactions where reference is not null limit {SAMPLE}"))),
        "search: a partner's reference": (root, search(sql(f"select partner_reference from read.transactions where partner_reference is not null limit {SAMPLE}"))),
        "search: a username": (root, search(some("username", "users"))),
        "search: the beginning of many names": (root, lambda: f"/admin/search/?q=user-{random.randint(1, 99)}"),
        "search: a mail address": (root, search(some("email", "users"))),
        "statement of a user": (user, lambda: "/account/statement/"),
        "statement of a user, from a time on": (user, lambda: f"/account/statement/?from={middle}"),
        "statement of a partner, 75,000 entries": (partner_key, lambda: "/partner/statement/?limit=200"),
        "statement of a partner, before a time": (partner_key, lambda: f"/partner/statement/?to={middle}"),
        "statement of any user, for an administrator": (root, lambda values=some("id", "users"): f"/admin/users/{random.choice(values)}/statement/"),
        "statement of a partner, for an administrator": (root, lambda: f"/admin/partners/{partner}/statement/"),
        "own transactions": (user, lambda: "/account/transactions/"),
        "own subscriptions": (user, lambda: "/account/subscriptions/"),
        "all transactions": (root, lambda: "/admin/transactions/"),
        "a partner's transactions": (partner_key, lambda: "/partner/transactions/"),
        "users": (root, lambda: "/admin/users/"),
        "a user's subscriptions, for an administrator": (root, lambda: f"/admin/users/{account}/subscriptions/"),
        "changes": (root, lambda: "/admin/changes/"),
        "mail": (root, lambda: "/admin/mail/"),
        "events of a time, for an auditor": (root, lambda: f"/audit/events/?from={middle}"),
        "a balance of a time, for an auditor": (root, lambda: f"/audit/accounts/{partner}/balance/?at={middle}"),
    }
    print(sql("select 'transactions: ' || count(*) from read.transactions")[0], "users:", sql("select count(*) from users")[0])
    wrong = []
    for name, (caller, path) in readings.items():
        before = scans(sql)
        times = client.times(caller, path)
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        time.sleep(1.5)  # a backend tells what it has read once a second
        scanned = sorted(table for table, count in scans(sql).items() if count > before[table])
        print(f"{name:46} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   {' '.join(scanned)}", flush=True)
        if p99 > arguments.p99 or scanned:
            wrong.append(name)
    for name in wrong:
        print(f"too slow, or a large table was scanned: {name}", file=sys.stderr)
    return 1 if wrong else 0


def servers(arguments, directory, processes):
    said = os.path.join(directory, "servers.json")
    command = [arguments.offers, "dev", "servers", "--ephemeral", "--dir", os.path.join(directory, "servers")]
    with open(said, "w") as out:
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out))
    until = time.monotonic() + 60
    while not open(said).read().endswith("}\n"):
        if time.monotonic() > until:
            raise SystemExit("the servers do not start")
        time.sleep(0.1)
    return json.load(open(said))


def scans(sql):
    rows = sql(f"select schemaname || '.' || relname, seq_scan from pg_stat_user_tables where relname in {LARGE}")
    return {table: int(count) for table, count in (row.split(" ") for row in rows)}


def new_id(of):
    """An id of the same millisecond that nothing has."""
    return uuid.UUID(int=(uuid.UUID(of).int >> 62 << 62) | random.getrandbits(62))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Client:
    def __init__(self, port):
        until = time.monotonic() + 60
        while True:
            try:
                self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                self.connection.connect()
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def ask(self, method, path, headers, body=None):
        self.connection.request(method, "/api/v1" + path, body, headers)
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status not in (200, 201):
            raise SystemExit(f"{method} {path}: {answer.status} {said.decode()}")
        return said

    def post(self, path, headers):
        return json.loads(self.ask("POST", path, headers))

    def login(self, name):
        body = json.dumps({"username": name, "password": PASSWORD})
        said = self.ask("POST", "/auth/login/", {"content-type": "application/json"}, body)
        return {"authorization": "Bearer " + json.loads(said)["access"]}

    def times(self, caller, path):
        """Milliseconds, the shortest first."""
        for _ in range(WARMING):
            self.ask("GET", path(), caller)
        times = []
        for _ in range(READINGS):
            asked = path()
            begun = time.perf_counter()
            self.ask("GET", asked, caller)
            times.append((time.perf_counter() - begun) * 1e3)
        return sorted(times)


main()
