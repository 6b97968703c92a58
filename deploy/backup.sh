#!/bin/sh
# Backs up and restores the PostgreSQL of an installation: base backups, and every byte of WAL as it is written.
# docs/backup.md is the guide; `backup.sh help` the summary.
set -eu

usage() {
    cat <<'END'
backup.sh wal               receives WAL into BACKUP_DIR/wal, until it is ended; to be run all the time
backup.sh base              takes a base backup into BACKUP_DIR/base, and verifies it
backup.sh list              base backups, and up to where their WAL is there
backup.sh prune COUNT       keeps the newest COUNT base backups, and the WAL from the oldest of them on
backup.sh restore DIR       makes DIR a data directory: the newest base backup and all WAL
backup.sh restore DIR TIME  the same up to TIME, such as '2026-11-22 08:30:00+00'
backup.sh rehearse DIR      restores into DIR, starts it there, runs `offers check` and `offers verify`, and removes it

BACKUP_DIR                  where backups are; not on the machine of PostgreSQL
PGHOST, PGPORT, PGUSER, PGPASSFILE, …   how PostgreSQL is reached, as a role with REPLICATION
BACKUP_SLOT=offers_wal      the replication slot, and the name for synchronous_standby_names
POSTGRES_BIN                where PostgreSQL's programs are, if not on the PATH
OFFERS=offers               the program, for rehearse
END
}

die() {
    printf 'backup.sh: %s\n' "$*" >&2
    exit 2
}

say() { printf '%s\n' "$*" >&2; }

[ -z "${POSTGRES_BIN:-}" ] || PATH=$POSTGRES_BIN:$PATH
slot=${BACKUP_SLOT:-offers_wal}

need() {
    for program in "$@"; do
        command -v "$program" >/dev/null 2>&1 ||
            die "$program is not on the PATH (Debian has it in /usr/lib/postgresql/*/bin; set POSTGRES_BIN)"
    done
}

# The directory becomes part of a command that PostgreSQL gives to a shell.
directory() {
    [ -n "${BACKUP_DIR:-}" ] || die "set BACKUP_DIR"
    case $BACKUP_DIR in
    *[!A-Za-z0-9._/+-]*) die "BACKUP_DIR may have letters, digits and ._/+- only" ;;
    /*) ;;
    *) die "BACKUP_DIR must be an absolute path" ;;
    esac
    [ "$1" = existing ] || (umask 077 && mkdir -p "$BACKUP_DIR/wal" "$BACKUP_DIR/base")
    [ ! -e "$BACKUP_DIR" ] || [ -x "$BACKUP_DIR" ] || die "$BACKUP_DIR belongs to another user: $(id -un) cannot read it"
    [ -d "$BACKUP_DIR/base" ] || die "there is no backup in $BACKUP_DIR"
}

# Complete ones, oldest first: an interrupted one keeps the name ….part
bases() { find "$BACKUP_DIR/base" -mindepth 1 -maxdepth 1 -type d ! -name '*.part' | sort; }

# Flushes and reports each write at once, so that PostgreSQL may wait for it (synchronous_standby_names).
receive() {
    need pg_receivewal
    directory new
    export PGAPPNAME="$slot"
    pg_receivewal --create-slot --if-not-exists --slot "$slot"
    exec pg_receivewal --slot "$slot" --synchronous --directory "$BACKUP_DIR/wal"
}

base() {
    need pg_basebackup pg_verifybackup
    directory new
    name=$(date -u +%Y%m%dT%H%M%SZ)
    [ ! -e "$BACKUP_DIR/base/$name" ] || die "$BACKUP_DIR/base/$name exists"
    part=$BACKUP_DIR/base/$name.part
    rm -rf "$part"
    pg_basebackup --pgdata "$part" --wal-method stream --checkpoint fast --label "offers $name"
    pg_verifybackup --quiet "$part"
    mv "$part" "$BACKUP_DIR/base/$name"
    say "base backup $name"
}

list() {
    directory existing
    bases | while read -r found; do
        printf '%s  from WAL %s\n' "${found##*/}" "$(first_wal "$found")"
    done
    newest=$(find "$BACKUP_DIR/wal" -type f -name '????????????????????????*' | sed 's/.*\///' | sort | tail -n 1)
    [ -z "$newest" ] || printf 'WAL up to    %s, %s\n' "$newest" "$(date -u -r "$BACKUP_DIR/wal/$newest" +%Y-%m-%dT%H:%M:%SZ)"
}

# The first segment that a base backup needs.
first_wal() { sed -n 's/^START WAL LOCATION: .* (file \([0-9A-F]*\))$/\1/p' "$1/backup_label"; }

