-- Messages that a processor cannot handle, kept for a person: otherwise a poisoned message looks like
-- "nothing to do". The body is not copied: `position` is the event's place in the log.

create table parked (
    id           uuid        primary key,
    consumer     text        not null,
    position     bigint      not null,
    subject      text        not null,
    event_id     uuid,
    aggregate_id uuid,
    reason       text        not null,
    attempts     bigint      not null, -- deliveries until it was given up
    parked_at    timestamptz not null default now(),
    requeued_at  timestamptz,          -- somebody has sent it back to work since
    unique (consumer, position)        -- delivered again, it is the same letter
);

create index parked_newest_first on parked (parked_at desc, id desc);

grant select, insert, update on parked to offers_app;
