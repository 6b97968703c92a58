"""An installation of its own without ./dev: PostgreSQL, Redis, NATS, the simulated activation system and any number of
instances, each of which can be ended, destroyed and started again; and clients that buy. For the scripts beside it."""

import http.client
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
READY_S = 120
STOP_S = 60
ANSWER_S = 40
FINAL_S = 300
POLL_S = 0.1
USERS = 4
PRICE = "1.00"
CREDIT = "1000000.00"
SETTINGS = {f"OFFERS_RATE_LIMIT_{name}": "off" for name in ("USER", "PARTNER", "ADDRESS", "LOGIN")} | {
    "OFFERS_PURCHASES_PER_USER": "off",
    "OFFERS_UNFINISHED_PER_USER": "off",
    "OFFERS_ACCESS_TOKEN_TTL": "2h",
    "OFFERS_PASSWORD_MEMORY_KIB": "1024",
}


class Failed(Exception):
    """What the script found wrong, or cannot do; said without a traceback."""


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def expect(truth, text):
    if not truth:
        raise Failed(text)


def main(run):
    """Runs a script; exit code 1 when something was found wrong, 2 when it cannot run."""
    try:
        run()
    except Failed as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        sys.exit(1)
    except FileNotFoundError as missing:
        print(f"cannot run: {missing}", file=sys.stderr)
        sys.exit(2)


