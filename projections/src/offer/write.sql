-- The offers that this page creates or changes. What did not move is null here; a row that would need
-- it is made from the one that is there (and counted as missing when there is none).
insert into offers as known
    (offer_id, position, created_at, updated_at, price, duration_days, is_active, name, description)
select
    moved.offer_id,
    moved.position,
    coalesce(moved.created_at, old.created_at),
    moved.updated_at,
    coalesce(moved.price, old.price),
    coalesce(moved.duration_days, old.duration_days),
    coalesce(moved.is_active, old.is_active),
    coalesce(moved.name, old.name),
    coalesce(moved.description, old.description)
from unnest(
    $1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::numeric[],
    $6::int[], $7::bool[], $8::text[], $9::text[]
) as moved (offer_id, position, created_at, updated_at, price, duration_days, is_active, name, description)
left join offers old on old.offer_id = moved.offer_id
where moved.created_at is not null or old.offer_id is not null
on conflict (offer_id) do update set
    position      = excluded.position,
    updated_at    = excluded.updated_at,
    price         = excluded.price,
    duration_days = excluded.duration_days,
    is_active     = excluded.is_active,
    name          = excluded.name,
    description   = excluded.description
