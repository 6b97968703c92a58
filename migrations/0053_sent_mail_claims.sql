-- A mail that is claimed, or given back untried, changes no indexed column: such updates stay off the indexes (HOT).
-- Until now a claim moved next_attempt_at.
alter table sent_mail add column claimed_until timestamptz; -- after that the sender counts as dead and another may try
alter table sent_mail set (fillfactor = 60);
