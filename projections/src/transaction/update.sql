-- The transactions that were there before this page and move in it. What did not move is null here.
update transactions known
set position           = moved.position,
    updated_at         = moved.updated_at,
    completed_at       = coalesce(moved.completed_at, known.completed_at),
    refunded_at        = coalesce(moved.refunded_at, known.refunded_at),
    attempts           = coalesce(moved.attempts, known.attempts),
    status             = coalesce(moved.status, known.status),
    external_reference = coalesce(moved.external_reference, known.external_reference),
    error_code         = coalesce(moved.error_code, known.error_code),
    error_message      = coalesce(moved.error_message, known.error_message),
    -- An empty text takes it away.
    pending_reason     = nullif(coalesce(moved.pending_reason, known.pending_reason), '')
from unnest(
    $1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[],
    $6::int[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[]
) as moved (
    transaction_id, position, updated_at, completed_at, refunded_at,
    attempts, status, external_reference, error_code, error_message,
    pending_reason
)
where known.transaction_id = moved.transaction_id
