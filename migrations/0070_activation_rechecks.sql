-- Transactions that failed without a rejection: cancelled after the deadline, or by the word of a person. The activation
-- system is asked about each once more, some time after its end. Written by the follower of the callbacks, in its transaction.
create table activation_rechecks (
    transaction_id uuid        primary key,
    ended_at       timestamptz not null,
    not_before     timestamptz not null  -- of the next look-up, after one without a definite answer
);

create index activation_rechecks_due on activation_rechecks (not_before);

grant select, insert, update, delete on activation_rechecks to offers_app;
