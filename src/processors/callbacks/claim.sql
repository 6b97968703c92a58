-- Takes deliveries that are due, so that no endpoint waits for another: endpoints (partners) are visited
-- in a circle, beginning after the last one that was served, and each gives at most what it may have under
-- way. Which endpoints have anything to do is found by stepping through the index, so the rows of a dead
-- one are not walked over, however many they are.
-- Of one purchase only one delivery is under way, and only when no earlier one is still to be taken.
-- Claims run by the server's clock.
-- $1 now, $2 the claim, $3 how long it lasts in seconds, $4 slow endpoints, $5 take only those or only the others,
-- $6 the endpoint served last, $7 the most under way of one endpoint, $8 how many to take
with recursive endpoints (partner_id) as (
    (select partner_id from callback_deliveries where status = 'pending' order by partner_id limit 1)
    union all
    select (select following.partner_id from callback_deliveries following
            where following.status = 'pending' and following.partner_id > endpoints.partner_id
            order by following.partner_id limit 1)
    from endpoints where endpoints.partner_id is not null
),
circle as (
    select partner_id from endpoints
    where partner_id is not null and (partner_id = any ($4)) = $5
      and not exists (select from partners where id = partner_id and not is_active) -- they wait
    order by partner_id <= $6, partner_id
),
due as materialized (
    select chosen.id
    from circle
    cross join lateral (
        select delivery.id from callback_deliveries delivery
        where delivery.partner_id = circle.partner_id
          and delivery.status = 'pending'
          and delivery.next_attempt_at <= $1
          and (delivery.claimed_until is null or delivery.claimed_until <= now())
          and not exists (
              select from callback_deliveries other
              where other.transaction_id = delivery.transaction_id
                and other.status = 'pending'
                and other.id <> delivery.id
                and (other.position < delivery.position or other.claimed_until > now()))
        order by delivery.next_attempt_at, delivery.position
        limit greatest(0, $7 - (
            select count(*) from callback_deliveries held
            where held.partner_id = circle.partner_id and held.claimed_until > now()))
        for update of delivery skip locked
    ) chosen
    limit $8
)
update callback_deliveries
set claim = $2, claimed_until = now() + make_interval(secs => $3)
from due
where callback_deliveries.id = due.id
returning callback_deliveries.id, partner_id, event_id, own_url, url, body, attempts,
    claim
