-- What auditors filter by, found without reading the history. Only what is rare has an entry: three in four events are
-- a purchase's usual steps, written by the processors, and such an event is found by reading on. So an index costs the
-- append little.
--
-- A query repeats the predicate, word for word (src/event_log/search.rs).

create index events_by_rare_type on events (event_type, position)
    where event_type not in ('ActivationRequested', 'Processing', 'Succeeded', 'Activated');

create index events_by_actor on events ((metadata ->> 'actor'), position)
    where metadata ->> 'actor' <> 'system:activation';
