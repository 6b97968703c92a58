-- What callbacks are signed with. A secret must be known to sign, so it cannot be a hash; it is derived
-- from a server key and the seed, so a copy of this table signs nothing.

create table webhook_secrets (
    id         uuid primary key,
    partner_id uuid not null references partners (id),
    seed       bytea not null check (octet_length(seed) = 32),
    key_id     text not null check (char_length(key_id) <= 32), -- which server key it is derived from
    created_at timestamptz not null,
    expires_at timestamptz -- null: the current one
);

create unique index webhook_secrets_one_current on webhook_secrets (partner_id) where expires_at is null;
create index webhook_secrets_of_partner on webhook_secrets (partner_id, created_at);

grant select, insert, update, delete on webhook_secrets to offers_app;
