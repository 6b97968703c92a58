-- What administrators look through, newest first, at any size: the audit log, and mail by user and by state.

create index audit_log_newest on audit_log (at, id);

create index sent_mail_newest on sent_mail (position);
create index sent_mail_of_user on sent_mail (user_id, position);
create index sent_mail_unsent on sent_mail (state, position) where state <> 'sent';
drop index sent_mail_parked;
