-- Our references for partners (`REF-…`) are unique, and one finds its purchase as soon as it was told.
-- They are drawn at random; should one ever be drawn twice, the second commit is refused as a whole and
-- the caller's repeat draws another.

create unique index events_by_reference on events ((payload ->> 'reference'))
    where aggregate_type = 'Transaction' and event_type = 'ActivationRequested'
        and payload ->> 'reference' is not null;
