-- The event log: append-only, gapless, totally ordered. A superset of postgres-es's event table,
-- whose own repository can load any stream from it.

do $$
begin
    if not exists (select from pg_roles where rolname = 'offers_app') then
        create role offers_app nologin;
    end if;
end
$$;

create table events (
    position       bigint      primary key check (position > 0),
    event_id       uuid        not null unique,
    aggregate_type text        not null,
    aggregate_id   text        not null,
    sequence       bigint      not null check (sequence > 0),
    event_type     text        not null,
    event_version  text        not null,
    -- `json`, never `jsonb`: it keeps the bytes as they were written, and the record line is made of them.
    payload        json        not null,
    metadata       json        not null,
    recorded_at    timestamptz not null,
    -- The position of the last event of the same commit: readers never take half of one.
    commit_end     bigint      not null check (commit_end >= position),
    unique (aggregate_type, aggregate_id, sequence)
);

create function refuse_to_change_history() returns trigger language plpgsql as $$
begin
    raise exception 'history is never rewritten: % on % is refused', tg_op, tg_table_name;
end
$$;

create trigger events_are_append_only
    before update or delete or truncate on events
    for each statement execute function refuse_to_change_history();

grant select, insert on events to offers_app;
