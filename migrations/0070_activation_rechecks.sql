-- Purchases that failed without a rejection: cancelled after the deadline, or by the word of a person. The activation system
-- is asked about each once more, some time after its end. Written by the follower of the callbacks, in its transaction.
create table activation_rechecks (
    transaction_id uuid        primary key,
    ended_at       timestamptz not null
);

create index activation_rechecks_due on activation_rechecks (ended_at);

grant select, insert, delete on activation_rechecks to offers_app;
