-- What administrators search by, found by index.

-- On millions of users some seconds in which nobody logs in, unless it is there already: docs/operations.md.
create index if not exists users_by_mail on users (lower(email collate "C") collate "C");

-- By the partner's reference alone, and by partner and reference as before.
alter function create_read_tables(text) rename to create_read_tables_0120;

create function create_read_tables(in_schema text) returns void language plpgsql as $$
begin
    perform create_read_tables_0120(in_schema);
    execute format('drop index %I.transactions_by_partner_reference', in_schema);
    execute format('create index transactions_by_partner_reference on %I.transactions (partner_reference, partner_id)
                    where partner_reference is not null', in_schema);
end
$$;

revoke execute on function create_read_tables(text) from public;

do $$
begin
    if to_regclass('read.checkpoint') is not null and to_regclass('read.transactions') is not null then
        lock table read.checkpoint in exclusive mode; -- what the projector takes first
        drop index if exists read.transactions_by_partner_reference;
        create index transactions_by_partner_reference on read.transactions (partner_reference, partner_id)
            where partner_reference is not null;
    end if;
end
$$;
