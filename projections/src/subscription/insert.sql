-- The subscriptions that begin in this page, as they are at its end. Their transactions came before.
insert into subscriptions (
    created_position, position, subscription_id, user_id, offer_id, transaction_id,
    activation_date, expiration_date, announced, expired, offer_name
)
select begun.*, bought.offer_name
from unnest(
    $1::bigint[], $2::bigint[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[],
    $7::timestamptz[], $8::timestamptz[], $9::bool[], $10::bool[]
) as begun (
    created_position, position, subscription_id, user_id, offer_id, transaction_id,
    activation_date, expiration_date, announced, expired
)
join transactions bought on bought.transaction_id = begun.transaction_id
