"""Two cells, each a whole installation with its own log, and a hub with one stream of the events of both (docs/scaling.md).

    python3 tests/cells.py target/debug/offers

An analyst reads the hub, and must get every event of both cells, each cell's in its order: while both are bought in, when the hub and
a cell's NATS are killed and started again, when a cell's stream is deleted and made again from its log, and when a cell's log was
restored from an older copy and the source was set back.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from installation import ROOT, Failed, Load, Shop, expect, free_port, installed, listens, main, nats_server, say, until
from system import python_for_examples

CELLS = ["cell-a", "cell-b"]
# nats-server waits for up to two minutes before it asks a source again that it could not reach several times.
CAUGHT_UP_S = 300
HUB_STREAM = json.loads((ROOT / "deploy" / "cells" / "hub-stream.json").read_text())


class Hub:
    def __init__(self, directory):
        self.dir = Path(directory)
        self.port, self.leaf = free_port(), free_port()
        self.process = None

    def leaf_url(self, cell):
        return f"nats-leaf://{cell}:secret@127.0.0.1:{self.leaf}"

    def start(self):
        environment = {name: "secret" for name in ("HUB_ADMIN_PASSWORD", "NATS_ANALYST_PASSWORD", "CELL_A_PASSWORD", "CELL_B_PASSWORD")}
        environment["HUB_LEAF_LISTEN"] = f"127.0.0.1:{self.leaf}"
        command = [nats_server(), "-c", ROOT / "deploy" / "cells" / "hub.conf", "-a", "127.0.0.1", "-p", str(self.port), "-m", "0", "-sd", self.dir]
        with (self.dir / "log").open("a") as log:
            self.process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        until("the hub listens", lambda: listens(self.port) and listens(self.leaf))

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(30)

    async def connected(self, user="hub_admin"):
        import nats

        async def quiet(_error):
            pass  # it connects again

        return await nats.connect(error_cb=quiet, servers=f"nats://{user}:secret@127.0.0.1:{self.port}", max_reconnect_attempts=-1, reconnect_time_wait=0.2)

    async def asks(self, call, body):
        client = await self.connected()
        try:
            answer = json.loads((await client.request(f"$JS.API.{call}", json.dumps(body).encode(), timeout=10)).data)
            expect("error" not in answer, f"{call}: {answer.get('error')}")
            return answer
        finally:
            await client.close()


class Analyst:
    """Reads the hub for as long as it lives, keeps what each cell's position was first seen to be, and drops repeats."""

    def __init__(self, hub):
        self.hub, self.seen, self.out_of_order, self.repeats = hub, {cell: {} for cell in CELLS}, [], 0

    async def read(self):
        client = await self.hub.connected("analyst")
        stream = client.jetstream(prefix="EVENTS.API")
        events = await stream.subscribe("*.offers.events.>", stream="OFFERS_CELLS", ordered_consumer=True)
        async for message in events.messages:
            cell, position = message.subject.split(".")[0], int(message.headers["Offers-Position"])
            seen = self.seen[cell]
            if position in seen:
                self.repeats += 1
                continue
            if position != len(seen) + 1:
                self.out_of_order.append((cell, position, len(seen)))
            seen[position] = message.headers["Nats-Msg-Id"]

    async def has_all(self, installations):
        logs = {}
        for cell, installation in installations.items():
            logs[cell] = {int(position): event for position, event in installation.sql("select position, event_id from events order by position")}
        for _ in range(CAUGHT_UP_S * 10):
            if all(len(self.seen[cell]) >= len(logs[cell]) for cell in CELLS):
                break
            await asyncio.sleep(0.1)
        for cell in CELLS:
            expect(self.seen[cell] == logs[cell], f"{cell}: {len(self.seen[cell])} seen of {len(logs[cell])}, out of order {self.out_of_order[:3]}")
        expect(not self.out_of_order, f"out of order: {self.out_of_order[:3]}")
        say(f"all seen: {', '.join(f'{cell} {len(logs[cell])}' for cell in CELLS)}, repeats {self.repeats}")


