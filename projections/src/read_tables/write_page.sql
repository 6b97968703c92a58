-- Writes a page in one statement: one round trip, whole or not at all.
--
-- Nothing is written unless the checkpoint is where the page begins, $1; its row is also the lock between projectors.
-- What is missing among the rows that the page changes breaks the checkpoint's own check, and with it the statement.
-- All parts see the tables as they were before the page. No two of them touch the same row.
with turn as (
    select position from checkpoint where position = $1 for update
),

-- Unfinished transactions: what begins in the page and stays open, what ends in it.
opened as (
    insert into unfinished (transaction_id, created_position)
    select opens.* from turn cross join unnest($4::uuid[], $5::bigint[]) as opens
),
closed as (
    delete from unfinished where transaction_id = any($6::uuid[]) and exists (select from turn)
    returning 1
),

-- The transactions that begin in the page, as they are at its end.
requested as (
    insert into transactions (
        created_position, position, created_at, updated_at, completed_at, refunded_at,
        transaction_id, user_id, account_id, partner_id, subscription_id, offer_id,
        duration_days, attempts, amount, kind, status, offer_name,
        reference, partner_reference, external_reference, error_code, error_message, pending_reason, callback_url
    )
    select begun.* from turn cross join unnest(
        $7::bigint[], $8::bigint[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[],
        $13::uuid[], $14::uuid[], $15::uuid[], $16::uuid[], $17::uuid[], $18::uuid[],
        $19::int[], $20::int[], $21::numeric[], $22::text[], $23::text[], $24::text[],
        $25::text[], $26::text[], $27::text[], $28::text[], $29::text[], $30::text[], $31::text[]
    ) as begun
),
-- The transactions that were there before and move in the page. What did not move is null.
progressed as (
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
    from turn cross join unnest(
        $32::uuid[], $33::bigint[], $34::timestamptz[], $35::timestamptz[], $36::timestamptz[],
        $37::int[], $38::text[], $39::text[], $40::text[], $41::text[], $42::text[]
    ) as moved (
        transaction_id, position, updated_at, completed_at, refunded_at,
        attempts, status, external_reference, error_code, error_message, pending_reason
    )
    where known.transaction_id = moved.transaction_id
    returning 1
),

-- The subscriptions that begin in the page, as they are at its end. Their events do not carry the offer's name: it is
-- given if the transaction began in this page too, else it is in the transaction's row.
activated as (
    insert into subscriptions (
        created_position, position, subscription_id, user_id, offer_id, transaction_id,
        activation_date, expiration_date, announced, expired, offer_name
    )
    select begun.created_position, begun.position, begun.subscription_id, begun.user_id, begun.offer_id,
           begun.transaction_id, begun.activation_date, begun.expiration_date, begun.announced, begun.expired,
           coalesce(begun.offer_name, bought.offer_name)
    from turn cross join unnest(
        $43::bigint[], $44::bigint[], $45::uuid[], $46::uuid[], $47::uuid[], $48::uuid[],
        $49::timestamptz[], $50::timestamptz[], $51::bool[], $52::bool[], $53::text[]
    ) as begun (
        created_position, position, subscription_id, user_id, offer_id, transaction_id,
        activation_date, expiration_date, announced, expired, offer_name
    )
    left join transactions bought on bought.transaction_id = begun.transaction_id
    where begun.offer_name is not null or bought.offer_name is not null
    returning 1
),
-- The subscriptions that were there before and move in the page. What did not move is null.
renewed as (
    update subscriptions known
    set position        = moved.position,
        expiration_date = coalesce(moved.expiration_date, known.expiration_date),
        announced       = coalesce(moved.announced, known.announced),
        expired         = coalesce(moved.expired, known.expired)
    from turn cross join unnest($54::uuid[], $55::bigint[], $56::timestamptz[], $57::bool[], $58::bool[])
        as moved (subscription_id, position, expiration_date, announced, expired)
    where known.subscription_id = moved.subscription_id
    returning 1
),

-- The offers that the page creates or changes, in one part, for they are few. What did not move is null; a row that
-- would need it is made from the one that is there.
changed as (
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
    from turn cross join unnest(
        $59::uuid[], $60::bigint[], $61::timestamptz[], $62::timestamptz[], $63::numeric[],
        $64::int[], $65::bool[], $66::text[], $67::text[]
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
    returning 1
),

-- The entries of the statement. A charge of a transaction that was there before finds its account there.
moves as (
    select * from unnest($68::uuid[], $69::bigint[], $70::numeric[], $71::text[])
        as entry (account_id, position, amount, reference)
    union all
    select bought.account_id, charge.position, 0, charge.reference
    from unnest($72::uuid[], $73::bigint[], $74::text[]) as charge (transaction_id, position, reference)
    join transactions bought on bought.transaction_id = charge.transaction_id
),
entered as (
    insert into statement (account_id, position, reference_hash, amount, balance)
    select moves.account_id, moves.position, hashtextextended(moves.reference, 0), moves.amount,
           coalesce(before.balance, 0) + sum(moves.amount) over (partition by moves.account_id order by moves.position)
    from turn cross join moves
    left join lateral (
        select balance from statement where statement.account_id = moves.account_id
        order by statement.position desc limit 1
    ) before on true
)

update checkpoint
set position = $2,
    event_id = $3,
    single   = (select count(*) from closed) = cardinality($6::uuid[])
           and (select count(*) from progressed) = cardinality($32::uuid[])
           and (select count(*) from activated) = cardinality($43::bigint[])
           and (select count(*) from renewed) = cardinality($54::uuid[])
           and (select count(*) from changed) = cardinality($59::uuid[])
from turn
where checkpoint.position = turn.position
