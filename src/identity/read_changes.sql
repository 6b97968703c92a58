-- One row at least: it carries where to go on. pg_snapshot_xmin is the oldest transaction that this
-- statement could not see the end of, so whatever it misses is written by that one or a later one.
select pg_snapshot_xmin(pg_current_snapshot())::text as horizon,
       change.at, change.kind, change.subject, change.roles
from (values (1)) as always
left join identity_changes as change on change.written_by >= $1::text::xid8
