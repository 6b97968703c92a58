-- API keys of partners: the key itself was shown once and is not kept.

create table partner_keys (
    key_id       uuid primary key,
    partner_id   uuid not null references partners (id),
    key_hash     bytea not null check (octet_length(key_hash) = 32), -- SHA-256 of the whole key
    created_at   timestamptz not null,
    revoked_at   timestamptz,
    last_used_at timestamptz -- to the minute
) with (fillfactor = 80);

create index partner_keys_newest_first on partner_keys (partner_id, created_at, key_id);

grant select, insert, update on partner_keys to offers_app;
