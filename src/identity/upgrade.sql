-- Writes the texts of a batch of users, oldest first, and what could not be written. Of users whose names fold to the
-- same the oldest gets the folded name; the others keep their name as it is, and are found by exactly that.
with given as (
    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[])
        with ordinality as given (id, username, folded, email, search_text, mail_unusable, nth)
), judged as (
    select given.*,
           folded is not null
               and row_number() over (partition by folded order by nth) = 1
               and not exists (select from users other where other.username_folded = folded and other.id <> given.id)
               as is_free,
           exists (select from users other where other.username = given.username and other.id <> given.id)
               as is_taken_exactly
    from given
), found as (
    insert into user_findings (user_id, finding, found_at)
    select id, case when folded is null then 'name_unfit' else 'name_collides' end, now() from judged where not is_free
    union all
    select id, 'mail_unusable', now() from judged where mail_unusable
    on conflict do nothing
)
update users
set username = case when is_free and not is_taken_exactly then judged.username else users.username end,
    username_folded = case when is_free then judged.folded end,
    email = judged.email,
    search_text = judged.search_text,
    text_rules = $7
from judged
where users.id = judged.id
