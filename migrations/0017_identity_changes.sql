-- What every instance must hear of within a second: ended sessions, changed roles, changed keys.
-- Kept for minutes: after that no access token and no cached key is left that could contradict it.

create table identity_changes (
    -- A reader asks for everything written by transactions that it could not see last time. Numbers
    -- from a sequence would not do: they become visible out of order, and one would be skipped for ever.
    written_by xid8 not null default pg_current_xact_id(),
    at         timestamptz not null default clock_timestamp(),
    kind       text not null check (kind in ('session_ended', 'roles_changed', 'keys_changed')),
    subject    uuid not null, -- session, user; partner or key
    roles      text[] -- of roles_changed: the roles from now on
);

create index identity_changes_newest on identity_changes (written_by);

grant select, insert, delete on identity_changes to offers_app;
