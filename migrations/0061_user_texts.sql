-- The forms in which users are compared and searched. The program computes them, because what PostgreSQL makes of a
-- text depends on the database's locale. `offers migrate` fills them in for the rows that exist.

alter table users
    -- Unique without regard to case. Null: before this was compared, another user had a name that folds to the same
    -- (that name is listed in user_findings, and must be typed exactly as it is stored).
    add column username_folded text collate "C" check (username_folded <> ''),
    -- Username, mail address and names, folded: what `?q=` looks into.
    add column search_text     text collate "C" not null default '',
    -- Which rules the texts of the row have last been written by; 0: those before this migration.
    add column text_rules      smallint not null default 0;

-- A process of the version before changes a text and knows no search text: `offers migrate` brings the row up again.
create function note_old_texts() returns trigger language plpgsql as $$
begin
    new.text_rules := 0;
    return new;
end
$$;

create trigger note_old_texts before update on users for each row
    when ((new.username, new.email, new.first_name, new.last_name)
              is distinct from (old.username, old.email, old.first_name, old.last_name)
          and new.search_text = old.search_text and new.text_rules = old.text_rules)
    execute function note_old_texts();

create unique index users_by_folded_name on users (username_folded);

-- What `offers migrate` could not bring under the rules of today, for a person to look at.
create table user_findings (
    user_id  uuid not null references users (id),
    finding  text not null check (finding in ('name_collides', 'name_unfit', 'mail_unusable')),
    found_at timestamptz not null,
    primary key (user_id, finding)
);

grant select, delete on user_findings to offers_app; -- another mail address settles the finding