prune() {
    need pg_archivecleanup
    directory existing
    case ${1:-} in '' | *[!0-9]* | 0*) die "say how many base backups to keep, 1 or more" ;; esac
    count=$(bases | wc -l)
    [ "$count" -gt 0 ] || die "there is no base backup in $BACKUP_DIR"
    [ "$count" -le "$1" ] || bases | head -n "$((count - $1))" | while read -r old; do
        say "removing ${old##*/}"
        rm -rf "$old"
    done
    pg_archivecleanup "$BACKUP_DIR/wal" "$(first_wal "$(bases | head -n 1)")"
}

# The newest base backup that had ended before a time; the newest of all without one.
base_before() {
    limit=99999999T999999Z
    [ -z "${1:-}" ] || limit=$(date -u -d "$1" +%Y%m%dT%H%M%SZ) || die "cannot read the time $1"
    bases | while read -r found; do
        # Its files were written until then: no point before can be restored from it.
        ended=$(date -u -r "$found/backup_manifest" +%Y%m%dT%H%M%SZ)
        [ "$(printf '%s\n%s\n' "$ended" "$limit" | sort | head -n 1)" != "$ended" ] || printf '%s\n' "$found"
    done | tail -n 1
}

restore() {
    need pg_verifybackup
    directory existing
    target=${1:-}
    [ -n "$target" ] || die "say into which directory"
    [ ! -e "$target" ] || [ -z "$(ls -A "$target")" ] || die "$target is not empty"
    from=$(base_before "${2:-}")
    [ -n "$from" ] || die "no base backup in $BACKUP_DIR ended before ${2:-now}"
    say "restoring ${from##*/} into $target"
    pg_verifybackup --quiet "$from"
    mkdir -p "$target"
    cp -a "$from/." "$target/"
    chmod 700 "$target"
    rm -f "$target/backup_manifest"
    # The segment that was being received when PostgreSQL went away still has the name ….partial
    {
        printf "restore_command = 'f=%s/wal/%%f; test -f \"\$f\" || f=\$f.partial; cp \"\$f\" \"%%p\"'\n" "$BACKUP_DIR"
        printf "recovery_target_action = 'promote'\n"
        printf "recovery_target_timeline = 'latest'\n"
        printf "recovery_target_time = '%s'\n" "${2:-}"
    } >>"$target/postgresql.auto.conf"
    touch "$target/recovery.signal"
    say "start PostgreSQL on it: it reads the WAL from $BACKUP_DIR/wal and then takes writes"
}

# A socket in the directory and no port; everybody who can enter the directory is let in.
rehearse() {
    offers=${OFFERS:-offers}
    need pg_ctl psql "$offers"
    copy=${1:-}
    restore "$copy"
    trap 'pg_ctl stop -s -w -m immediate -D "$copy" || :; rm -rf "$copy"' EXIT
    trap 'exit 130' INT TERM
    printf 'local all all trust\n' >"$copy/rehearsal_hba.conf"
    [ -e "$copy/postgresql.conf" ] || : >"$copy/postgresql.conf" # Debian has it elsewhere
    pg_ctl start -s -w -t 86400 -D "$copy" -l "$copy/rehearsal.log" -o "-c listen_addresses= -c unix_socket_directories=$copy \
        -c hba_file=$copy/rehearsal_hba.conf -c synchronous_standby_names= -c archive_mode=off -c ssl=off -c logging_collector=off -c hot_standby=off" || not_restored
    until psql -XAtq -h "$copy" -U postgres -d postgres -c 'select 1' >/dev/null 2>&1; do
        pg_ctl status -D "$copy" >/dev/null || not_restored
        sleep 1
    done
    url="postgres://offers_app@localhost/${PGDATABASE:-offers}?host=$copy"
    psql -XAtq -h "$copy" -U postgres -d "${PGDATABASE:-offers}" \
        -c "select 'the newest event is ' || max(position) || ' of ' || max(recorded_at) from events"
    "$offers" check --database-url "$url"
    "$offers" verify --database-url "$url"
}

not_restored() {
    tail -n 20 "$copy/rehearsal.log" >&2
    die "the restored PostgreSQL does not start"
}

verb=${1:-help}
[ $# -eq 0 ] || shift
case $verb in
wal) receive ;;
base) base ;;
list) list ;;
prune) prune "$@" ;;
restore) restore "$@" ;;
rehearse) rehearse "$@" ;;
help | -h | --help) usage ;;
*) usage >&2; exit 2 ;;
esac
