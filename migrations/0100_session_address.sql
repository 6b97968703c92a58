-- Where a session was opened from, so that its user can tell it from others. Unknown for older ones.
alter table sessions add column address text check (char_length(address) <= 45);
