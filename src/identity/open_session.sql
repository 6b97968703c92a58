-- Opens a session if the user is still active and still has the password that was just checked, notes
-- the login, and ends the oldest sessions beyond the limit; all or nothing. Waits for a change of the
-- same user that is being made, and then sees it.
with known as (
    update users set last_login = $6
    where id = $2 and is_active and password_hash = $3
    returning id, roles
),
opened as (
    insert into sessions (id, user_id, seed, key_id, created_at, rotated_at, expires_at, address)
    select $1, id, $4, $5, $6, $6, $7, $9 from known
),
surplus as (
    update sessions set ended_at = $6, end_reason = 'surplus'
    where id in (
        select id from sessions
        where user_id = (select id from known) and ended_at is null
        order by created_at desc offset $8
    )
    returning id
),
noted as (
    insert into identity_changes (kind, subject) select 'session_ended', id from surplus
)
select roles, array(select id from surplus) from known
