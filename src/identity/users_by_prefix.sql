-- Users whose name is $1 as it was typed or $2 in its stored form, or whose folded name or mail address is, or begins with, $3 or
-- $5. $4 and $6 come after everything that begins so, in the collation "C" of these forms and of their indexes.
with found as (
    select id, 0 as rank, '' as place from users where username in ($1, $2)
    union all
    (select id, case when username_folded = $3 then 0 else 2 end, username_folded from users
     where username_folded >= $3 and username_folded < $4 order by username_folded limit $7)
    union all
    (select id, case when lower(email collate "C") = $5 then 1 else 3 end, lower(email collate "C") from users
     where lower(email collate "C") collate "C" >= $5 and lower(email collate "C") collate "C" < $6
     order by lower(email collate "C") collate "C" limit $7)
),
best as (
    select distinct on (id) id, rank, place from found order by id, rank, place collate "C"
)
select users.* from best join users using (id) order by rank, place collate "C" limit $7
