"""A NATS cluster of three under a service that sells: each server in turn is killed and started again (docs/scaling.md).

    python3 tests/nats_cluster.py target/debug/offers

No purchase may fail (503 overloaded is an answer, while few are finished), the stream must go on with two servers, and at the end each event is in it once.
"""

import argparse
import base64
import json
import signal
import time

from installation import ROOT, Failed, Load, Nats, Shop, expect, free_port, installed, main, nats_server, request, say, until

SERVERS = ["nats-1", "nats-2", "nats-3"]
# A cluster elects a leader of a stream within seconds.
GOES_ON_S = 30


class Cluster:
    def __init__(self, installation):
        self.installation = installation
        self.health = ""
        self.ports = {name: {use: free_port() for use in ("client", "cluster", "monitor")} for name in SERVERS}

    def start(self, name):
        installation, ports = self.installation, self.ports[name]
        routes = json.dumps([f"nats-route://cluster:secret@127.0.0.1:{other['cluster']}" for other in self.ports.values()])
        passwords = installation.passwords
        environment = {
            "NATS_APP_PASSWORD": passwords["nats"],
            "NATS_ANALYTICS_ADMIN_PASSWORD": passwords["mirror"],
            "NATS_ANALYST_PASSWORD": passwords["analyst"],
            "NATS_NAME": name,
            "NATS_CLUSTER_LISTEN": f"127.0.0.1:{ports['cluster']}",
            "NATS_CLUSTER_PASSWORD": "secret",
            "NATS_ROUTES": routes,
        }
        config = ROOT / "deploy" / "nats-cluster.conf"
        installation.start(name, [nats_server(), "-c", config, "-a", "127.0.0.1", "-p", ports["client"], "-m", ports["monitor"], "-sd", installation.dir / name], environment)

    def is_healthy(self, name):
        try:
            status, _, self.health = request(f"http://127.0.0.1:{self.ports[name]['monitor']}", "GET", "/healthz", timeout=2)
            return status == 200
        except OSError:
            return False

    def is_up(self, name):
        try:
            self.installation.up(name, lambda: self.is_healthy(name))
        except Failed as failure:
            raise Failed(f"{failure}: {self.health}") from failure

    def url(self, user, password):
        return ",".join(f"nats://{user}:{self.installation.passwords[password]}@127.0.0.1:{ports['client']}" for ports in self.ports.values())

    def look_at(self, name):
        """Where the installation asks about streams."""
        self.installation.ports["monitor"] = self.ports[name]["monitor"]

    def replicas(self):
        port = self.installation.ports["monitor"]
        _, _, body = request(f"http://127.0.0.1:{port}", "GET", "/jsz?accounts=true&streams=true&config=true")
        details = [stream for account in json.loads(body)["account_details"] for stream in account.get("stream_detail", [])]
        return {stream["name"]: stream["config"]["num_replicas"] for stream in details}


def run():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("offers")
    options.add_argument("--activations", type=int, default=200, help="between two steps")
    given = options.parse_args()
    with installed(given.offers) as installation:
        installation.make_key("log")
        installation.begin()
        cluster = Cluster(installation)
        for name in SERVERS:
            cluster.start(name)
        for name in SERVERS:
            cluster.is_up(name)
        cluster.look_at(SERVERS[0])
        port = free_port()
        settings = {
            "OFFERS_NATS_URL": cluster.url("app", "nats"),
            "OFFERS_NATS_ANALYTICS_URL": cluster.url("analytics_admin", "mirror"),
            "OFFERS_NATS_REPLICAS": "3",
        }
        installation.serve("service", port, **settings)
        installation.wait_ready("service", port)
        url = f"http://127.0.0.1:{port}"
        load = Load(Shop(installation, url), [url], clients=4, pace_s=0.01)
        for number, name in enumerate(SERVERS):
            load.has_accepted(len(load.accepted) + given.activations)
            say(f"{name} is killed")
            installation.end(name, signal.SIGKILL)
            cluster.look_at(SERVERS[(number + 1) % len(SERVERS)])
            began, head = time.monotonic(), installation.head()
            until("the stream goes on with two servers", lambda: (installation.stream() or (0, 0))[1] > head, GOES_ON_S)
            say(f"  the stream went on after {time.monotonic() - began:.1f} s")
            load.has_accepted(len(load.accepted) + given.activations)
            cluster.start(name)
            cluster.is_up(name)
        load.has_accepted(len(load.accepted) + given.activations)
        say("somebody publishes into the stream")
        nats = Nats("app", installation.passwords["nats"], cluster.ports[SERVERS[0]]["client"])
        nats.publish("offers.events.hello.world", b"not an event")
        load.has_accepted(len(load.accepted) + given.activations)
        accepted = load.end()
        expect(not load.no_connection, f"without a connection {load.no_connection}")
        installation.everything_is_final()
        installation.derived_is_complete()
        for position, event in installation.sql("select position, event_id from events order by position"):
            message = nats.ask("STREAM.MSG.GET.OFFERS_EVENTS", {"seq": int(position)}).get("message", {})
            headers = base64.b64decode(message.get("hdrs", "")).decode()
            expect(f"Nats-Msg-Id: {event}" in headers, f"the stream has something else at {position}: {message}")
        replicas = cluster.replicas()
        expect(set(replicas.values()) == {3}, f"streams have so many replicas: {replicas}")
        say(f"sound: {len(accepted)} accepted, refused {load.refused or 'none'}; {', '.join(sorted(replicas))} on three servers")


main(run)
