-- Unfinished transactions that nobody has touched for too long. Beyond 30 doublings the longest pause
-- holds anyway.
--
-- Begins with the few that are open, however the planner counts them: rows come and go there all the
-- time, so its statistics say anything, and walking all of history instead took 250 ms on three cores for
-- 300,000 transactions, every two seconds. `offset 0` keeps the look-ups from becoming a join.
select known.transaction_id, open.created_position, known.created_at, known.attempts, known.updated_at
from read.unfinished open
cross join lateral (
    select transaction_id, created_at, attempts, updated_at
    from read.transactions
    where transactions.transaction_id = open.transaction_id
    offset 0
) known
where open.created_position > $6 and known.updated_at
    + make_interval(secs => case
        when known.attempts = 0 then 0
        else least($3 * 2 ^ least(known.attempts - 1, 30), $4)
      end)
    + make_interval(secs => $2) < $1
order by open.created_position
limit $5
