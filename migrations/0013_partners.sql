-- Who sells offers for others.

create table partners (
    id                   uuid primary key, -- also the id of the float account
    name                 text not null check (char_length(name) between 1 and 150),
    callback_url         text check (char_length(callback_url) <= 2048),
    callback_disabled_at timestamptz, -- the endpoint answered 410; a new URL clears it
    is_active            boolean not null default true,
    created_at           timestamptz not null
);

create index partners_newest_first on partners (created_at, id);

grant select, insert, update on partners to offers_app;
