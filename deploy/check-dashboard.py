#!/usr/bin/env python3
"""Runs every query of the dashboard and of the alerts against a real Prometheus that scrapes a real service.

    ./dev                                            in another terminal, then
    deploy/check-dashboard.py                        watches what demo.json names
    deploy/check-dashboard.py --start BINARY         or starts a whole system of its own with that `offers`

Fails (1) when a query of the dashboard is wrong or finds nothing, when an alert is wrong or names a metric
that is not there, or when promtool objects; 2: it could not be tried. Leaves nothing running and nothing behind.
"""

import argparse
import json
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
DASHBOARD = HERE / "grafana" / "offers.json"
RULES = HERE / "prometheus" / "rules.yml"
RULES_TEST = HERE / "prometheus" / "rules_test.yml"
CONFIG = HERE / "prometheus" / "prometheus.yml"

# What Grafana would put in. The window holds enough scrapes for a rate.
VARIABLES = {
    "$__rate_interval": "30s",
    "$__range": "5m",
    "$__interval": "5s",
    "${datasource}": "prometheus",
    "$instance": ".*",
}
START_S = 60  # for servers to answer
ANSWER_S = 10  # for one HTTP request
END_S = 40  # for a process to end
PAUSE_S = 1  # between two looks


class CannotTry(Exception):
    """Something that the check needs is not there."""


def main():
    options = arguments()
    programs = {name: program(name) for name in ("prometheus", "promtool")}
    failures = promtool(programs["promtool"])
    with tempfile.TemporaryDirectory(prefix="offers-watch-") as directory, Children() as children:
        directory = pathlib.Path(directory)
        demo, binary = start_system(options, directory, children)
        prometheus = start_prometheus(programs["prometheus"], demo["api_url"], directory, children)
        traffic = threading.Thread(target=drive, args=(demo, binary, options, prometheus, failures), daemon=True)
        traffic.start()
        failures += check_panels(prometheus, options.seconds, traffic)
        failures += check_alerts(prometheus)
        traffic.join(END_S)
    for failure in failures:
        print(f"FAILED: {failure}")
    print("The dashboard and the alerts are sound." if not failures else f"{len(failures)} failures")
    return 1 if failures else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="the service, without /api/v1 [default: api_url of demo.json]")
    parser.add_argument("--data-dir", default=os.environ.get("OFFERS_DATA_DIR", HERE.parent / ".data"), type=pathlib.Path,
                        help="where demo.json is [env: OFFERS_DATA_DIR, default: .data]")
    parser.add_argument("--start", metavar="BINARY", help="start a system of its own with this `offers`")
    parser.add_argument("--offers", metavar="BINARY",
                        help="what drives the load: `BINARY load …` [default: that of --start, else as ./dev built it]")
    parser.add_argument("--load-seconds", type=int, default=8, help="for how long [default: 8]")
    parser.add_argument("--seconds", type=int, default=45, help="how long to wait for data [default: 45]")
    return parser.parse_args()


def program(name):
    found = shutil.which(name)
    if not found:
        raise CannotTry(f"{name} is not installed. Debian, Ubuntu: apt-get install --no-install-recommends prometheus "
                        "(it starts a service of its own: systemctl disable --now prometheus); Homebrew: brew install prometheus")
    return found


# --- what is started, and ends with us -----------------------------------------------------------------


