-- Read tables that take less room and less WAL. What is made new has this form; `offers replay read-tables` brings tables that
-- are there already to it.

alter function create_read_tables(text) rename to create_read_tables_0066;

create function create_read_tables(in_schema text) returns void language plpgsql
    set search_path = public -- put back at the end, whatever happens inside
as $$
begin
    perform create_read_tables_0062(in_schema);
    perform set_config('search_path', in_schema, true);

    -- What never changes comes first: an update writes to the WAL only what comes after the first byte that changes.
    drop table transactions;
    create table transactions (
        created_position   bigint         not null,
        created_at         timestamptz    not null,
        transaction_id     uuid           primary key,
        user_id            uuid           not null,
        account_id         uuid           not null,
        partner_id         uuid,
        subscription_id    uuid,
        offer_id           uuid           not null,
        duration_days      integer        not null,
        amount             numeric(18, 2) not null,
        kind               text           not null,
        offer_name         text           not null,
        reference          text, -- ours, for the partner: REF-…
        partner_reference  text, -- the partner's own
        callback_url       text,
        position           bigint         not null, -- of its last event
        updated_at         timestamptz    not null,
        completed_at       timestamptz,
        refunded_at        timestamptz,
        attempts           integer        not null,
        status             text           not null,
        external_reference text, -- the activation system's
        error_code         text,
        error_message      text,
        pending_reason     text
    ) with (fillfactor = 45); -- room for one more version of every row of a page
    create unique index transactions_newest_first on transactions (created_position);
    create index transactions_of_user on transactions (user_id, created_position);
    -- Unique by how it is made. Not enforced here: a projection must never be stopped by history.
    create index transactions_by_reference on transactions (reference) where reference is not null;
    create index transactions_of_partner on transactions (partner_id, created_position)
        where partner_id is not null;
    create index transactions_by_partner_reference on transactions (partner_id, partner_reference)
        where partner_reference is not null;
    -- These two change for few: a refusal, and what nobody knows the outcome of.
    create index transactions_failed on transactions (created_position) where error_code is not null;
    create index transactions_in_doubt on transactions (created_position) where pending_reason is not null;
    grant select, insert, update, delete on transactions to offers_app;

    -- Few end at the same microsecond, and those are sorted.
    drop index subscriptions_to_end;
    create index subscriptions_to_end on subscriptions (expiration_date) where not expired;

    perform set_config('search_path', 'public', true);
    perform guard_read_tables(in_schema);
end
$$;

revoke execute on function create_read_tables(text) from public;

-- Read tables without a row are made again at once. Where they are put aside, the service makes new ones.
do $$
begin
    if to_regclass('read.checkpoint') is not null then
        if (select position from read.checkpoint) = 0 then
            drop schema read cascade;
            perform create_read_tables('read');
        end if;
    end if;
end
$$;
