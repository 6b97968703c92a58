-- What the writer does not know of what a batch touches, in one round trip and one snapshot, taken after the log's lock:
-- the streams' versions, the owners' balances, and which of the derived event ids are in the log.
-- `kind` tells the rows apart; `ord` is the index (from 1) into the array that was asked with.
select 1::int2 as kind, asked.ord, last.sequence as number, null::numeric as balance
from unnest($1::text[], $2::text[]) with ordinality asked (aggregate_type, aggregate_id, ord)
cross join lateral (
    select sequence from events
    where events.aggregate_type = asked.aggregate_type and events.aggregate_id = asked.aggregate_id
    order by sequence desc limit 1
) last
union all
select 2::int2, asked.ord, null, accounts.balance
from unnest($3::uuid[]) with ordinality asked (account_id, ord)
join accounts on accounts.account_id = asked.account_id
union all
select 3::int2, asked.ord, null, null
from unnest($4::uuid[]) with ordinality asked (event_id, ord)
-- Not a join: planned while the log is empty, it would read the whole index for ever, and look for the ids in it.
cross join lateral (
    select from events
    where events.event_id = asked.event_id and get_byte(uuid_send(events.event_id), 6) >> 4 = 5
    limit 1
) known
