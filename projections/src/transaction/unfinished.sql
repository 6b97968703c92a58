-- Unfinished transactions that nobody has touched for too long. Beyond 30 doublings the longest pause
-- holds anyway.
select known.transaction_id, known.attempts, known.updated_at
from read.unfinished open
join read.transactions known using (transaction_id)
where known.updated_at
    + make_interval(secs => case
        when known.attempts = 0 then 0
        else least($3 * 2 ^ least(known.attempts - 1, 30), $4)
      end)
    + make_interval(secs => $2) < $1
order by known.created_position
limit $5
