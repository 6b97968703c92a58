-- A process of two versions before writes a page in several statements, of which the first moves the checkpoint. What it does not
-- know of is added at the end of its transaction, when all of its page is there.

create or replace function guard_charges(in_schema text) returns void language plpgsql as $$
begin
    execute format('create constraint trigger has_charges after update on %I.checkpoint
                    deferrable initially deferred for each row
                    when (new.position > old.position and current_setting(''offers.writes_charges'', true) is distinct from ''on'')
                    execute function add_charges()', in_schema);
end
$$;

-- What such a process has written since the statement has balances is put right. Where it begins to be wrong is looked for while
-- the projector goes on; it waits for the rest alone.
do $$
declare
    seen bigint;
    right_up_to bigint;
begin
    perform put_read_tables_aside('read_next'); -- whoever makes them begins again
    if to_regclass('read.checkpoint') is null or to_regclass('read.statement') is null then
        return; -- the service makes all of them again
    end if;
    seen := (select position from read.checkpoint);
    right_up_to := coalesce((
        select min(position) - 1 from (
            select position from (
                select position, balance, sum(amount) over (partition by account_id order by position) as sum
                from read.statement where position <= seen
            ) entries where balance <> sum
            union all
            select event.position from events event
            join read.transactions bought on bought.transaction_id = event.aggregate_id::uuid
            where event.position <= seen and event.aggregate_type = 'Transaction' and event.event_type = 'Succeeded'
              and not exists (select from read.statement entry
                              where entry.account_id = bought.account_id and entry.position = event.position)
        ) wrong
    ), seen);

    -- The projector takes this table first, so it waits and holds nothing.
    lock table read.checkpoint in access exclusive mode;
    drop trigger has_charges on read.checkpoint;
    perform guard_charges('read');
    insert into read.statement (account_id, position, reference_hash, amount)
    select bought.account_id, event.position, hashtextextended(event.payload ->> 'reference', 0), 0
    from events event
    join read.transactions bought on bought.transaction_id = event.aggregate_id::uuid
    where event.position > right_up_to and event.position <= (select position from read.checkpoint)
      and event.aggregate_type = 'Transaction' and event.event_type = 'Succeeded'
    on conflict do nothing;
    update read.statement entry set balance = known.balance
    from (
        select account_id, position,
               coalesce((select before.balance from read.statement before
                         where before.account_id = later.account_id and before.position <= right_up_to
                         order by before.position desc limit 1), 0)
               + sum(amount) over (partition by account_id order by position) as balance
        from read.statement later where position > right_up_to
    ) known
    where entry.account_id = known.account_id and entry.position = known.position and entry.balance <> known.balance;
end
$$;
