-- What each owner has available, written in the commit that writes the events. The log's judge
-- decides under the log's lock; the check is the assertion behind it.

create table accounts (
    account_id uuid           primary key,
    balance    numeric(18, 2) not null check (balance >= 0),
    updated_at timestamptz    not null
) with (fillfactor = 50); -- one update an account and batch, in place

grant select, insert, update on accounts to offers_app;
