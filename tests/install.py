"""Does what docs/install.md says: its blocks are run, in a directory and on ports of its own, up to a purchase through the proxy.

    python3 tests/install.py target/debug/offers

Needs the servers, openssl, and nginx for the proxy (NGINX names it when it is not on the PATH; without it that part is left out).
Then keys and a password are replaced as the guide says, while two instances serve.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import ssl
from pathlib import Path

from installation import ROOT, SETTINGS, Failed, expect, free_port, installed, listens, main, nats_server, program, request, say, server_user, until

GUIDE = (ROOT / "docs" / "install.md").read_text()
# Where a client of the proxy comes from: not where the proxy is.
CLIENT = "127.0.0.5"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.S)


class Walk:
    """The guide's commands and files, with our directory instead of /etc and our ports instead of the usual ones."""

    def __init__(self, installation):
        self.installation = installation
        self.etc = installation.dir / "etc"
        self.secrets = self.etc / "offers" / "secrets"
        self.secrets.mkdir(parents=True)
        ports = installation.ports
        self.port, self.metrics = free_port(), free_port()
        self.replaced = {
            "/etc/": f"{self.etc}/",
            "127.0.0.1:5432": f"127.0.0.1:{ports['postgres']}",
            "127.0.0.1:6379": f"127.0.0.1:{ports['redis']}",
            "127.0.0.1:4222": f"127.0.0.1:{ports['nats']}",
            "127.0.0.1:8080": f"127.0.0.1:{self.port}",
            "127.0.0.1:9100": f"127.0.0.1:{self.metrics}",
            "https://activation.example.com": installation.external_url,
        }
        programs = installation.dir / "bin"
        programs.mkdir()
        (programs / "offers").symlink_to(installation.offers)
        self.path = f"{programs}:{os.environ['PATH']}"

    def adapted(self, text):
        for usual, ours in self.replaced.items():
            text = text.replace(usual, ours)
        return text

    def sh(self, containing, stdin=None, **environment):
        [script] = [block for block in blocks("sh") if containing in block]
        return self.installation.run(["bash", "-euc", self.adapted(script)], {"PATH": self.path, **environment}, input=stdin)

    def file(self, name):
        """The block whose first line is this file's name, as a file."""
        [text] = [block for block in blocks("ini") if block.startswith(f"# {name}\n")]
        place = Path(self.adapted(name))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(self.adapted(text))
        return place

    def secret(self, name):
        return (self.secrets / name).read_text().strip()

    def settings(self, name):
        return dict(line.split("=", 1) for line in (self.etc / "offers" / name).read_text().splitlines() if line and line[0] != "#")

    def offers(self, *arguments, status=0, **environment):
        return self.installation.run(["offers", *arguments], {"PATH": self.path, **environment}, status)


