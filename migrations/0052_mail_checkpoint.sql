-- Mail follows the log, in the transaction and the follower of the callbacks. Until now durable consumers of NATS heard of
-- the events.

-- How far the log has been read for mail: moved in the transaction that adds the rows of sent_mail. No row until mail is
-- switched on for the first time. mail_start stays for processes of the version before.
create table mail_checkpoint (
    single   boolean primary key default true check (single),
    position bigint  not null
) with (fillfactor = 10); -- one hot row: keep room for its dead versions, off the index
grant select, insert, update on mail_checkpoint to offers_app;

-- Mail goes on before the first event that has no mail yet, so nobody is forgotten. What comes after it and has been mailed is
-- found by the key of sent_mail, so nobody is told twice.
insert into mail_checkpoint (position)
select greatest(
    mail_start.position,
    coalesce(
        (select min(position) - 1 from events
         where position > mail_start.position
           and (aggregate_type, event_type) in
               (('Transaction', 'Succeeded'), ('Transaction', 'Failed'), ('UserOffer', 'ExpirySoon'))
           and not exists (select from sent_mail where sent_mail.event_id = events.event_id)
           and not exists (
               select from parked -- a person requeues it
               where parked.position = events.position
                 and parked.consumer in ('mail-succeeded', 'mail-failed', 'mail-expiry-soon'))),
        (select max(position) from events),
        0))
from mail_start;
