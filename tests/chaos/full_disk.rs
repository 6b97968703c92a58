//! PostgreSQL as on a full disk: every table refuses rows, with the error of a file that cannot grow. Connections stay, and
//! reading goes on.
//!
//! A real full disk takes a file system of its own, which only root may mount.

use crate::support::eventually::eventually;
use crate::system::System;
use std::time::Duration;
use tokio::time::sleep;

/// For a lock, while the service reads and writes. Tried again.
const LOCK: &str = "set lock_timeout = '1s'";
const REFUSE: &str = "create or replace function full_disk() returns trigger language plpgsql as $$ begin
    raise exception using errcode = 'disk_full',
        message = 'could not extend file \"base/16384/16385\": No space left on device';
end $$";
const TABLES: &str =
    "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('public', 'read')";
const REFUSING: &str = "select tgrelid::regclass::text from pg_trigger where tgname = 'full_disk'";

/// Until it ends PostgreSQL takes nothing; afterwards both instances are ready again.
pub async fn happens(system: &System, lasts: Duration) {
    fill(system).await.unwrap_or_default(); // PostgreSQL may be down at that moment
    sleep(lasts).await;
    eventually("the disk has room again", async || empty(system).await.is_ok()).await;
    for number in 0..2 {
        system.ready(number).await;
    }
}

async fn fill(system: &System) -> sqlx::Result<()> {
    let mut owner = system.database.acquire().await?;
    for statement in [LOCK, REFUSE] {
        sqlx::query(statement).execute(&mut *owner).await?;
    }
    for table in sqlx::query_scalar::<_, String>(TABLES).fetch_all(&mut *owner).await? {
        let refuse = format!(
            "create trigger full_disk before insert or update on {table} for each statement execute function full_disk()"
        );
        sqlx::query(&refuse).execute(&mut *owner).await?;
    }
    Ok(())
}

async fn empty(system: &System) -> sqlx::Result<()> {
    let mut owner = system.database.acquire().await?;
    sqlx::query(LOCK).execute(&mut *owner).await?;
    for table in sqlx::query_scalar::<_, String>(REFUSING).fetch_all(&mut *owner).await? {
        sqlx::query(&format!("drop trigger full_disk on {table}")).execute(&mut *owner).await?;
    }
    sqlx::query("drop function if exists full_disk()").execute(&mut *owner).await?;
    Ok(())
}
