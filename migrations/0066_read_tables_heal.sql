-- Read tables that have lost rows, or that are of another log, are put aside and made again while the service runs.
-- Until the new ones are whole there is no schema `read`, so a query fails and nobody takes what is left for everything.

-- Which event a checkpoint is at. A statement that only moves the position is one of a process of the version before.
create function name_event_of_checkpoint() returns trigger language plpgsql as $$
begin
    select event_id into new.event_id from public.events where position = new.position;
    return new;
end
$$;

-- Puts the read tables that have lost a row aside: nothing but the loss of rows deletes from them.
create function put_lost_tables_aside() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_table_schema in ('read', 'read_next') then -- and not those that are aside already
        drop schema if exists read_old cascade;
        execute format('alter schema %I rename to read_old', tg_table_schema);
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

-- Makes empty read tables beside the live ones. What an earlier rebuild has left goes.
create function create_next_read_tables() returns void language plpgsql
    security definer set search_path = public, pg_temp
as $$
begin
    drop schema if exists read_next cascade;
    drop schema if exists read_old cascade;
    perform create_read_tables('read_next');
    perform guard_read_tables('read_next');
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
        drop schema if exists read_old cascade;
        alter schema read rename to read_old;
    end if;
end
$$;

-- Puts the next read tables in the place of live ones that are not there. False if live ones are there.
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
    guard_read_tables(text), create_next_read_tables(), discard_read_tables(bigint, uuid), switch_read_tables()
    from public;
grant execute on function create_next_read_tables(), discard_read_tables(bigint, uuid), switch_read_tables()
    to offers_app;

select guard_read_tables('read');
