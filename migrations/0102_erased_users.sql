-- A user whose name and addresses were erased. The id stays: the account and its history are under it.
alter table users add column erased_at timestamptz;
