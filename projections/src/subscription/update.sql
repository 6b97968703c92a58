-- The subscriptions that were there before this page and move in it. What did not move is null here.
update subscriptions known
set position        = moved.position,
    expiration_date = coalesce(moved.expiration_date, known.expiration_date),
    announced       = coalesce(moved.announced, known.announced),
    expired         = coalesce(moved.expired, known.expired)
from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::bool[], $5::bool[])
    as moved (subscription_id, position, expiration_date, announced, expired)
where known.subscription_id = moved.subscription_id
