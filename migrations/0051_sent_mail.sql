-- Mail: one row for each event that a user is told of, made once however often the event is delivered,
-- and kept: it is what remembers that this was mailed. No addresses and no texts: those are looked up and
-- written when the mail is sent.

-- Where mail begins in the log: the head when it was first switched on. What came before is not mailed.
create table mail_start (
    single   boolean primary key default true check (single),
    position bigint  not null
);
grant select, insert on mail_start to offers_app;

create table sent_mail (
    event_id        uuid        not null, -- also the Message-ID: the same for every try
    user_id         uuid        not null,
    position        bigint      not null, -- of the event
    kind            text        not null check (kind in ('succeeded', 'failed', 'expiry_soon')),
    aggregate_id    uuid        not null, -- the transaction, or the subscription that ends
    state           text        not null check (state in ('pending', 'sent', 'skipped', 'parked')),
    attempts        integer     not null default 0,
    next_attempt_at timestamptz not null, -- while it is being sent: when that sender counts as dead
    last_error      text        check (char_length(last_error) <= 300),
    created_at      timestamptz not null,
    finished_at     timestamptz,
    primary key (event_id, user_id)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

create index sent_mail_due on sent_mail (next_attempt_at) where state = 'pending';
create index sent_mail_parked on sent_mail (finished_at desc) where state = 'parked';

grant select, insert, update on sent_mail to offers_app;
