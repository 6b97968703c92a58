-- The purchase that has waited longest for its first attempt, and whether purchases go through: one of those before it
-- has succeeded since $1. How many from it on are open, and how fast the last $3 before it were finished, says how long a
-- purchase of now will wait. Parked ones wait for a person.
--
-- Begins with what is open, as unfinished.sql does, and for the same reason; sorted first, so that the look-ups end at
-- the first purchase without an attempt.
select oldest.created_at, exists (
    select from (
        select completed_at, status from read.transactions
        where transactions.created_position < oldest.created_position
        order by created_position desc
        limit $2
    ) before
    where before.status = 'SUCCESS' and before.completed_at >= $1
) as others_succeed,
(select count(*) from read.unfinished where created_position >= oldest.created_position) as open,
pace.finished, pace.first_at, pace.last_at
from (
    select open.created_position, known.created_at
    from (select * from read.unfinished order by created_position offset 0) open
    cross join lateral (
        select created_at, attempts
        from read.transactions
        where transactions.transaction_id = open.transaction_id
        offset 0
    ) known
    where known.attempts = 0
      and open.transaction_id not in (
          select aggregate_id from parked where requeued_at is null and aggregate_id is not null
      )
    order by open.created_position
    limit 1
) oldest
cross join lateral (
    select count(*) as finished, min(completed_at) as first_at, max(completed_at) as last_at
    from (
        select completed_at, status from read.transactions
        where transactions.created_position < oldest.created_position
        order by created_position desc
        limit $3
    ) before
    where before.status = 'SUCCESS' and before.completed_at >= $1
) pace
