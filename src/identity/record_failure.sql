-- Adds a failure to both counters and drops what no longer counts, in one statement, so that two
-- failures at once are two. Ordered by key, so that two statements never wait for each other.
insert into login_failures as stored (key, failures, last_at)
select key, array[$3::timestamptz], $3
from unnest(array[$1::bytea, $2::bytea]) as key
order by key
on conflict (key) do update
set last_at = greatest(stored.last_at, excluded.last_at),
    failures = array(
        select failure
        from unnest(stored.failures || excluded.failures) as failure
        where failure > $4
        order by failure
    )
returning key, failures
