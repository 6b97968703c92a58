-- The accepted commits of a batch, in one round trip: their events in the order of their positions,
-- and the balances they leave, ordered by account so that two writers could never deadlock.
with appended as (
    insert into events (position, event_id, aggregate_type, aggregate_id, sequence, event_type,
                        event_version, payload, metadata, recorded_at, commit_end)
    select position, event_id, aggregate_type, aggregate_id, sequence, event_type,
           event_version, payload::json, metadata::json, $10, commit_end
    from unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                $7::text[], $8::text[], $9::text[], $11::bigint[])
        as new (position, event_id, aggregate_type, aggregate_id, sequence, event_type,
                event_version, payload, metadata, commit_end)
)
insert into accounts (account_id, balance, updated_at)
select account_id, balance, $10
from unnest($12::uuid[], $13::numeric[]) as moved (account_id, balance)
order by account_id
on conflict (account_id) do update set balance = excluded.balance, updated_at = excluded.updated_at
