-- What partners are told, and whether they have heard it: one row for each final event of a purchase
-- that a partner made, and for each ping that a partner asked for.

-- How far the log has been read for it, moved in the transaction that adds the rows: so no replay adds
-- one twice.
create table callback_checkpoint (
    single   boolean primary key default true check (single),
    position bigint  not null
) with (fillfactor = 10); -- one hot row: keep room for its dead versions, off the index
insert into callback_checkpoint (position) values (0);
grant select, update on callback_checkpoint to offers_app;

create table callback_deliveries (
    id              uuid        primary key, -- version 7: newest last
    partner_id      uuid        not null,
    event_id        uuid        not null, -- `webhook-id`: the receiver deduplicates on it
    type            text        not null, -- transaction.succeeded, transaction.failed, ping
    transaction_id  uuid, -- null: a ping
    position        bigint      not null, -- of the event, the order within a transaction; 0: a ping
    own_url         text        check (char_length(own_url) <= 2048), -- the purchase's own callback URL
    url             text        not null check (char_length(url) <= 2048), -- where the last try went
    body            text        not null, -- made once: every try sends the same bytes
    status          text        not null check (status in ('pending', 'delivered', 'parked', 'disabled')),
    attempts        integer     not null default 0, -- since it was made or resent
    next_attempt_at timestamptz not null,
    claim           uuid, -- which sender's try it is
    claimed_until   timestamptz, -- after that the sender counts as dead and another may try
    last_status     integer, -- of HTTP
    last_error      text        check (char_length(last_error) <= 300),
    last_response   text        check (octet_length(last_response) <= 8192),
    created_at      timestamptz not null,
    delivered_at    timestamptz,
    unique (partner_id, event_id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

-- What is due, an endpoint at a time.
create index callback_deliveries_due on callback_deliveries (partner_id, next_attempt_at, position)
    where status = 'pending';
-- Whether something of the same purchase comes first.
create index callback_deliveries_in_order on callback_deliveries (transaction_id, position)
    where status = 'pending';
-- How many tries an endpoint has under way.
create index callback_deliveries_under_way on callback_deliveries (partner_id)
    where claimed_until is not null;
create index callback_deliveries_listed on callback_deliveries (status, id);
create index callback_deliveries_to_purge on callback_deliveries (delivered_at) where status = 'delivered';

grant select, insert, update, delete on callback_deliveries to offers_app;
