-- Callback URLs that single transactions brought along, with their queries. Events are kept for ever and have the
-- origin and the path alone; a query may hold a token, and is kept only as long as the callback may need it.
create table callback_urls (
    reference  text        primary key, -- REF-…, drawn for each try: of a repeat only the first one's is in the log
    url        text        not null check (char_length(url) <= 2048),
    created_at timestamptz not null
);

create index callback_urls_to_purge on callback_urls (created_at);

grant select, insert, delete on callback_urls to offers_app;
