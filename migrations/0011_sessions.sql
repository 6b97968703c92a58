-- A login and its refresh tokens. No token is stored, nor a hash of one: each is derived from a server
-- key, the session's id and seed, and the generation, so only the generation needs to be remembered.

create table sessions (
    id         uuid primary key,
    user_id    uuid not null references users (id),
    seed       bytea not null check (octet_length(seed) = 32), -- worth nothing without the server key
    key_id     text not null check (char_length(key_id) <= 32), -- which server key made the latest token
    generation integer not null default 0 check (generation >= 0),
    created_at timestamptz not null,
    rotated_at timestamptz not null, -- when the latest token was first given out
    expires_at timestamptz not null, -- when the latest token stops working
    ended_at   timestamptz,
    end_reason text check (char_length(end_reason) <= 50)
) with (fillfactor = 80);

create index sessions_live_newest_first on sessions (user_id, created_at desc) where ended_at is null;
create index sessions_to_purge on sessions (expires_at);

grant select, insert, update, delete on sessions to offers_app;
