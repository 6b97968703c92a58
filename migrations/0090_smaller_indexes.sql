-- The indexes of the log, at less than half of their size: an id is 16 bytes instead of 37, an actor 8, and an event id is looked
-- up only where it is derived from an idempotency key (UUIDv5; others are new, version 7).
--
-- On a long log each takes minutes in which nothing is written, unless it is there already: docs/operations.md.

do $$
begin
    if exists (select from pg_index where indrelid = 'events'::regclass and not indisvalid) then
        raise exception 'an index of the table events is not valid: drop it, and make it again or let this migration do it';
    end if;
end
$$;

-- An id belongs to one aggregate, whatever its type.
create unique index if not exists events_by_stream on events ((aggregate_id::uuid), sequence);

-- A query repeats the predicates and expressions, word for word (src/event_log/read.rs, search.rs).
create unique index if not exists events_by_derived_id on events (event_id)
    where get_byte(uuid_send(event_id), 6) >> 4 = 5;

create index if not exists events_by_actor_hash on events (hashtextextended(metadata ->> 'actor', 0), position)
    where metadata ->> 'actor' <> 'system:activation';

analyze events; -- the planner knows nothing of a new expression

-- The processes of the version before need the old ones; where there is no history, nobody does.
do $$
begin
    if not exists (select from events) then
        alter table events
            drop constraint events_event_id_key,
            drop constraint events_aggregate_type_aggregate_id_sequence_key;
        drop index events_by_actor;
    end if;
end
$$;
