-- What administrators look through, newest first, at any size: the audit log, and mail by user and by state.

create index audit_log_newest on audit_log (at, id);

create index sent_mail_newest on sent_mail (position);
create index sent_mail_of_user on sent_mail (user_id, position);
-- Without the pending ones: a claim would walk all of them by this index instead of the one of those that are due.
create index sent_mail_given_up on sent_mail (state, position) where state in ('parked', 'skipped');
drop index sent_mail_parked;
