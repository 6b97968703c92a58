-- The activation system's references are found by the part of the log that their charge is in, and then by their hash. By the hash
-- alone every charge of a long log is the first to touch a page of the index after a checkpoint, and that page is written
-- to the WAL as a whole; a part of 16 million events has few pages.

create or replace function create_statement(in_schema text, in_name text) returns void language plpgsql
    set search_path = public -- put back at the end, whatever happens inside
as $$
begin
    perform set_config('search_path', in_schema || ', public', true);
    execute format('
        create table %I (
            account_id     uuid           not null,
            position       bigint         not null, -- an event moves an account once
            -- Of a charge, hashtextextended(…, 0) of the reference: an index entry of 16 bytes, however long it is. In the table
            -- of transactions an index would cost more, since every success would then write to all indexes.
            reference_hash bigint,
            amount         numeric(18, 2) not null, -- signed; 0.00 for a charge
            balance        numeric(18, 2) not null, -- after it
            ordinal        smallint, -- the version before writes it; always null
            primary key (account_id, position)
        )', in_name);
    execute format('create index %I on %I ((position >> 24), reference_hash) where reference_hash is not null',
                   in_name || '_by_reference', in_name);
    execute format('grant select, insert, update, delete on %I to offers_app', in_name);
    execute format('create trigger lost_rows after delete on %I for each row
                    execute function put_lost_tables_aside()', in_name);
    execute format('create trigger lost_all after truncate on %I for each statement
                    execute function put_lost_tables_aside()', in_name);
    execute format('create trigger has_balance before insert on %I for each row when (new.balance is null)
                    execute function add_balance()', in_name);
end
$$;

do $$
begin
    if to_regclass('read.checkpoint') is not null and to_regclass('read.statement') is not null then
        lock table read.checkpoint in exclusive mode; -- what the projector takes first
        drop index if exists read.statement_reference_hash_idx;
        create index if not exists statement_by_reference on read.statement ((position >> 24), reference_hash)
            where reference_hash is not null;
    end if;
end
$$;
