//! The tables of the tree: tiles, and signed checkpoints.
//!
//! Queries are planned again each time: a plan made while a table was small would read the whole table.

use super::Error;
use crate::tree::{Hash, TILE_HASHES, Tile, TileId, Tiles};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{PgConnection, PgExecutor, PgPool, Row};

/// The lock under which the tree is written and signed; its class is that of the log's leaders.
const LOCK: (i32, i32) = (730_606, 1_000);

/// Reads the tree as it is stored.
#[derive(Clone, Debug)]
pub struct TreeStore {
    pub(super) pool: PgPool,
}

/// A checkpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    pub size: u64,
    pub root: Hash,
    /// The verifier key of its signature.
    pub key: String,
    /// The text that was signed, with the signature.
    pub note: String,
}

impl TreeStore {
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// For a tool, on one connection.
    #[must_use]
    pub fn at(connect: PgConnectOptions) -> Self {
        Self::new(PgPoolOptions::new().max_connections(1).connect_lazy_with(connect))
    }

    /// The number of records in the tree.
    pub async fn size(&self) -> Result<u64, Error> {
        Ok(size(&self.pool).await?)
    }

    /// Those of the tiles that are there.
    pub async fn tiles(&self, ids: impl IntoIterator<Item = TileId>) -> Result<Tiles, Error> {
        Ok(tiles(&self.pool, ids).await?)
    }

    /// The leaves of the records after the position `after`, at most `count`, as far as the tree has them.
    pub async fn leaves(&self, after: u64, count: usize) -> Result<Vec<Hash>, Error> {
        let end = after + count as u64;
        let indexes = after / TILE_HASHES as u64..=end.saturating_sub(1) / TILE_HASHES as u64;
        let ids: Vec<TileId> = indexes.map(|index| TileId { level: 0, index }).collect();
        let tiles = self.tiles(ids.iter().copied()).await?;
        let mut leaves = Vec::with_capacity(count + TILE_HASHES);
        for id in ids {
            let hashes = tiles.hashes(id);
            leaves.extend_from_slice(hashes);
            if hashes.len() < TILE_HASHES {
                break;
            }
        }
        let first = usize::try_from(after % TILE_HASHES as u64).expect("below 256");
        Ok(leaves.into_iter().skip(first).take(count).collect())
    }

    /// At most `limit` checkpoints that `key` has signed, evenly among all, the newest one too.
    pub async fn sample(&self, key: &str, limit: i64) -> Result<Vec<StoredCheckpoint>, Error> {
        let query = sqlx::query(
            "select size, key, root, note from ( \
                 select size, key, root, note, row_number() over (order by size desc) - 1 as number, \
                     count(*) over () as count \
                 from checkpoints where key = $1) as numbered \
             where number % greatest(1, (count + $2 - 1) / $2) = 0 order by size",
        );
        let rows = query.bind(key).bind(limit).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(checkpoint).collect::<Result<_, _>>()?)
    }

    /// The largest checkpoint; of several of one size the one that was signed last.
    pub async fn newest(&self) -> Result<Option<StoredCheckpoint>, Error> {
        Ok(newest(&self.pool).await?)
    }

    /// The checkpoint of `size` that was signed last.
    pub async fn of_size(&self, size: u64) -> Result<Option<StoredCheckpoint>, Error> {
        let query = sqlx::query(
            "select size, key, root, note from checkpoints where size = $1 order by signed_at desc limit 1",
        );
        let row = query.bind(to_i64(size)).persistent(false).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(checkpoint).transpose()?)
    }

    /// At most `limit` checkpoints that are larger than `size`, the smallest first.
    pub async fn after(&self, size: u64, limit: i64) -> Result<Vec<StoredCheckpoint>, Error> {
        let query = sqlx::query(
            "select size, key, root, note from checkpoints where size > $1 order by size, key limit $2",
        );
        let rows = query.bind(to_i64(size)).bind(limit).persistent(false).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(checkpoint).collect::<Result<_, _>>()?)
    }
}

/// Keeps every other writer of the tree out until the end of the transaction.
pub(super) async fn lock(transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
    let lock = sqlx::query("select pg_advisory_xact_lock($1, $2)").bind(LOCK.0).bind(LOCK.1);
    lock.execute(transaction).await?;
    Ok(())
}

