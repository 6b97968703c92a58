-- What became of each attempt of a callback, for partners and operators to look at.

alter table callback_deliveries
    -- The newest attempts, oldest first: {at, status, duration_ms, error, response}. Attempts that were made before this
    -- column are not in it.
    add column attempt_log jsonb not null default '[]',
    add column resent_at   timestamptz;

-- What a partner lists: all of its deliveries, those with a status, those of a transaction; newest first.
create index callback_deliveries_of_partner on callback_deliveries (partner_id, id);
create index callback_deliveries_of_partner_by_status on callback_deliveries (partner_id, status, id);
create index callback_deliveries_of_transaction on callback_deliveries (transaction_id, id);