def until(what, condition, seconds=READY_S):
    """Waits until `condition` is true, and returns what it returns."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        expect(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(POLL_S)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def program(name, package):
    """Where a server's program is; Debian has some where only root's PATH leads."""
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if not found:
        raise FileNotFoundError(f"{name} is not installed (Debian: {package})")
    return found


def nats_server():
    """NATS_SERVER, or the current one that ./dev test has downloaded, or the installed one."""
    downloaded = sorted((ROOT / "target").glob("nats-server-*/*.data/scripts/nats-server"))
    return os.environ.get("NATS_SERVER") or (str(downloaded[-1]) if downloaded else program("nats-server", "nats-server"))


def postgres_bin():
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = str(versions[-1]) if versions else program("initdb", "postgresql")
    return Path(found).parent


# PostgreSQL refuses to run as root.
def server_user():
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def request(url, method, path, body=None, headers=None, timeout=ANSWER_S):
    """One request on a connection of its own: status, headers, body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        content = None if body is None else json.dumps(body)
        sent = {"content-type": "application/json"} if body is not None else {}
        connection.request(method, path, content, {**sent, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


class Nats:
    """As much of NATS's protocol as a question and a publish need."""

    def __init__(self, user, password, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)
        self.lines = self.socket.makefile("rb")
        self.lines.readline()  # INFO
        self.send("CONNECT " + json.dumps({"user": user, "pass": password, "verbose": False, "headers": True}))
        self.send("SUB answers 1")

    def send(self, line, payload=None):
        text = line.encode() + b"\r\n" + (b"" if payload is None else payload + b"\r\n")
        self.socket.sendall(text)

    def publish(self, subject, payload):
        self.send(f"PUB {subject} {len(payload)}", payload)

    def ask(self, subject, body):
        """The answer of the JetStream API."""
        payload = json.dumps(body).encode()
        self.send(f"PUB $JS.API.{subject} answers {len(payload)}", payload)
        while True:
            words = self.lines.readline().split()
            expect(words and words[0] != b"-ERR", f"NATS says {words}")
            if words[0] == b"PING":
                self.send("PONG")
            elif words[0] in (b"MSG", b"HMSG"):
                return json.loads(self.lines.read(int(words[-1]) + 2))


class Installation:
    def __init__(self, directory, offers):
        self.dir = Path(directory)
        self.offers = str(Path(offers).resolve())
        self.bin = postgres_bin()
        self.passwords = {name: "p" + secrets.token_hex(12) for name in ("super", "owner", "app", "backup", "redis", "nats", "mirror", "analyst")}
        self.keys = {name: secrets.token_hex(24) for name in ("jwt", "webhook")}
        self.checkpoint_key = None
        names = ("postgres", "redis", "nats", "monitor", "simulator")
        self.ports = {name: free_port() for name in names}
        self.running = {}
        self.effects = self.dir / "simulator.ndjson"
        self.external_url = f"http://127.0.0.1:{self.ports['simulator']}"

    # --- processes ---

    def start(self, name, command, environment=None, **options):
        with (self.dir / f"{name}.log").open("a") as log:
            clean = {key: value for key, value in os.environ.items() if not key.startswith("OFFERS_")}
            self.running[name] = subprocess.Popen(
                [str(part) for part in command], env={**clean, **(environment or {})}, cwd=self.dir, stdout=log, stderr=log, **options
            )
        return self.running[name]

    def end(self, name, how=signal.SIGTERM):
        process = self.running.pop(name)
        process.send_signal(how)
        process.wait(STOP_S)

    def end_all(self):
        """In the order in which they need each other; what does not end is killed."""
        last = ["redis", "nats", "postgres"]
        for name in sorted(self.running, key=lambda name: last.index(name) if name in last else -1):
            try:
                self.end(name, signal.SIGINT if name == "postgres" else signal.SIGTERM)
            except subprocess.TimeoutExpired:
                pass

    def log_of(self, name, lines=15):
        text = (self.dir / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(text[-lines:])

    def up(self, name, ready):
        process = self.running[name]

        def is_up():
            expect(process.poll() is None, f"{name} ended:\n{self.log_of(name)}")
            return ready()

        until(f"{name} is ready", is_up)

    # --- servers ---

    @property
    def data(self):
        return self.dir / "postgres" / "data"

    def begin(self, offers=None):
        """Starts everything that a service needs but NATS, with an empty log in the schema of `offers`."""
        self.create_cluster()
        self.start_postgres()
        self.create_roles()
        self.migrate(offers)
        self.start_simulator()
        self.start_redis()

    def create_cluster(self):
        home = self.dir / "postgres"
        home.mkdir()
        secret = self.dir / "postgres" / "password"
        secret.write_text(self.passwords["super"])
        if server_user():
            shutil.chown(home, "postgres", "postgres")
            shutil.chown(secret, "postgres", "postgres")
        self.as_postgres("initdb", "-D", self.data, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync", "--data-checksums")

    def as_postgres(self, tool, *arguments, environment=None):
        return self.run([self.bin / tool, *arguments], environment, **server_user())

    def start_postgres(self, *settings):
        own = [f"port={self.ports['postgres']}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300", "jit=off", "timezone=UTC", *settings]
        flags = [part for setting in own for part in ("-c", setting)]
        self.start("postgres", [self.bin / "postgres", "-D", self.data, *flags], **server_user())
        self.up("postgres", lambda: self.is_primary())

    def is_primary(self):
        asked = subprocess.run(
            [self.bin / "psql", "-XAtc", "select not pg_is_in_recovery()", self.url("postgres", "super", "postgres")], capture_output=True, text=True
        )
        return asked.stdout.strip() == "t"

    def url(self, role, password, database="offers"):
        return f"postgres://{role}:{self.passwords[password]}@127.0.0.1:{self.ports['postgres']}/{database}"

    def sql(self, text, role="postgres", password="super", database="offers"):
        """Each row a list of texts."""
        command = [self.bin / "psql", "-XAt", "-v", "ON_ERROR_STOP=1", "-F", "\t", "-c", text, self.url(role, password, database)]
        said = self.run(command)
        return [line.split("\t") for line in said.splitlines()]

    def run(self, command, environment=None, status=0, **options):
        """What a program prints; a failure when it ends with another status."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("OFFERS_")}
        command = [str(part) for part in command]
        done = subprocess.run(command, env={**clean, **(environment or {})}, cwd=self.dir, capture_output=True, text=True, **options)
        expect(done.returncode == status, f"{' '.join(command[:3])} ended with {done.returncode}, not {status}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def create_roles(self):
        roles = [("offers_owner", "owner", ""), ("offers_app", "app", ""), ("offers_backup", "backup", "replication")]
        for role, password, right in roles:
            self.sql(f"create role {role} login {right} password '{self.passwords[password]}'", database="postgres")
        self.sql("create database offers owner offers_owner", database="postgres")
        self.sql("revoke all on database offers from public", database="postgres")
        self.sql("grant connect on database offers to offers_app", database="postgres")

    def start_redis(self):
        home = self.dir / "redis"
        home.mkdir(exist_ok=True)
        redis = program("redis-server", "redis-server")
        self.start("redis", [redis, "--port", self.ports["redis"], "--bind", "127.0.0.1", "--dir", home, "--appendonly", "yes", "--requirepass", self.passwords["redis"]])
        self.up("redis", lambda: listens(self.ports["redis"]))

    def start_nats(self, config=ROOT / "nats.conf", **more):
        nats = nats_server()
        environment = {f"NATS_{name}_PASSWORD": self.passwords[key] for name, key in (("APP", "nats"), ("ANALYTICS_ADMIN", "mirror"), ("ANALYST", "analyst"))}
        command = [nats, "-c", config, "-a", "127.0.0.1", "-p", self.ports["nats"], "-m", self.ports["monitor"], "-sd", self.dir / "nats"]
        self.start("nats", command, {**environment, **more})
        self.up("nats", lambda: listens(self.ports["nats"]))

    def start_simulator(self):
        self.start("simulator", [self.offers, "simulator", "--listen", f"127.0.0.1:{self.ports['simulator']}", "--log", self.effects])
        self.up("simulator", lambda: listens(self.ports["simulator"]))

    def stream(self, name="OFFERS_EVENTS", account="OFFERS"):
        """First and last sequence of a stream, from NATS's monitoring port; None if it is not there."""
        _, _, body = request(f"http://127.0.0.1:{self.ports['monitor']}", "GET", "/jsz?accounts=true&streams=true")
        for found in json.loads(body).get("account_details", []):
            for stream in found.get("stream_detail", []) if found["name"] == account else []:
                if stream["name"] == name:
                    return stream["state"]["first_seq"], stream["state"]["last_seq"]
        return None

    # --- the service ---

    def environment(self):
        servers = {
            "OFFERS_DATABASE_URL": self.url("offers_app", "app"),
            "OFFERS_DATABASE_OWNER_URL": self.url("offers_owner", "owner"),
            "OFFERS_REDIS_URL": f"redis://:{self.passwords['redis']}@127.0.0.1:{self.ports['redis']}/0",
            "OFFERS_JWT_KEY": self.keys["jwt"],
            "OFFERS_WEBHOOK_KEY": self.keys["webhook"],
        }
        if self.checkpoint_key:
            servers["OFFERS_CHECKPOINT_KEY_FILE"] = str(self.checkpoint_key)
        return servers

    def verb(self, *arguments, offers=None, status=0, stdin=None, **environment):
        """What `offers` prints for these arguments."""
        return self.run([offers or self.offers, *arguments], {**self.environment(), **environment}, status, input=stdin)

    def make_key(self, name):
        """A key that signs checkpoints, for the instances that are started from now on."""
        self.checkpoint_key = self.dir / f"{name}.key"
        made = self.run([self.offers, "key", "generate", "--origin", f"offers.example.com/{name}", "--out", self.checkpoint_key, "--json"])
        self.vkey = json.loads(made)["verifier_key"]

    def migrate(self, offers=None):
        return self.verb("migrate", offers=offers)

    def serve(self, name, port, offers=None, **settings):
        """Starts an instance without waiting for it."""
        nats = f"@127.0.0.1:{self.ports['nats']}"
        own = {
            "OFFERS_LISTEN": f"127.0.0.1:{port}",
            "OFFERS_NATS_URL": f"nats://app:{self.passwords['nats']}{nats}",
            "OFFERS_NATS_ANALYTICS_URL": f"nats://analytics_admin:{self.passwords['mirror']}{nats}",
            "OFFERS_EXTERNAL_URL": self.external_url,
            **SETTINGS,
            **settings,
        }
        environment = {name: value for name, value in {**self.environment(), **own}.items() if name != "OFFERS_DATABASE_OWNER_URL"}
        self.start(name, [offers or self.offers, "serve"], environment)

    def wait_ready(self, name, port):
        self.up(name, lambda: self.readiness(port)[0] == 200)

    def readiness(self, port):
        try:
            status, _, body = request(f"http://127.0.0.1:{port}", "GET", "/readyz", timeout=5)
            return status, body
        except OSError:
            return 0, ""

    def effects_by_transaction(self):
        """transaction id → how often the activation system has done it."""
        done = {}
        for line in self.effects.read_text().splitlines():
            entry = json.loads(line)
            if entry["effect"] == "activated":
                done[entry["transaction_id"]] = done.get(entry["transaction_id"], 0) + 1
        return done

    def head(self):
        return int(self.sql("select coalesce(max(position), 0) from events")[0][0])

    def everything_is_final(self):
        waiting = "select count(*) from events requested where event_type = 'ActivationRequested' and not exists (select from events ended where ended.aggregate_id = requested.aggregate_id and ended.event_type in ('Succeeded', 'Failed'))"
        until("every purchase is final", lambda: self.sql(waiting) == [["0"]], FINAL_S)

    def derived_is_complete(self):
        """Stream, read tables, hashes and tree have the whole log."""
        until("the stream ends where the log does", lambda: (self.stream() or (0, 0))[1] == self.head(), FINAL_S)
        until("the mirror ends where the log does", lambda: (self.stream(account="ANALYTICS") or (0, 0))[1] == self.head(), FINAL_S)
        say(self.verb("check", "--redis").strip())


@contextmanager
def installed(offers):
    """An installation with its servers and the schema, in a directory that goes with it."""
    directory = tempfile.mkdtemp(prefix="offers-installation-")
    os.chmod(directory, 0o755)  # PostgreSQL runs as another user
    installation = Installation(directory, offers)
    failed = True
    try:
        yield installation
        failed = False
    finally:
        installation.end_all()
        if failed and os.environ.get("KEEP"):
            print(f"kept: {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)


class Shop:
    """Users with money and an offer, made by an administrator at `url`."""

    def __init__(self, installation, url, offers=None):
        self.url, self.users, self.tokens = url, {}, {}
        password = secrets.token_hex(12)
        installation.verb("user", "create", "admin", "--email", "admin@example.com", "--role", "admin", "--reason", "a test", offers=offers, stdin=password + "\n")
        self.admin = self.access("admin", password)
        self.offer = self.post("offers/", {"name": "Daily paper", "description": "", "price": PRICE, "duration_days": 30})["id"]
        for number in range(USERS):
            name, password = f"reader{number}", secrets.token_hex(12)
            made = self.post("users/", {"username": name, "password": password, "email": f"{name}@example.com"})
            self.post(f"accounts/{made['id']}/credit/", {"amount": CREDIT, "reason": "a test"})
            self.users[name] = password
            self.tokens[name] = self.access(name, password)

    def post(self, path, body):
        headers = {"authorization": f"Bearer {self.admin}"}
        status, _, answer = request(self.url, "POST", f"/api/v1/admin/{path}", body, headers)
        expect(status == 201, f"{path} is {status}: {answer}")
        return json.loads(answer)

    def access(self, name, password):
        status, _, body = request(self.url, "POST", "/api/v1/auth/login/", {"username": name, "password": password})
        expect(status == 200, f"login is {status}: {body}")
        return json.loads(body)["access"]


class Load:
    """Clients that buy one after the other at any of `urls`, and repeat with the same key elsewhere until they are answered."""

    def __init__(self, shop, urls, clients=8, pace_s=0.0):
        self.shop, self.urls, self.pace_s = shop, list(urls), pace_s
        self.accepted = {}  # key → (transaction id, user)
        self.refused = {}  # status → how often
        self.wrong = []
        self.no_connection = 0
        self.most_tries = 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def work(self, number):
        users = list(self.shop.users)
        place = number
        connections = {}
        while not self.stopping.is_set():
            key, user = secrets.token_hex(16), random.choice(users)
            tries = 0
            while not self.stopping.is_set():
                tries += 1
                url = self.urls[place % len(self.urls)]
                if self.buy(connections, url, key, user):
                    break
                place += 1
                self.stopping.wait(0.05)
            self.most_tries = max(self.most_tries, tries)
            self.stopping.wait(self.pace_s)

    def buy(self, connections, url, key, user):
        parts = urlsplit(url)
        connection = connections.setdefault(url, http.client.HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_S))
        headers = {"content-type": "application/json", "idempotency-key": key, "authorization": f"Bearer {self.shop.tokens[user]}"}
        try:
            connection.request("POST", "/api/v1/activation/", json.dumps({"offer_id": self.shop.offer}), headers)
            answer = connection.getresponse()
            status, retry, body = answer.status, answer.getheader("retry-after"), answer.read().decode()
        except TimeoutError:
            self.wrong.append(f"no answer within {ANSWER_S} s from {url}")
            return False
        except (OSError, http.client.HTTPException):
            connection.close()
            self.no_connection += 1
            return False
        if status == 202:
            self.accepted[key] = (json.loads(body)["transaction_id"], user)
            return True
        self.refused[status] = self.refused.get(status, 0) + 1
        if status != 503 or not retry:
            self.wrong.append(f"{status} from {url}: {body[:300]}")
        return False

    def has_accepted(self, count):
        until(f"{count} purchases are accepted", lambda: self.wrong or len(self.accepted) >= count, FINAL_S * 10)
        expect(not self.wrong, f"answers that no client may get: {self.wrong[:3]}")

    def end(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(ANSWER_S * 2)
        expect(not self.wrong, f"answers that no client may get: {self.wrong[:3]}")
        return dict(self.accepted)
