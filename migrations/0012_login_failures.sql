-- Recent failed logins, so that guessing is slow on every instance together.
-- A key is the SHA-256 of (name, address) or of an address: a fixed size, and no list of names typed in.
-- Unlogged: a crash of PostgreSQL forgives five minutes of failures, and a failure costs no disk flush.

create unlogged table login_failures (
    key      bytea primary key check (octet_length(key) = 32),
    failures timestamptz[] not null, -- those of the last five minutes, oldest first
    last_at  timestamptz not null
) with (fillfactor = 70);

grant select, insert, update, delete on login_failures to offers_app;
