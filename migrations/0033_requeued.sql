-- Somebody sent a parked message back to work, and a processor took it up: so that it is done by whatever
-- process has that role, and once.

alter table parked
    add column requeued_by text check (char_length(requeued_by) <= 100), -- user:<id>
    add column resumed_at  timestamptz;

create index parked_requeued on parked (requeued_at) where requeued_at is not null and resumed_at is null;
