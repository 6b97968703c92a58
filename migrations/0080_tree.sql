-- The Merkle tree over the record lines (RFC 6962), in tiles of 256 hashes (C2SP tlog-tiles, height 8), and its signed
-- checkpoints. Both only grow, like the log.

create table tree_tiles (
    level  smallint not null check (level >= 0),  -- the nodes of a tile have the height 8 * level
    index  bigint   not null check (index >= 0),
    hashes bytea    not null check (octet_length(hashes) % 32 = 0 and octet_length(hashes) between 32 and 8192),
    primary key (level, index)
);

-- Hashes cannot be compressed.
alter table tree_tiles alter column hashes set storage external;

create table checkpoints (
    size      bigint      not null check (size > 0),
    key       text        not null,  -- of the signature: <origin>+<hash>+<base64>
    root      bytea       not null check (octet_length(root) = 32),
    note      text        not null,  -- C2SP tlog-checkpoint, as it was signed
    signed_at timestamptz not null default now(),
    primary key (size, key)
);

create function refuse_to_change_hashes() returns trigger language plpgsql as $$
begin
    if (new.level, new.index) <> (old.level, old.index)
        or substring(new.hashes from 1 for octet_length(old.hashes)) <> old.hashes
    then
        raise exception 'a hash of the tree is never changed: % on % is refused', tg_op, tg_table_name;
    end if;
    return new;
end
$$;

create trigger tiles_only_grow before update on tree_tiles
    for each row execute function refuse_to_change_hashes();
create trigger tiles_are_not_deleted before delete or truncate on tree_tiles
    for each statement execute function refuse_to_change_history();
create trigger checkpoints_are_append_only before update or delete or truncate on checkpoints
    for each statement execute function refuse_to_change_history();

grant select, insert, update (hashes) on tree_tiles to offers_app;
grant select, insert on checkpoints to offers_app;
