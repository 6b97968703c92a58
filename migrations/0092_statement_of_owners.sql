-- The statement has the entries of users and partners alone; those of the system's own accounts (money from outside, reserved,
-- earned) follow from the events. A process of the version before that still runs writes them all the same: `offers check` then
-- names them, and `offers replay read-tables` removes them.

do $$
begin
    if to_regclass('read.statement') is not null then
        alter table read.statement disable trigger lost_rows; -- it would put the tables aside, as ones that have lost rows
        delete from read.statement
        where account_id in ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002',
                             '00000000-0000-0000-0000-000000000003');
        alter table read.statement enable trigger lost_rows;
    end if;
end
$$;
