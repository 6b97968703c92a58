-- Who changed whose rights: the changes that are not events. The service can add and read, nothing else.
-- No personal data: subjects are ids, details name what changed and never a password, a mail or a key.

create table audit_log (
    id      uuid primary key,
    at      timestamptz not null,
    actor   text not null check (char_length(actor) <= 100), -- user:<id>, partner:<id>, system:<name>
    action  text not null check (char_length(action) <= 50),
    subject text not null check (char_length(subject) <= 100), -- user:<id>, partner:<id>
    details jsonb not null default '{}'
);

create index audit_log_of_subject on audit_log (subject, at);

grant select, insert on audit_log to offers_app;