def servers(walk):
    installation = walk.installation
    installation.create_cluster()
    config = walk.file("/etc/postgresql/15/main/conf.d/offers.conf")
    main_file = installation.data / "postgresql.conf"
    main_file.write_text(main_file.read_text() + config.read_text())
    installation.start_postgres("shared_buffers=64MB")
    [roles] = blocks("sql")
    variables = ["-v", f"owner_password={walk.secret('owner')}", "-v", f"app_password={walk.secret('app')}"]
    installation.run([installation.bin / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", *variables, installation.url("postgres", "super", "postgres")], input=roles)

    redis = walk.file("/etc/redis/offers.conf")
    redis.write_text(redis.read_text() + f"port {installation.ports['redis']}\nrequirepass {walk.secret('redis')}\ndir {installation.dir}\n")
    installation.start("redis", [program("redis-server", "redis-server"), redis])
    installation.up("redis", lambda: listens(installation.ports["redis"]))

    walk.sh("NATS_APP_PASSWORD=")
    command = [nats_server(), "-c", ROOT / "nats.conf", "-a", "127.0.0.1", "-p", installation.ports["nats"], "-m", installation.ports["monitor"], "-sd", installation.dir / "nats"]
    installation.start("nats", command, walk.settings("nats.env"))
    installation.up("nats", lambda: listens(installation.ports["nats"]))
    installation.start_simulator()


def serve(walk, name, port, metrics, **changed):
    settings = {**walk.settings("offers.env"), "OFFERS_LISTEN": f"127.0.0.1:{port}", "OFFERS_METRICS_LISTEN": f"127.0.0.1:{metrics}"}
    walk.installation.start(name, [walk.installation.offers, "serve"], {**settings, "OFFERS_PASSWORD_MEMORY_KIB": SETTINGS["OFFERS_PASSWORD_MEMORY_KIB"], **changed})
    walk.installation.wait_ready(name, port)


def post(url, path, body, token=None, **headers):
    authorised = {"authorization": f"Bearer {token}"} if token else {}
    status, _, text = request(url, "POST", f"/api/v1{path}", body, {**authorised, **headers})
    expect(status < 300, f"{path} is {status}: {text}")
    return json.loads(text)


def log_in(url, name, password):
    return post(url, "/auth/login/", {"username": name, "password": password})


def first_purchase(walk, url):
    """By the first administrator; alice's session and the offer."""
    walk.sh("offers user create", "the-first-password\n", OFFERS_DATABASE_URL_FILE=str(walk.secrets / "database-url"))
    admin = log_in(url, "admin", "the-first-password")["access"]
    offer = post(url, "/admin/offers/", {"name": "Daily", "description": "", "price": "1.00", "duration_days": 30}, admin)["id"]
    alice = post(url, "/admin/users/", {"username": "alice", "email": "alice@example.com", "password": "a-password-of-hers"}, admin)["id"]
    post(url, f"/admin/accounts/{alice}/credit/", {"amount": "100.00", "reason": "a gift"}, admin)
    session = log_in(url, "alice", "a-password-of-hers")
    buy(url, session["access"], offer)
    return admin, session, offer


def buy(url, token, offer):
    bought = post(url, "/activation/", {"offer_id": offer}, token)["transaction_id"]
    headers = {"authorization": f"Bearer {token}", "prefer": "wait=20"}
    status, _, text = request(url, "GET", f"/api/v1/activation/status/{bought}/", headers=headers)
    expect(status == 200 and json.loads(text)["status"] == "SUCCESS", f"the purchase is {status}: {text}")


class Proxy:
    """deploy/nginx.conf, with a certificate of its own."""

    def __init__(self, walk, nginx):
        self.walk, self.port = walk, free_port()
        home = walk.installation.dir / "nginx"
        tls = walk.etc / "nginx" / "tls"
        for place in (home / "logs", tls):
            place.mkdir(parents=True)
        names = ["-keyout", tls / "privkey.pem", "-out", tls / "fullchain.pem", "-subj", "/CN=offers.example.com", "-addext", "subjectAltName=DNS:offers.example.com"]
        walk.installation.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", *names])
        site = walk.adapted((ROOT / "deploy" / "nginx.conf").read_text()).replace("listen 443", f"listen 127.0.0.1:{self.port}")
        temporary = "".join(f"{name}_temp_path {home};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if server_user() else ""
        config = home / "nginx.conf"
        config.write_text(f"{user}daemon off;\npid {home}/pid;\nerror_log {home}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{site}}}\n")
        walk.installation.start("nginx", [nginx, "-c", config, "-p", home])
        walk.installation.up("nginx", lambda: listens(self.port))
        self.tls = ssl.create_default_context(cafile=tls / "fullchain.pem")

    def open(self, method, path, body=None, **headers):
        """The answer, not yet read, to a client at CLIENT that trusts this certificate alone."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.tls, source_address=(CLIENT, 0))
        connection.connect = lambda: self.connect(connection)
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"host": "offers.example.com", "content-type": "application/json", **headers})
        return connection.getresponse()

    def connect(self, connection):
        http.client.HTTPConnection.connect(connection)
        connection.sock = self.tls.wrap_socket(connection.sock, server_hostname="offers.example.com")

    def tries(self, session, offer):
        expect(self.open("GET", "/metrics").status == 404, "the world can read /metrics")
        wrong = self.open("POST", "/api/v1/auth/login/", {"username": "alice", "password": "not hers"}, **{"x-forwarded-for": "6.6.6.6"})
        expect(wrong.status == 401, f"a wrong password is {wrong.status}")
        seen = "select details ->> 'address' from audit_log where action = 'login.refused'"
        address = until("the refused login is in the audit log", lambda: self.walk.installation.sql(seen))[0][0]
        expect(address == CLIENT, f"the service believes that the client is {address}, not {CLIENT}")

        authorised = {"authorization": f"Bearer {session['access']}"}
        simulator = self.walk.installation.running["simulator"]
        simulator.send_signal(signal.SIGSTOP)
        bought = json.loads(self.open("POST", "/api/v1/activation/", {"offer_id": offer}, **authorised).read())
        stream = self.open("GET", f"/api/v1/activation/status/{bought['transaction_id']}/", **authorised, accept="text/event-stream")
        expect(stream.readline() == b"event: status\n", "the stream says nothing while the purchase goes on")
        simulator.send_signal(signal.SIGCONT)
        told = stream.read().decode()
        expect('"SUCCESS"' in told, f"the stream said {told}")
        large = self.open("POST", "/api/v1/auth/login/", {"username": "x" * 70_000, "password": "y"})
        expect(large.status == 413 and json.loads(large.read())["code"] == "body_too_large", "a large body is refused by the proxy")
        say("the proxy: TLS, the client's address, an event stream, refusals of the service")


def replace_keys(walk, urls, session, offer):
    """The guide's three steps for the token key, and a second role for the database; alice's session lives through it."""
    old = walk.secret("jwt-key")
    new = old[::-1]
    state = {"refresh": session["refresh"], "access": session["access"]}

    def still_works(step):
        for url in urls:
            buy(url, state["access"], offer)
            state.update({name: token for name, token in post(url, "/auth/refresh/", {"refresh": state["refresh"]}).items() if name in state})
            buy(urls[0], state["access"], offer)
            buy(urls[1], state["access"], offer)
        say(f"  {step}: alice buys at both with her tokens")

    for step in (f"{old},{new}", f"{new},{old}", new):
        (walk.secrets / "jwt-key").write_text(step)
        for name, port, metrics in (("service", walk.port, walk.metrics), ("second", *walk.second)):
            walk.installation.end(name)
            serve(walk, name, port, metrics)
            still_works(f"{step.count(',') + 1} keys, {name} restarted")


def another_database_password(walk, urls, session, offer):
    installation = walk.installation
    installation.sql("alter role offers_app password 'anotherpassword'")
    text = (walk.secrets / "database-url").read_text()
    (walk.secrets / "database-url").write_text(text.replace(walk.secret("app"), "anotherpassword"))
    for name, port, metrics in (("service", walk.port, walk.metrics), ("second", *walk.second)):
        installation.end(name)
        serve(walk, name, port, metrics)
    installation.sql("create role offers_app2 login password 'anotherpassword' in role offers_app")
    installation.end("second")
    other = walk.secrets / "second-url"
    other.write_text((walk.secrets / "database-url").read_text().replace("offers_app:", "offers_app2:"))
    serve(walk, "second", *walk.second, OFFERS_DATABASE_URL_FILE=str(other))
    access = log_in(urls[0], "alice", "a-password-of-hers")["access"]
    for url in urls:
        buy(url, access, offer)
    say("  another database password: both serve")


def run():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("offers")
    given = options.parse_args()
    if not os.access(given.offers, os.X_OK):
        raise Failed(f"{given.offers} is no program; cargo build --bin offers makes it")
    with installed(given.offers) as installation:
        walk = Walk(installation)
        verifier_key = walk.sh("password() {").strip()
        expect(verifier_key.startswith("offers.example.com/log+"), f"not a verifier key: {verifier_key}")
        servers(walk)
        walk.file("/etc/offers/offers.env")
        say(walk.offers("migrate", **walk.settings("owner.env")).strip())
        serve(walk, "service", walk.port, walk.metrics)
        url = f"http://127.0.0.1:{walk.port}"
        _, session, offer = first_purchase(walk, url)
        say("the first administrator, an offer, a user, a purchase")
        expect(request(url, "GET", "/metrics")[0] == 404, "/metrics is on the public port")
        expect(request(f"http://127.0.0.1:{walk.metrics}", "GET", "/metrics")[0] == 200, "/metrics is not on its own port")

        nginx = os.environ.get("NGINX") or shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        if nginx:
            Proxy(walk, nginx).tries(session, offer)
        else:
            say("SKIPPED: the proxy; nginx is not installed (Debian: nginx-light)")

        walk.second = (free_port(), free_port())
        serve(walk, "second", *walk.second)
        urls = [url, f"http://127.0.0.1:{walk.second[0]}"]
        say("replacing the key of tokens")
        replace_keys(walk, urls, log_in(url, "alice", "a-password-of-hers"), offer)
        another_database_password(walk, urls, session, offer)
        environment = walk.settings("offers.env")
        say(walk.offers("check", "--redis", **{name: environment[name] for name in ("OFFERS_DATABASE_URL_FILE", "OFFERS_REDIS_URL_FILE")}).strip())
        until("the tree is signed", lambda: request(url, "GET", "/api/v1/audit/checkpoint/")[0] == 200)
        say("sound")


main(run)
