"""Backs up an installation under load with deploy/backup.sh, destroys it, restores it, and compares (docs/backup.md).

    python3 tests/backup.py target/debug/offers --activations 20000

1. PostgreSQL waits for the received WAL. In the middle of the load a base backup is taken; then PostgreSQL, Redis and NATS are
   killed and their data is removed. Nothing that was answered may be missing afterwards.
2. The receiver ends before the load does, and only PostgreSQL is lost: Redis, NATS and a witness know more than the log that
   comes back. They must follow it, the witness must notice, and clients who repeat must get what they had, done once.
"""

import argparse
import json
import os
import shutil
import signal
import time
from pathlib import Path

from installation import FINAL_S, ROOT, Failed, Load, Shop, expect, free_port, installed, main, request, say, server_user, until

SCRIPT = ROOT / "deploy" / "backup.sh"
# As docs/backup.md says it.
WAITING = ["synchronous_standby_names=offers_wal"]


class Backup:
    """deploy/backup.sh, into one directory."""

    def __init__(self, installation, directory):
        self.installation, self.dir = installation, directory
        self.dir.mkdir()
        if server_user():
            shutil.chown(self.dir, "postgres", "postgres")
        self.environment = {
            "BACKUP_DIR": str(directory),
            "POSTGRES_BIN": str(installation.bin),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(installation.ports["postgres"]),
            "PGUSER": "offers_backup",
            "PGPASSWORD": installation.passwords["backup"],
            "OFFERS": installation.offers,
        }

    def does(self, *arguments):
        said = self.installation.run([SCRIPT, *arguments], self.environment, **server_user())
        print(said, end="")

    def begin_wal(self):
        self.installation.start("wal", [SCRIPT, "wal"], self.environment, **server_user())
        received = "select count(*) from pg_stat_replication where application_name = 'offers_wal' and state = 'streaming'"
        until("WAL is received", lambda: self.installation.sql(received) == [["1"]])

    def received(self):
        """The head of the log at a moment up to which all WAL was received."""
        head, lsn = self.installation.sql("select max(position), pg_current_wal_lsn() from events")[0]
        flushed = f"select flush_lsn >= '{lsn}' from pg_stat_replication where application_name = 'offers_wal'"
        until("WAL is received", lambda: self.installation.sql(flushed) == [["t"]])
        return int(head)


def events_of(installation):
    """transaction id → its events' types in order."""
    found = {}
    for transaction, kind in installation.sql("select aggregate_id, event_type from events where aggregate_type = 'Transaction' order by position"):
        found.setdefault(transaction, []).append(kind)
    return found


def start_all(installation, port, *settings):
    installation.start_postgres(*settings)
    installation.start_redis()
    installation.start_nats()
    installation.serve("service", port)
    installation.wait_ready("service", port)


def destroy(installation, names):
    """As when the machine is gone: no shutdown, and the data with it."""
    for name in names:
        if name == "postgres":  # kill -9 would leave its children, which write on
            installation.end(name, signal.SIGQUIT)
        else:
            installation.end(name, signal.SIGKILL)
    for name in names:
        shutil.rmtree(installation.data if name == "postgres" else installation.dir / name, ignore_errors=name == "service")


def keep_checkpoint(installation, url, file, size):
    def is_signed():
        status, _, body = request(url, "GET", "/api/v1/audit/checkpoint/")
        return body if status == 200 and int(body.splitlines()[1]) >= size else None

    file.write_text(until(f"a checkpoint of {size} records is signed", is_signed, FINAL_S))


def is_true_to_its_log(installation):
    installation.everything_is_final()
    installation.derived_is_complete()
    say(installation.verb("verify").strip().splitlines()[-1])
    events = events_of(installation)
    for transaction, count in installation.effects_by_transaction().items():
        expect(count == 1, f"{transaction} was done {count} times")
    return events


def the_receiver_is_away(installation, port, backup, load):
    """Then purchases are refused, and go on as soon as it is back."""
    installation.end("wal", signal.SIGKILL)
    refused = sum(load.refused.values())
    until("purchases are refused", lambda: sum(load.refused.values()) >= refused + 8)
    until("/readyz says so", lambda: installation.readiness(port)[0] == 503)
    began, accepted = time.monotonic(), len(load.accepted)
    backup.begin_wal()
    until("purchases are accepted", lambda: len(load.accepted) > accepted)
    say(f"without the receiver refused {load.refused}; accepting {time.monotonic() - began:.1f} s after it was started again")


