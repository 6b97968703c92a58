-- Logins, refusals, requeues and resends are in the audit log too, with a reason of their own column.
-- A login's row has the address that it came from, and is deleted after months; the other rows are kept.

alter table audit_log add column reason text; -- in the actor's words
update audit_log set reason = details ->> 'reason', details = details - 'reason' where details ? 'reason';

-- Newest first, read backwards.
drop index audit_log_of_subject;
create index audit_log_of_subject on audit_log (subject, at, id);
create index audit_log_of_actor on audit_log (actor, at, id);
create index audit_log_to_purge on audit_log (at)
    where action in ('login.succeeded', 'login.refused', 'login.throttled', 'access.refused');

-- The service may not delete from the audit log, only call this: nobody who takes the service over can remove a
-- trace that is younger than 30 days, or any change of rights.
create function purge_audit_log(before timestamptz, at_most integer) returns bigint
language sql security definer
set search_path = pg_catalog, public, pg_temp -- the caller's own tables come last
as $$
    with gone as (
        delete from audit_log where id in (
            select id from audit_log
            where action in ('login.succeeded', 'login.refused', 'login.throttled', 'access.refused')
              and at < least(before, statement_timestamp() - interval '30 days')
            order by at limit at_most)
        returning 1
    )
    select count(*) from gone
$$;
revoke execute on function purge_audit_log from public;
grant execute on function purge_audit_log to offers_app;