class Children:
    """Processes that end, last first, whatever happens."""

    def __enter__(self):
        self.started = []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def start(self, words, log, **more):
        with open(log, "wb") as out:
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **more)
        self.started.append(child)
        return child

    def __exit__(self, *_):
        for child in reversed(self.started):
            child.terminate()
            try:
                child.wait(END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def start_system(options, directory, children):
    """Where the service is, and what may load it."""
    data_dir = options.data_dir
    if options.start:
        data_dir = directory / "data"
        os.chmod(directory, 0o755)  # PostgreSQL may run as another user
        words = [options.start, "dev", "up", "--listen", "127.0.0.1:0", "--data-dir", str(data_dir)]
        log = directory / "system.log"
        child = children.start(words, log, env={**os.environ, "RUST_LOG": "warn"})
        wait("the system", child, log, (data_dir / "demo.json").exists)
    path = data_dir / "demo.json"
    if not path.exists():
        raise CannotTry(f"{path} is not there: start ./dev in another terminal, or give --start")
    demo = json.loads(path.read_text())
    demo["data_dir"] = str(data_dir)
    demo["api_url"] = (options.url or demo["api_url"]).rstrip("/")
    binary = options.offers or options.start or HERE.parent / "target" / "release" / "offers"
    if not os.access(binary, os.X_OK):
        raise CannotTry(f"{binary} is not there: build it, or name another with --offers")
    return demo, str(binary)


def start_prometheus(binary, target, directory, children):
    """A Prometheus with our own rules, on a free loopback port; its address."""
    config = directory / "prometheus.yml"
    config.write_text(json.dumps({  # JSON is YAML
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "offers", "static_configs": [{"targets": [urllib.parse.urlsplit(target).netloc]}]}],
    }))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % probe.getsockname()[1]
    log = directory / "prometheus.log"
    child = children.start([binary, f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}",
                            f"--web.listen-address={address}", "--log.level=warn"], log)
    wait("Prometheus", child, log, lambda: answers(f"http://{address}/-/ready"))
    return f"http://{address}"


