-- What the scheduler has run. Also what it decides by: a schedule is due when its last moment has no
-- finished run, so a restart, a takeover and a long downtime are all the same case.

create table schedule_runs (
    run_id      uuid        primary key,
    name        text        not null,
    due_at      timestamptz not null, -- the moment it was run for
    started_at  timestamptz not null,
    finished_at timestamptz,
    outcome     text        not null check (outcome in ('running', 'done', 'failed', 'interrupted')),
    found       bigint      not null default 0, -- subscriptions that were looked at
    changed     bigint      not null default 0, -- of those: an event was written
    unchanged   bigint      not null default 0, -- of those: somebody else did it, or it was renewed
    failed      bigint      not null default 0, -- of those: not done, so the run is repeated
    error       text
);

create index schedule_runs_latest on schedule_runs (name, due_at desc);
create index schedule_runs_oldest on schedule_runs (started_at);

grant select, insert, update, delete on schedule_runs to offers_app;
