-- Who may log in. Personal data lives here and nowhere else: events carry ids.

create table users (
    id             uuid primary key, -- also the id of the account
    username       text not null unique check (char_length(username) between 1 and 150),
    email          text not null check (char_length(email) <= 254),
    first_name     text not null check (char_length(first_name) <= 150),
    last_name      text not null check (char_length(last_name) <= 150),
    password_hash  text not null check (char_length(password_hash) <= 255), -- argon2id, PHC string
    roles          text[] not null check (roles <@ array['user', 'admin', 'auditor']),
    is_active      boolean not null default true,
    date_joined    timestamptz not null,
    last_login     timestamptz,
    -- False between "row written" and "account opened": a repeated create carries on from here.
    account_opened boolean not null default false
) with (fillfactor = 80); -- every login updates its row; the room keeps that off the indexes

create index users_newest_first on users (date_joined, id);

grant select, insert, update on users to offers_app;