def wait(name, child, log, done):
    until = time.monotonic() + START_S
    while not done():
        if child.poll() is not None or time.monotonic() > until:
            raise CannotTry(f"{name} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


def answers(url):
    try:
        return http(url)[0] == 200
    except OSError:
        return False


# --- traffic, so that there is something to see ------------------------------------------------------------


def http(url, body=None, headers=None):
    """Status and body; an error's too."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def drive(demo, binary, options, prometheus, failures):
    """Makes something to see; what keeps it from that is a failure too."""
    try:
        wait_for_scrapes(prometheus)
        try_everything(demo)
        load(demo, binary, options.load_seconds)
    except (CannotTry, OSError, ValueError, KeyError) as reason:
        failures.append(f"the traffic ended before its time: {reason!r}")


def try_everything(demo):
    """Purchases that succeed, fail and cannot be paid, a wrong password, a long poll, a path that is none."""
    api, users = demo["api_url"] + "/api/v1", {user["username"]: user for user in demo["users"]}
    http(f"{api}/auth/login/", {"username": "alice", "password": "wrong"})
    alice = log_in(api, users["alice"])
    for offer in (demo["offers"][0], demo["offers"][-1]):  # the last one is always rejected
        bought = json.loads(http(f"{api}/activation/", {"offer_id": offer}, alice)[1])
        http(f"{api}/activation/status/{bought.get('transaction_id')}/", headers={**alice, "prefer": "wait=5"})
    http(f"{api}/nowhere/", headers=alice)
    http(f"{api}/activation/", {"offer_id": demo["offers"][0]}, log_in(api, users["auditor"]))  # has no money


def load(demo, binary, seconds):
    """`offers load`, gently."""
    words = [binary, "load", "--url", demo["api_url"], "--data-dir", demo["data_dir"],
             "--seconds", str(seconds), "--connections", "8", "--users", "4"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotTry(f"{' '.join(words)}: {done.stdout}{done.stderr}")


def wait_for_scrapes(prometheus):
    """A rate is seen only of what was scraped before it grew."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if (finite(query(prometheus, "min(count_over_time(up[1m]))")) or [0])[0] >= 2:
            return
        time.sleep(PAUSE_S)


def log_in(api, user):
    status, body = http(f"{api}/auth/login/", {"username": user["username"], "password": user["password"]})
    if status != 200:
        raise CannotTry(f"{user['username']} cannot log in: {body.decode()}")
    return {"authorization": "Bearer " + json.loads(body)["access"]}


# --- the checks --------------------------------------------------------------------------------------------


def promtool(binary):
    """What promtool says against the rules, their tests and the configuration."""
    failures = []
    for words in (["check", "rules", RULES], ["check", "config", CONFIG], ["test", "rules", RULES_TEST]):
        done = subprocess.run([binary, *map(str, words)], capture_output=True, text=True, check=False)
        verdict = "passed" if done.returncode == 0 else "FAILED"
        print(f"promtool {words[0]} {words[1]} {words[2].name}: {verdict}")
        if done.returncode != 0:
            failures.append(f"promtool {words[0]} {words[1]}:\n{done.stdout}{done.stderr}")
    return failures


class QueryError(Exception):
    """Prometheus does not take the query."""


def query(prometheus, expression):
    _, body = http(f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
    answer = json.loads(body)
    if answer["status"] != "success":
        raise QueryError(answer["error"])
    result = answer["data"]["result"]
    return result if answer["data"]["resultType"] == "vector" else [{"metric": {}, "value": result}]


def finite(series):
    """The values that can be drawn: 0 / 0 cannot."""
    values = [float(one["value"][1]) for one in series]
    return [value for value in values if math.isfinite(value)]


def panels():
    """(row, panel, query) of everything that the dashboard shows."""
    row = ""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        for target in panel.get("targets", []):
            yield row, f"{panel['title']} {target['refId']}", target["expr"]


def filled_in(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    if "$" in expression:
        raise QueryError("a variable that Grafana knows and this check does not")
    return expression


def check_panels(prometheus, seconds, traffic):
    """Watches while there is traffic, until every query has found something; says what found nothing."""
    every, seen, wrong = list(panels()), {}, {}
    until = time.monotonic() + seconds
    while (traffic.is_alive() or len(seen) + len(wrong) < len(every)) and time.monotonic() < until:
        for one in every:
            try:
                values = finite(query(prometheus, filled_in(one[2])))
            except QueryError as error:
                wrong[one] = str(error)
                continue
            if values and max(values) >= max(seen.get(one, values)):
                seen[one] = values
        time.sleep(PAUSE_S)
    print(f"\n{'row':<36} {'panel and query':<36} {'series':>6} {'highest value':>14}")
    for one in every:
        shown = f"{len(seen[one]):>6} {max(seen[one]):>14.6g}" if one in seen else f"{0:>6} {wrong.get(one, 'no data')}"
        print(f"{one[0]:<36} {one[1]:<36} {shown}")
    print(f"{len(every)} queries, {len(seen)} with data\n")
    return [f"{row} / {panel}: {wrong.get((row, panel, text), 'no data')}: {text}"
            for row, panel, text in every if (row, panel, text) not in seen]


def check_alerts(prometheus):
    """Every alert works, and what it looks at exists; says which fire."""
    groups = json.loads(http(f"{prometheus}/api/v1/rules")[1])["data"]["groups"]
    names = set(json.loads(http(f"{prometheus}/api/v1/label/__name__/values")[1])["data"])
    alerts = [rule for group in groups for rule in group["rules"]]
    failures = [] if alerts else ["Prometheus has loaded no alerts"]
    for alert in alerts:
        name, expression = alert["name"], alert["query"]
        absent = metrics_of(expression) - names
        if absent:
            failures.append(f"{name} looks at what is not there: {', '.join(sorted(absent))}")
        if alert["health"] != "ok":
            failures.append(f"{name}: {alert.get('lastError') or alert['health']}")
        if alert["state"] != "inactive":
            print(f"{name} is {alert['state']}: {[one['labels'] for one in alert['alerts']]}")
    active = sum(alert["state"] != "inactive" for alert in alerts)
    print(f"{len(alerts)} alerts, {active} of them pending or firing")
    return failures


def metrics_of(expression):
    """The metrics that an expression names: its words, without labels, functions and what joins them."""
    text = re.sub(r'"[^"]*"', "", expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", text)
    words = re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])", re.sub(r"\boffset\s+\w+", "", text))
    joins = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool"}
    return {word for word in words if word not in joins}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CannotTry as reason:
        print(reason, file=sys.stderr)
        sys.exit(2)
