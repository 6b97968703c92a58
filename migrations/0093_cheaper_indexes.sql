-- Indexes of the log that cost an append less: no parsing of JSON for events that they do not have, and an event id only where
-- it is looked up.
--
-- On a long log each takes minutes in which nothing is written, unless it is there already: docs/operations.md.

do $$
begin
    if exists (select from pg_index where indrelid = 'events'::regclass and not indisvalid) then
        raise exception 'an index of the table events is not valid: drop it, and make it again or let this migration do it';
    end if;
end
$$;

-- A query repeats the predicates, word for word (src/event_log/read.rs, search.rs). What stands in a text of JSON between
-- unescaped quotes is a member, never a part of a value.

-- Derived from an idempotency key (UUIDv5); others are new, version 7.
create unique index if not exists events_by_derived_id on events (event_id)
    where get_byte(uuid_send(event_id), 6) >> 4 = 5;

create index if not exists events_by_rare_actor on events ((metadata ->> 'actor'), position)
    where strpos(metadata::text, '"actor":"system:activation"') = 0;

create unique index if not exists events_by_our_reference on events ((payload ->> 'reference'))
    where aggregate_type = 'Transaction' and event_type = 'ActivationRequested'
        and strpos(payload::text, '"reference":') > 0;

-- The processes of the version before need those that these replace; where there is no history, nobody does.
do $$
begin
    if not exists (select from events) then
        alter table events drop constraint events_event_id_key;
        drop index events_by_actor, events_by_reference;
    else
        analyze events; -- the planner knows nothing of a new expression
    end if;
end
$$;