async def buy(loads, count):
    wanted = [len(load.accepted) + count for load in loads]
    while not all(load.wrong or len(load.accepted) >= enough for load, enough in zip(loads, wanted)):
        await asyncio.sleep(0.1)


async def scenario(hub, installations, loads, count):
    await hub.asks("STREAM.CREATE.OFFERS_CELLS", HUB_STREAM)
    analyst = Analyst(hub)
    reading = asyncio.create_task(analyst.read())
    await buy(loads, count)

    say("the hub is killed and started again")
    hub.end(signal.SIGKILL)
    await buy(loads, count)
    hub.start()
    await buy(loads, count)

    say("the NATS of cell-a is killed and started again")
    cell = installations["cell-a"]
    cell.end("nats", signal.SIGKILL)
    await buy(loads, count)
    start_nats("cell-a", cell, hub)
    await buy(loads, count)

    say("the stream of cell-b is deleted; the service makes it again from the log")
    await delete_stream(installations["cell-b"])
    await buy(loads, count)

    await end(loads, installations)
    expect(not reading.done(), f"the analyst ended: {reading}")
    await analyst.has_all(installations)
    reading.cancel()

    say("cell-b comes back from an older copy, and goes on; the hub's stream is made again")
    cell = installations["cell-b"]
    cell.end("service")
    cell.sql("create database older template offers", database="postgres")
    url, shop = loads[1].urls[0], loads[1].shop
    serve(cell, url)
    lost = Load(shop, [url], clients=3)
    await buy([lost], count)
    await end([lost], {"cell-b": cell})
    await analyst_of(hub, installations)
    cell.end("service")
    cell.sql("drop database offers", database="postgres")
    cell.sql("alter database older rename to offers", database="postgres")
    serve(cell, url)
    again = Load(shop, [url], clients=3)
    await buy([again], count)
    await end([again], {"cell-b": cell})
    await hub.asks("STREAM.DELETE.OFFERS_CELLS", {})
    await hub.asks("STREAM.CREATE.OFFERS_CELLS", HUB_STREAM)
    await analyst_of(hub, installations)


async def analyst_of(hub, installations):
    """One who begins now has everything."""
    analyst = Analyst(hub)
    reading = asyncio.create_task(analyst.read())
    await analyst.has_all(installations)
    reading.cancel()


async def end(loads, installations):
    for load in loads:
        load.end()
    for installation in installations.values():
        installation.everything_is_final()
        installation.derived_is_complete()


async def delete_stream(installation):
    import nats

    client = await nats.connect(f"nats://app:{installation.passwords['nats']}@127.0.0.1:{installation.ports['nats']}")
    await client.request("$JS.API.STREAM.DELETE.OFFERS_EVENTS", b"{}")
    await client.close()


def start_nats(name, installation, hub):
    installation.start_nats(ROOT / "deploy" / "cells" / "cell.conf", CELL=name, HUB_LEAF_URL=f'"{hub.leaf_url(name)}"')


def serve(installation, url):
    port = int(url.rsplit(":", 1)[1])
    installation.serve("service", port)
    installation.wait_ready("service", port)


def begin_cell(name, installation, hub):
    installation.begin()
    start_nats(name, installation, hub)
    url = f"http://127.0.0.1:{free_port()}"
    serve(installation, url)
    return Load(Shop(installation, url), [url], clients=3, pace_s=0.02)


def run():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("offers")
    options.add_argument("--activations", type=int, default=50, help="in each cell, between two steps")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="offers-hub-") as directory, installed(given.offers) as one, installed(given.offers) as two:
        hub = Hub(directory)
        hub.start()
        installations = dict(zip(CELLS, [one, two]))
        try:
            loads = [begin_cell(name, installation, hub) for name, installation in installations.items()]
            asyncio.run(scenario(hub, installations, loads, given.activations))
        finally:
            hub.end()
    say("sound")


def with_packages():
    """The same script with a Python that has nats-py."""
    try:
        import nats  # noqa: F401
    except ImportError:
        python = python_for_examples()
        if not python:
            raise Failed("nats-py is needed, and PyPI is out of reach")
        os.execv(python, [str(python), *sys.argv])


main(lambda: (with_packages(), run()))
