-- Read tables that have lost rows, or that are of another log, are put aside and made again while the service runs.
-- Until the new ones are whole there is no schema `read`, so a query fails and nobody takes what is left for everything.

-- Which event a checkpoint is at. A statement that only moves the position is one of a process of the version before.
create function name_event_of_checkpoint() returns trigger language plpgsql as $$
begin
    select event_id into new.event_id from public.events where position = new.position;
    return new;
end
$$;

-- Renames a schema of read tables, to a name that is free: tables that were put aside before may still be read by a
-- long snapshot, and cannot be dropped.
create function put_read_tables_aside(in_schema text) returns void language plpgsql
    set search_path = pg_catalog, pg_temp
as $$
declare
    aside text := case in_schema when 'read_next' then 'read_dropped_' else 'read_old_' end;
begin
    if to_regnamespace(in_schema) is not null then
        execute format('alter schema %I rename to %I', in_schema, aside || to_regnamespace(in_schema)::oid);
    end if;
end
$$;

-- Drops what was put aside, as far as nobody reads it: the new tables that were given up, and the old ones as soon as
-- there are live ones. False if something is left for the next call.
create function drop_read_tables_aside() returns boolean language plpgsql
    security definer set search_path = pg_catalog, pg_temp set lock_timeout = '200ms'
as $$
declare
    aside text;
    is_left boolean := to_regnamespace('read') is null;
begin
    for aside in
        select nspname from pg_namespace
        where nspname ~ '^read_dropped_[0-9]+$' or (not is_left and nspname ~ '^read_old(_[0-9]+)?$')
    loop
        begin
            execute format('drop schema %I cascade', aside);
        exception
            when invalid_schema_name then null; -- another process was faster
            when lock_not_available or deadlock_detected then is_left := true;
        end;
    end loop;
    return not is_left;
end
$$;

-- Puts the read tables that have lost a row aside: nothing but the loss of rows deletes from them.
create function put_lost_tables_aside() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_table_schema in ('read', 'read_next') then -- and not those that are aside already
        perform public.put_read_tables_aside(tg_table_schema);
    end if;
    return null;
end
$$;

-- What every set of read tables has in addition to its tables.
create function guard_read_tables(in_schema text) returns void language plpgsql
    set search_path = public -- put back at the end, whatever happens inside
as $$
declare
    lossless text;
begin
    perform set_config('search_path', in_schema || ', public', true);
    alter table checkpoint add column event_id uuid; -- of the event at `position`; nil before the first
    update checkpoint set event_id = coalesce(
        (select event_id from public.events where position = checkpoint.position),
        '00000000-0000-0000-0000-000000000000');
    create trigger names_event before update on checkpoint for each row
        when (new.position <> old.position and new.event_id is not distinct from old.event_id)
        execute function public.name_event_of_checkpoint();

    foreach lossless in array array['checkpoint', 'transactions', 'subscriptions', 'offers', 'statement'] loop
        execute format('create trigger lost_rows after delete on %I for each row
                        execute function public.put_lost_tables_aside()', lossless);
        execute format('create trigger lost_all after truncate on %I for each statement
                        execute function public.put_lost_tables_aside()', lossless);
    end loop;
    create trigger lost_all after truncate on unfinished for each statement
        execute function public.put_lost_tables_aside();
end
$$;

-- All read tables are guarded, those of a rebuild by an older program too.
alter function create_read_tables(text) rename to create_read_tables_0062;

create function create_read_tables(in_schema text) returns void language plpgsql as $$
begin
    perform create_read_tables_0062(in_schema);
    perform guard_read_tables(in_schema);
end
$$;

-- Makes empty read tables beside the live ones. What an earlier rebuild has left goes. What was put aside stays until
-- the new tables are live.
create function create_next_read_tables() returns void language plpgsql
    security definer set search_path = public, pg_temp
as $$
begin
    perform put_read_tables_aside('read_next');
    perform drop_read_tables_aside();
    perform create_read_tables('read_next');
end
$$;

-- Puts the live read tables aside, unless their checkpoint is not `at` any more (null: it is gone).
create function discard_read_tables(at bigint, at_event uuid) returns void language plpgsql
    security definer set search_path = pg_catalog, pg_temp
as $$
declare
    moved boolean := false;
begin
    if to_regnamespace('read') is null then
        return;
    end if;
    if to_regclass('read.checkpoint') is not null then
        select count(*) > 0 into moved from read.checkpoint
        where event_id is not null and (position, event_id) is distinct from (at, at_event);
    end if;
    if not moved then
        perform public.put_read_tables_aside('read');
    end if;
end
$$;

-- Puts the next read tables in the place of live ones that are not there. False if live ones are there. The old ones
-- are dropped by a call of its own, which may fail.
create function switch_read_tables() returns boolean language plpgsql
    security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regnamespace('read') is not null then
        return false;
    end if;
    alter schema read_next rename to read;
    return true;
end
$$;

revoke execute on function
    put_read_tables_aside(text), drop_read_tables_aside(), guard_read_tables(text), create_read_tables(text),
    create_next_read_tables(), discard_read_tables(bigint, uuid), switch_read_tables()
    from public;
grant execute on function
    create_next_read_tables(), discard_read_tables(bigint, uuid), switch_read_tables(), drop_read_tables_aside()
    to offers_app;

select guard_read_tables('read');
