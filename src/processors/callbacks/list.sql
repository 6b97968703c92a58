-- A page of deliveries, newest first. Null stands for any. PostgreSQL plans with the values, so each combination that
-- is asked for is read by an index of its own.
-- $1 partner, $2 status, $3 transaction, $4 the id that the page begins after, $5 how many
select * from callback_deliveries
where ($1::uuid is null or partner_id = $1)
  and ($2::text is null or status = $2)
  and ($3::uuid is null or transaction_id = $3)
  and ($4::uuid is null or id < $4)
order by id desc
limit $5
