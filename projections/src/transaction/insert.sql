-- The transactions that begin in this page, as they are at its end.
insert into transactions (
    created_position, position, created_at, updated_at, completed_at, refunded_at,
    transaction_id, user_id, account_id, partner_id, subscription_id, offer_id,
    duration_days, attempts, amount, kind, status, offer_name,
    reference, partner_reference, external_reference, error_code, error_message, pending_reason, callback_url
)
select * from unnest(
    $1::bigint[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[],
    $7::uuid[], $8::uuid[], $9::uuid[], $10::uuid[], $11::uuid[], $12::uuid[],
    $13::int[], $14::int[], $15::numeric[], $16::text[], $17::text[], $18::text[],
    $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], $25::text[]
)
