-- The statement keeps the balance after each entry, and has an entry of 0.00 where a hold becomes final: a charge, by which
-- the activation system's reference is found too.
--
-- The table is made new beside the old one while the projector goes on; only what it wrote meanwhile is copied under a lock.
-- Processes of the version before go on writing: triggers add what they do not know.

-- Makes an empty statement. A function, because the read tables are made again at any time.
create function create_statement(in_schema text, in_name text) returns void language plpgsql
    set search_path = public -- put back at the end, whatever happens inside
as $$
begin
    perform set_config('search_path', in_schema || ', public', true);
    execute format('
        create table %I (
            account_id     uuid           not null,
            position       bigint         not null, -- an event moves an account once
            -- Of a charge, hashtextextended(…, 0) of the reference: an index entry of 8 bytes, however long it is. In the table
            -- of transactions an index would cost more, since every success would then write to all indexes.
            reference_hash bigint,
            amount         numeric(18, 2) not null, -- signed; 0.00 for a charge
            balance        numeric(18, 2) not null, -- after it
            ordinal        smallint, -- the version before writes it; always null
            primary key (account_id, position)
        )', in_name);
    execute format('create index on %I (reference_hash) where reference_hash is not null', in_name);
    execute format('grant select, insert, update, delete on %I to offers_app', in_name);
    execute format('create trigger lost_rows after delete on %I for each row
                    execute function put_lost_tables_aside()', in_name);
    execute format('create trigger lost_all after truncate on %I for each statement
                    execute function put_lost_tables_aside()', in_name);
    execute format('create trigger has_balance before insert on %I for each row when (new.balance is null)
                    execute function add_balance()', in_name);
end
$$;

-- An entry that a process of the version before writes.
create function add_balance() returns trigger language plpgsql as $$
begin
    new.ordinal := null;
    execute format('select coalesce((select balance from %I.%I where account_id = $1 and position < $2
                                     order by position desc limit 1), 0) + $3', tg_table_schema, tg_table_name)
    into new.balance using new.account_id, new.position, new.amount;
    return new;
end
$$;

-- A process of the version before has written a page: it knows no charges.
create function add_charges() returns trigger language plpgsql as $$
begin
    execute format(
        'insert into %1$I.statement (account_id, position, reference_hash, amount)
         select bought.account_id, event.position, hashtextextended(event.payload ->> ''reference'', 0), 0
         from public.events event
         join %1$I.transactions bought on bought.transaction_id = event.aggregate_id::uuid
         where event.position > $1 and event.position <= $2
           and event.aggregate_type = ''Transaction'' and event.event_type = ''Succeeded''
         order by event.position', tg_table_schema)
    using old.position, new.position;
    -- What it wrote after a charge in the same page has the balance without it, and that is the same: a charge is 0.00.
    return null;
end
$$;

create function guard_charges(in_schema text) returns void language plpgsql as $$
begin
    execute format('create trigger has_charges after update on %I.checkpoint for each row
                    when (new.position > old.position and current_setting(''offers.writes_charges'', true) is distinct from ''on'')
                    execute function add_charges()', in_schema);
end
$$;

alter function create_read_tables(text) rename to create_read_tables_0091;

create function create_read_tables(in_schema text) returns void language plpgsql as $$
begin
    perform create_read_tables_0091(in_schema);
    execute format('drop table %I.statement', in_schema);
    perform create_statement(in_schema, 'statement');
    perform guard_charges(in_schema);
end
$$;

revoke execute on function create_statement(text, text), guard_charges(text), create_read_tables(text) from public;

do $$
declare
    copied bigint;
begin
    perform put_read_tables_aside('read_next'); -- the version before is making them: it begins again with the new form
    if to_regclass('read.checkpoint') is null or to_regclass('read.transactions') is null
        or to_regclass('read.statement') is null then
        return; -- the service makes all of them again
    end if;
    copied := (select position from read.checkpoint);
    if copied = 0 then
        drop schema read cascade;
        perform create_read_tables('read');
        return;
    end if;

    perform create_statement('read', 'statement_next');
    insert into read.statement_next (account_id, position, reference_hash, amount, balance)
    select account_id, position, reference_hash, amount,
           sum(amount) over (partition by account_id order by position)
    from (
        select account_id, position, null::bigint as reference_hash, amount from read.statement where position <= copied
        union all
        select bought.account_id, event.position, hashtextextended(event.payload ->> 'reference', 0), 0
        from events event
        join read.transactions bought on bought.transaction_id = event.aggregate_id::uuid
        where event.position <= copied and event.aggregate_type = 'Transaction' and event.event_type = 'Succeeded'
    ) entries
    order by account_id, position;

    -- The projector waits from here on, holding nothing, since it takes this table first.
    lock table read.checkpoint in exclusive mode;
    insert into read.statement_next (account_id, position, reference_hash, amount)
    select account_id, position, reference_hash, amount
    from (
        select account_id, position, null::bigint as reference_hash, amount from read.statement where position > copied
        union all
        select bought.account_id, event.position, hashtextextended(event.payload ->> 'reference', 0), 0
        from events event
        join read.transactions bought on bought.transaction_id = event.aggregate_id::uuid
        where event.position > copied and event.position <= (select position from read.checkpoint)
          and event.aggregate_type = 'Transaction' and event.event_type = 'Succeeded'
    ) entries
    order by position;
    drop table read.statement;
    alter table read.statement_next rename to statement;
    alter index read.statement_next_pkey rename to statement_pkey;
    alter index read.statement_next_reference_hash_idx rename to statement_reference_hash_idx;
    perform guard_charges('read');
    analyze read.statement;
end
$$;
