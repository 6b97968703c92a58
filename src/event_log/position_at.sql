-- The last position that was recorded at $1 or before, between `known` and `later`, which are halved until they are neighbours.
-- Where a position is missing they never are.
with recursive part (known, later) as (
    select 0::bigint, coalesce(max(position), 0) + 1 from events
    union all
    select case when recorded_at <= $1 then middle else known end, case when recorded_at <= $1 then later else middle end
    from part
    cross join lateral (select known + (later - known) / 2) as halved (middle)
    cross join lateral (select (select recorded_at from events where position = middle)) as event (recorded_at)
    where later - known > 1 and recorded_at is not null
)
select known, later from part order by later - known limit 1
