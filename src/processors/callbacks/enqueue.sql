-- Adds one delivery an endpoint and final event, in a few bytes of protocol whatever the page's size.
-- $1 now, then a column each
insert into callback_deliveries
    (id, partner_id, event_id, type, transaction_id, position, own_url, url, body, status,
     next_attempt_at, created_at)
select id, partner_id, event_id, type, transaction_id, position, own_url, url, body, status, $1, $1
from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::bigint[], $8::text[], $9::text[],
            $10::text[], $11::text[])
    as new (id, partner_id, event_id, type, transaction_id, position, own_url, url, body, status)
on conflict (partner_id, event_id) do nothing