pub(super) async fn size(executor: impl PgExecutor<'_>) -> Result<u64, sqlx::Error> {
    let last = sqlx::query_as::<_, (i64, i32)>(
        "select index, octet_length(hashes) from tree_tiles where level = 0 order by index desc limit 1",
    );
    let last = last.persistent(false).fetch_optional(executor).await?;
    let Some((index, bytes)) = last else { return Ok(0) };
    let hashes = usize::try_from(bytes).unwrap_or_default() / Hash::BYTES;
    Ok(index.unsigned_abs() * TILE_HASHES as u64 + hashes as u64)
}

pub(super) async fn tiles(
    executor: impl PgExecutor<'_>,
    ids: impl IntoIterator<Item = TileId>,
) -> Result<Tiles, sqlx::Error> {
    let (levels, indexes): (Vec<i16>, Vec<i64>) =
        ids.into_iter().map(|id| (i16::from(id.level), to_i64(id.index))).unzip();
    let query = sqlx::query(
        "select level, index, hashes from tree_tiles \
         where (level, index) in (select * from unnest($1::smallint[], $2::bigint[]))",
    );
    let rows = query.bind(levels).bind(indexes).persistent(false).fetch_all(executor).await?;
    rows.iter().map(tile).collect()
}

/// Stores tiles that have grown or are new.
pub(super) async fn write_tiles(
    transaction: &mut PgConnection,
    tiles: impl Iterator<Item = Tile>,
) -> Result<(), sqlx::Error> {
    let (mut levels, mut indexes, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for tile in tiles {
        levels.push(i16::from(tile.id.level));
        indexes.push(to_i64(tile.id.index));
        hashes.push(tile.bytes());
    }
    let query = sqlx::query(
        "insert into tree_tiles (level, index, hashes) \
         select * from unnest($1::smallint[], $2::bigint[], $3::bytea[]) \
         on conflict (level, index) do update set hashes = excluded.hashes \
         where tree_tiles.hashes <> excluded.hashes",
    );
    query.bind(levels).bind(indexes).bind(hashes).execute(transaction).await?;
    Ok(())
}

pub(super) async fn newest(executor: impl PgExecutor<'_>) -> Result<Option<StoredCheckpoint>, sqlx::Error> {
    let query = sqlx::query(
        "select size, key, root, note from checkpoints order by size desc, signed_at desc limit 1",
    );
    let row = query.persistent(false).fetch_optional(executor).await?;
    row.as_ref().map(checkpoint).transpose()
}

/// False if there is one of this size by this key.
pub(super) async fn insert(
    transaction: &mut PgConnection,
    checkpoint: &StoredCheckpoint,
) -> Result<bool, sqlx::Error> {
    let StoredCheckpoint { size, root, key, note } = checkpoint;
    let query = sqlx::query(
        "insert into checkpoints (size, key, root, note) values ($1, $2, $3, $4) on conflict do nothing",
    );
    let query = query.bind(to_i64(*size)).bind(key).bind(root.0.as_slice()).bind(note);
    Ok(query.execute(transaction).await?.rows_affected() == 1)
}

fn tile(row: &PgRow) -> Result<Tile, sqlx::Error> {
    let level: i16 = row.try_get("level")?;
    let index: i64 = row.try_get("index")?;
    let id = TileId { level: u8::try_from(level).unwrap_or(u8::MAX), index: index.unsigned_abs() };
    let read = Tile::from_bytes(id, row.try_get("hashes")?);
    read.ok_or_else(|| sqlx::Error::Decode("these are no hashes".into()))
}

fn checkpoint(row: &PgRow) -> Result<StoredCheckpoint, sqlx::Error> {
    let size: i64 = row.try_get("size")?;
    let root: &[u8] = row.try_get("root")?;
    let root = root.try_into().map(Hash).map_err(|cause| sqlx::Error::Decode(Box::new(cause)))?;
    Ok(StoredCheckpoint {
        size: size.unsigned_abs(),
        root,
        key: row.try_get("key")?,
        note: row.try_get("note")?,
    })
}

/// Positions, sizes and indexes fit: PostgreSQL counts them as such.
fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
