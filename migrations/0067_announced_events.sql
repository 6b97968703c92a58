-- Which event the checkpoints of callbacks and mail are at, and when it was recorded. A position alone also fits another
-- history: a log that was restored from an older copy and has grown again. There the time says what is new. Null where the log
-- has no such event.

alter table callback_checkpoint add column event_id uuid, add column recorded_at timestamptz;
alter table mail_checkpoint add column event_id uuid, add column recorded_at timestamptz;
grant insert on callback_checkpoint to offers_app; -- as for mail: a checkpoint that was lost is set again

-- By a trigger, so that it also holds for the processes of the version before.
create function name_announced_event() returns trigger language plpgsql as $$
begin
    select event_id, recorded_at into new.event_id, new.recorded_at
    from public.events where position = new.position;
    return new;
end
$$;

create trigger names_event before insert or update of position on callback_checkpoint for each row
    execute function name_announced_event();
create trigger names_event before insert or update of position on mail_checkpoint for each row
    execute function name_announced_event();

update callback_checkpoint set position = position;
update mail_checkpoint set position = position;
