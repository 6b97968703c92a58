-- Asked every few seconds by every instance: over the few unfinished rows and one partial index.
select open.unfinished,
       (select created_at from read.transactions where created_position = open.first) as oldest,
       (select count(*) from read.transactions where pending_reason is not null) as in_doubt,
       (select created_at from read.transactions where pending_reason is not null
        order by created_position limit 1) as oldest_in_doubt
from (select count(*) as unfinished, min(created_position) as first from read.unfinished) as open