def total_loss(installation, shop, port, count):
    say("1. everything is lost, and PostgreSQL had waited for the received WAL")
    url = f"http://127.0.0.1:{port}"
    backup = Backup(installation, installation.dir / "backups")
    installation.end("postgres", signal.SIGINT)
    installation.start_postgres("max_wal_senders=4")
    backup.begin_wal()
    installation.end("postgres", signal.SIGINT)
    installation.start_postgres(*WAITING)
    load = Load(shop, [url])
    load.has_accepted(count // 3)
    backup.does("base")
    the_receiver_is_away(installation, port, backup, load)
    load.has_accepted(count)
    head = installation.head()
    destroy(installation, ["postgres", "service", "redis", "nats"])
    accepted = load.end()
    installation.end("wal", signal.SIGINT)
    done = installation.effects_by_transaction()
    backup.does("list")
    began = time.monotonic()
    backup.does("restore", installation.data)
    start_all(installation, port)
    say(f"serving {time.monotonic() - began:.1f} s after the restore began; {len(accepted)} were accepted, {len(done)} were done")
    events = is_true_to_its_log(installation)
    expect(installation.head() >= head, f"the log had {head} events and has {installation.head()}")
    lost = [transaction for transaction, _ in accepted.values() if transaction not in events]
    expect(not lost, f"{len(lost)} accepted purchases are lost, such as {lost[:3]}")
    unknown = [transaction for transaction in done if "Succeeded" not in events.get(transaction, [])]
    expect(not unknown, f"{len(unknown)} were done and are not in the log as done, such as {unknown[:3]}")
    say(f"nothing is lost: {installation.head()} events")


def loss_of_the_newest(installation, shop, port, count):
    say("2. PostgreSQL alone is lost, and with it what was not received")
    url = f"http://127.0.0.1:{port}"
    backup = Backup(installation, installation.dir / "later-backups")
    backup.begin_wal()
    backup.does("base")
    load = Load(shop, [url])
    load.has_accepted(count // 2)
    received = backup.received()
    installation.end("wal", signal.SIGINT)
    load.has_accepted(count)
    accepted = load.end()
    installation.everything_is_final()
    head = installation.head()
    kept = installation.dir / "kept.checkpoint"
    keep_checkpoint(installation, url, kept, head)
    destroy(installation, ["service", "postgres"])
    backup.does("restore", installation.data)
    installation.start_postgres()
    restored = installation.head()
    expect(received <= restored < head, f"restored {restored} events, of {received} to {head}")
    known = events_of(installation)
    lost = {key: found for key, found in accepted.items() if found[0] not in known}
    say(f"{head - restored} of {head} events are lost, with {len(lost)} purchases; the stream has {installation.stream()[1]}")
    installation.serve("service", port)
    installation.wait_ready("service", port)
    installation.everything_is_final()
    ended = installation.head()
    installation.derived_is_complete()  # the stream has no message beyond the log

    said = installation.verb("verify", "--checkpoint", kept, "--key", installation.vkey, status=1)
    say(f"the witness' checkpoint: {said.strip().splitlines()[-1]}")
    until("/readyz names the checkpoint", lambda: "checkpoint" in installation.readiness(port)[1])

    say(f"{len(lost)} clients repeat with the keys that they had")
    for key, (transaction, user) in lost.items():
        headers = {"idempotency-key": key, "authorization": f"Bearer {shop.tokens[user]}"}
        status, _, body = request(url, "POST", "/api/v1/activation/", {"offer_id": shop.offer}, headers)
        expect(status == 202 and json.loads(body)["transaction_id"] == transaction, f"a repeat is {status}: {body}")
    events = is_true_to_its_log(installation)
    wrong = [transaction for transaction, _ in accepted.values() if "Succeeded" not in events.get(transaction, [])]
    expect(not wrong, f"{len(wrong)} did not succeed, such as {wrong[:3]}")

    say("a new key with a new origin")
    installation.make_key("log-2")
    installation.end("service")
    installation.serve("service", port)
    installation.wait_ready("service", port)
    keep_checkpoint(installation, url, installation.dir / "new.checkpoint", ended)
    say(installation.verb("verify", "--checkpoint", installation.dir / "new.checkpoint", "--key", installation.vkey).strip().splitlines()[-1])


def rehearse(installation):
    backup = Backup(installation, installation.dir / "rehearsed-backups")
    backup.begin_wal()
    backup.does("base")
    backup.does("rehearse", installation.dir / "postgres" / "rehearsal")
    backup.does("prune", "1")
    installation.end("wal", signal.SIGINT)


def run():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("offers")
    options.add_argument("--activations", type=int, default=1000)
    given = options.parse_args()
    if not os.access(given.offers, os.X_OK):
        raise Failed(f"{given.offers} is no program; cargo build --bin offers makes it")
    with installed(given.offers) as installation:
        installation.make_key("log")
        installation.begin()
        installation.start_nats()
        port = free_port()
        installation.serve("service", port)
        installation.wait_ready("service", port)
        shop = Shop(installation, f"http://127.0.0.1:{port}")
        total_loss(installation, shop, port, given.activations // 2)
        loss_of_the_newest(installation, shop, port, given.activations // 2)
        rehearse(installation)
        say("sound")


main(run)
