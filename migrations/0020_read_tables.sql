-- The read tables: derived from the log, so they can be thrown away and made again at any time.
--
-- A function, because they are made twice with the same words: as the live schema `read` by this
-- migration, and as `read_next` beside it whenever they are rebuilt. To change a table, replace the
-- function in a later migration and rebuild.

create function create_read_tables(in_schema text) returns void language plpgsql
    set search_path = public -- put back at the end, whatever happens inside
as $$
begin
    execute format('create schema %I', in_schema);
    perform set_config('search_path', in_schema, true);

    -- How far all of these tables are, moved in the transaction that writes the rows.
    create table checkpoint (
        single   boolean primary key default true check (single),
        position bigint  not null
    ) with (fillfactor = 10); -- one hot row: keep room for its dead versions, off the index
    insert into checkpoint (position) values (0);

    -- What is known of a purchase. Nothing that changes from status to status is in an index, nor in
    -- an index's predicate, so that a change stays within its page (HOT). What is unfinished is found
    -- by a table of its own.
    create table transactions (
        created_position   bigint         not null,
        position           bigint         not null, -- of its last event
        created_at         timestamptz    not null,
        updated_at         timestamptz    not null,
        completed_at       timestamptz,
        refunded_at        timestamptz,
        transaction_id     uuid           primary key,
        user_id            uuid           not null,
        account_id         uuid           not null,
        partner_id         uuid,
        subscription_id    uuid,
        offer_id           uuid           not null,
        duration_days      integer        not null,
        attempts           integer        not null,
        amount             numeric(18, 2) not null,
        kind               text           not null,
        status             text           not null,
        offer_name         text           not null,
        reference          text, -- ours, for the partner: REF-…
        partner_reference  text, -- the partner's own
        external_reference text, -- the activation system's
        error_code         text,
        error_message      text,
        pending_reason     text,
        callback_url       text
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

    -- What is not final yet: a few rows that come and go.
    create table unfinished (
        transaction_id   uuid   primary key,
        created_position bigint not null
    ) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

    -- What a user has of an offer.
    create table subscriptions (
        created_position bigint      not null,
        position         bigint      not null,
        subscription_id  uuid        primary key,
        user_id          uuid        not null,
        offer_id         uuid        not null,
        transaction_id   uuid        not null, -- the first activation's
        activation_date  timestamptz not null,
        expiration_date  timestamptz not null,
        announced        boolean     not null, -- this end was announced
        expired          boolean     not null, -- this end was recorded
        offer_name       text        not null  -- as the first activation bought it
    ) with (fillfactor = 85);
    create index subscriptions_of_user on subscriptions (user_id, created_position);
    create index subscriptions_of_user_by_end on subscriptions (user_id, expiration_date);
    create index subscriptions_to_end on subscriptions (expiration_date, subscription_id) where not expired;

    -- The catalogue.
    create table offers (
        position      bigint         not null,
        offer_id      uuid           primary key,
        created_at    timestamptz    not null,
        updated_at    timestamptz    not null,
        price         numeric(18, 2) not null,
        duration_days integer        not null,
        is_active     boolean        not null,
        name          text           not null,
        description   text           not null
    );
    create index offers_by_name on offers (name, offer_id) where is_active;

    -- Every entry of every posting. The key is the only index: a balance as of any position is a sum
    -- over a range of it.
    create table statement (
        account_id uuid           not null,
        position   bigint         not null,
        ordinal    smallint       not null, -- which entry of the event
        amount     numeric(18, 2) not null,
        primary key (account_id, position, ordinal) include (amount)
    ) with (autovacuum_vacuum_insert_scale_factor = 0.02); -- keeps the sums off the heap

    execute format('grant usage on schema %I to offers_app', in_schema);
    execute format('grant select, insert, update, delete on all tables in schema %I to offers_app', in_schema);
end
$$;

revoke execute on function create_read_tables(text) from public;

select create_read_tables('read');
