-- Offers are listed by name in one order on every installation, Unicode's (`Zebra` stands after `apple`, `Ångström` with
-- `angle`), whatever the database's locale.

alter table read.offers alter column name type text collate "und-x-icu"; -- and with it the index

alter function create_read_tables(text) rename to create_read_tables_0020;

create function create_read_tables(in_schema text) returns void language plpgsql as $$
begin
    perform create_read_tables_0020(in_schema);
    execute format('alter table %I.offers alter column name type text collate "und-x-icu"', in_schema);
end
$$;

revoke execute on function create_read_tables(text) from public;
