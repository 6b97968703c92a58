#!/usr/bin/env python3
"""The event stream in DuckDB, and a chart of the revenue of each offer.

    ./dev                                            # in another terminal
    python3 -m venv .venv && . .venv/bin/activate
    pip install -r docs/examples/requirements.txt    # nats-py, duckdb
    python3 docs/examples/revenue.py                 # reads .data/demo.json, keeps .data/events.duckdb

Run again, it goes on after the last event that it has. What the stream no longer keeps comes from `--export FILE`.
"""

import argparse
import asyncio
import json
import sys

try:
    import duckdb
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
except ImportError as missing:
    sys.exit(f"{missing}: pip install -r docs/examples/requirements.txt, in a virtual environment")

STREAM = "OFFERS_EVENTS"
BATCH = 1000  # events that are asked for, and stored, at once
TIMEOUT_S = 10

TABLE = """
create table if not exists events
    (position bigint primary key, time timestamptz, type varchar, subject varchar, data json)"""

# Each statement is a transaction of its own, so the newest position in the table is always how far we have come.
POSITION = "select coalesce(max(position), 0) from events"
FROM_STREAM = """
insert into events
select (event->>'position')::bigint, (event->>'time')::timestamptz, event->>'type', event->>'subject', event->'data'
from (select unnest(?::json[]) as event)"""
FROM_EXPORT = f"""
insert into events
select position, recorded_at, 'offers.' || snake(aggregate_type) || '.' || snake(event_type) || '.v1', aggregate_id, payload
from read_json(?, format = 'newline_delimited', columns = {{position: 'bigint', recorded_at: 'timestamptz',
    aggregate_type: 'varchar', event_type: 'varchar', aggregate_id: 'varchar', payload: 'json'}})
where position > ({POSITION})"""
SNAKE = "create or replace macro snake(name) as lower(regexp_replace(name, '([a-z])([A-Z])', '\\1_\\2', 'g'))"

# `succeeded` does not repeat what was bought: `activation_requested` of the same transaction has it.
CHART = """
with sold as (
    select asked.data->>'offer_id' as offer_id, asked.data->>'offer_name' as name, asked.position,
        (asked.data->>'amount')::decimal(18, 2) as amount
    from events succeeded join events asked using (subject)
    where succeeded.type = 'offers.transaction.succeeded.v1'
        and asked.type = 'offers.transaction.activation_requested.v1')
select arg_max(name, position), count(*), sum(amount) as revenue, bar(revenue, 0, max(revenue) over (), 30)
from sold group by offer_id order by revenue desc, 1"""


def position_in(database):
    return database.execute(POSITION).fetchone()[0]


def read_export(file, database):
    """Stores the records after the events that are there."""
    before = position_in(database)
    database.execute(SNAKE)
    database.begin()
    database.execute(FROM_EXPORT, [file])
    if database.execute("select count(*) from events").fetchone()[0] != position_in(database):
        sys.exit(f"{file} does not go on after position {before} without a gap")  # nothing of it is stored
    database.commit()


async def read_stream(stream, database):
    """Stores every event after those that are there."""
    position = position_in(database)
    state = (await stream.stream_info(STREAM)).state
    if position < state.last_seq and position + 1 < state.first_seq:
        sys.exit(f"the stream begins at position {state.first_seq}, and the next one here is {position + 1}: "
                 "fetch an export as docs/analysts.md says, and give it with --export FILE")
    start = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=position + 1,  # the sequence in the stream is the position
        ack_policy=AckPolicy.NONE,
        inactive_threshold=30,  # seconds until the server deletes it when we are gone
    )
    events = await stream.pull_subscribe("offers.events.>", stream=STREAM, config=start)
    while position < state.last_seq:
        messages = await events.fetch(min(BATCH, state.last_seq - position), timeout=TIMEOUT_S)
        for message in messages:
            position += 1
            if int(message.headers["Offers-Position"]) != position:
                sys.exit(f"position {position} is missing")
        database.execute(FROM_STREAM, [[message.data.decode() for message in messages]])


async def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--demo", default=".data/demo.json", help="where NATS is [%(default)s]")
    arguments.add_argument("--database", default=".data/events.duckdb", help="the file of DuckDB [%(default)s]")
    arguments.add_argument("--export", help="records as NDJSON, for what the stream no longer keeps")
    arguments = arguments.parse_args()
    try:
        with open(arguments.demo, encoding="utf-8") as file:
            analyst = json.load(file)["analyst"]
        client = await nats.connect(analyst["nats_url"], allow_reconnect=False, max_reconnect_attempts=1)
    except (OSError, nats.errors.Error) as error:
        sys.exit(f"{error}: does ./dev run?")
    database = duckdb.connect(arguments.database)
    database.execute(TABLE)
    before = position_in(database)
    if arguments.export:
        read_export(arguments.export, database)
    await read_stream(client.jetstream(prefix=analyst["js_api_prefix"]), database)
    await client.close()
    for name, number, revenue, bar in database.execute(CHART).fetchall():
        print(f"{name:26} {number:4} {revenue:9} {bar}".rstrip())
    print(f"{position_in(database) - before} new events, up to position {position_in(database)}")


if __name__ == "__main__":
    asyncio.run(main())
