//! Finds the events that an auditor asks for, by index: a rare one in a long history costs milliseconds.

use super::read::{COLUMNS, recorded};
use super::{EventLog, LogError};
use crate::postgres::Answered;
use chrono::DateTime;
use cqrs_es::Aggregate;
use domain::account::Account;
use domain::offer::Offer;
use domain::transaction::Transaction;
use domain::user_offer::UserOffer;
use domain::{Recorded, Timestamp};
use sqlx::{Executor, Postgres, QueryBuilder};
use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::LazyLock;
use uuid::Uuid;

/// The event types that are too frequent for the index `events_by_rare_type`.
const COMMON_TYPES: [&str; 4] = ["ActivationRequested", "Processing", "Succeeded", "Activated"];
const IS_RARE_TYPE: &str =
    "event_type not in ('ActivationRequested', 'Processing', 'Succeeded', 'Activated')";
/// The actor that is too frequent for the index `events_by_rare_actor`.
const COMMON_ACTOR: &str = "system:activation";
const IS_RARE_ACTOR: &str = r#"strpos(metadata::text, '"actor":"system:activation"') = 0"#;
const ACTOR: &str = "(metadata ->> 'actor')";
const AGGREGATES: [&str; 4] = [Transaction::TYPE, UserOffer::TYPE, Offer::TYPE, Account::TYPE];

/// What is found is taken from an index in its order, so that a page costs a page: the planner expects few events of a
/// type, and would fetch and sort millions.
const IN_ORDER_OF_AN_INDEX: &str = "set local enable_seqscan = off; set local enable_bitmapscan = off; \
                                    set local enable_sort = off; set local jit = off";

/// Which events an auditor asks for; an absent member means all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Such as `Transaction`.
    pub aggregate_type: Option<String>,
    pub aggregate_id: Option<String>,
    /// Such as `Succeeded`.
    pub event_type: Option<String>,
    /// Such as `user:<id>`.
    pub actor: Option<String>,
}

impl Filter {
    /// True when every event fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { aggregate_type, aggregate_id, event_type, actor } = self;
        [aggregate_type, aggregate_id, event_type, actor].iter().all(|member| member.is_none())
    }

    fn is_of_rare_type(&self) -> bool {
        self.event_type.as_deref().is_some_and(|name| !COMMON_TYPES.contains(&name))
    }

    fn is_of_rare_actor(&self) -> bool {
        self.actor.as_deref().is_some_and(|name| name != COMMON_ACTOR)
    }
}

/// A place in the log, as people name it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    Position(i64),
    Time(Timestamp),
}

impl FromStr for At {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(position) if digits => Ok(Self::Position(position)),
            _ => text
                .parse()
                .map(Self::Time)
                .map_err(|_| "must be a position or a time like 2026-11-22T08:30:00Z"),
        }
    }
}

/// A part of the log: the events after the first position, up to and including the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub after: i64,
    pub up_to: i64,
}

impl Span {
    /// All that there is and will be.
    pub const ALL: Self = Self { after: 0, up_to: i64::MAX };
}

/// How long after the time in an id its event was recorded at most, in seconds.
const RECORDED_WITHIN_S: i64 = 60;
/// Events from the time in an id on that are looked through for it.
const EVENTS_NEAR_AN_ID: i64 = 20_000;

impl EventLog {
    /// The event with this id. One that is derived (UUIDv5) is in an index; a new one (version 7) has the time of its making, and
    /// is recorded soon after.
    pub async fn find_event(&self, event_id: Uuid) -> Result<Option<Recorded>, LogError> {
        if event_id.get_version_num() == 5 {
            return self.find_derived(event_id).await;
        }
        let Some(made_at) = time_of(event_id) else { return Ok(None) };
        let latest = made_at.utc().checked_add_signed(chrono::Duration::seconds(RECORDED_WITHIN_S));
        let latest = latest.map(|latest| At::Time(latest.into()));
        let Span { after, up_to } = self.span(Some(At::Time(made_at)), latest).await?;
        let query = format!(
            "select {COLUMNS} from events where position > $1 and position <= $2 and event_id = $3 order by position limit 1"
        );
        let up_to = up_to.min(after.saturating_add(EVENTS_NEAR_AN_ID));
        // Planned again each time: a plan made while the table was small would read the whole table.
        let query = sqlx::query(&query).bind(after).bind(up_to).bind(event_id).persistent(false);
        let row = query.fetch_optional(&self.0.pool).answered().await?;
        row.as_ref().map(recorded).transpose()
    }

    /// The events from `from` on (recorded then or later), up to the position `to` or recorded before the time `to`.
    ///
    /// # Errors
    /// `Unavailable`; `Broken` when a position is missing.
    pub async fn span(&self, from: Option<At>, to: Option<At>) -> Result<Span, LogError> {
        let after = match from {
            None => Span::ALL.after,
            Some(At::Position(position)) => position.saturating_sub(1).max(0),
            Some(At::Time(moment)) => self.position_before(moment).await?,
        };
        let up_to = match to {
            None => Span::ALL.up_to,
            Some(At::Position(position)) => position,
            Some(At::Time(moment)) => self.position_before(moment).await?,
        };
        Ok(Span { after, up_to })
    }

    /// The position of the last event that was recorded before `moment`.
    async fn position_before(&self, moment: Timestamp) -> Result<i64, LogError> {
        let microsecond = chrono::Duration::microseconds(1);
        match moment.utc().checked_sub_signed(microsecond).map(Timestamp::new) {
            Some(before) if before < moment => self.position_at(before).await,
            _ => Ok(0), // nothing can be before the first moment that there is
        }
    }

    /// The events of `span` that fit `filter`, in order, at most `limit`.
    pub async fn search(&self, filter: &Filter, span: Span, limit: i64) -> Result<Vec<Recorded>, LogError> {
        let Some(mut query) = query(filter, span, limit) else { return Ok(Vec::new()) };
        let mut sql = self.0.pool.begin().await?;
        sql.execute(IN_ORDER_OF_AN_INDEX).await?;
        // Planned again each time: the parameters decide which index serves.
        let rows = query.build().persistent(false).fetch_all(&mut *sql).await?;
        sql.commit().await?;
        rows.iter().map(recorded).collect()
    }
}

/// The time in an id of version 7, to the millisecond.
fn time_of(id: Uuid) -> Option<Timestamp> {
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(seconds.try_into().ok()?, nanoseconds).map(Timestamp::new)
}

/// `None` if nothing can fit.
fn query(filter: &Filter, span: Span, limit: i64) -> Option<QueryBuilder<'_, Postgres>> {
    let mut query = QueryBuilder::new(format!("select {COLUMNS} from "));
    if let Some(id) = &filter.aggregate_id {
        // A stream is short: all of it, by the index of the streams.
        let types = filter.aggregate_type.as_deref();
        let types: Vec<&str> = types.map_or(AGGREGATES.to_vec(), |only| vec![only]);
        query.push("(select * from events where aggregate_type = any(").push_bind(types);
        query.push(") and aggregate_id = ").push_bind(id).push(" offset 0) as events");
        push_filters(query.push(" where true"), filter);
        push_span(&mut query, span, limit);
    } else if filter.is_of_rare_type() {
        query.push(format!("events where {IS_RARE_TYPE}"));
        push_filters(&mut query, filter);
        push_indexed_span(&mut query, "event_type", filter.event_type.as_deref()?, span, limit);
    } else if filter.is_of_rare_actor() {
        query.push(format!("events where {IS_RARE_ACTOR}"));
        push_filters(&mut query, filter);
        push_indexed_span(&mut query, ACTOR, filter.actor.as_deref()?, span, limit);
    } else if let Some(types) = filter.aggregate_type.as_deref().and_then(rare_types) {
        for (number, name) in types.iter().copied().enumerate() {
            query.push(if number == 0 { "(" } else { " union all " });
            query.push(format!("(select * from events where {IS_RARE_TYPE}"));
            push_filters(&mut query, filter);
            push_indexed_span(&mut query, "event_type", name, span, limit);
            query.push(")");
        }
        query.push(") as events order by position limit ").push_bind(limit);
    } else {
        push_filters(query.push("events where true"), filter);
        push_span(&mut query, span, limit);
    }
    can_fit(filter).then_some(query)
}

/// The event types of an aggregate of which none is common.
fn rare_types(aggregate_type: &str) -> Option<&'static [&'static str]> {
    match aggregate_type {
        Offer::TYPE => Some(&["Created", "Changed", "Deactivated", "Reactivated"]),
        Account::TYPE => Some(&["Opened", "Credited", "Debited"]),
        _ => None,
    }
}

/// False if no aggregate of the type has such events: otherwise all of the log would be read to find none.
fn can_fit(filter: &Filter) -> bool {
    let (Some(aggregate), Some(name)) = (&filter.aggregate_type, &filter.event_type) else { return true };
    TYPES.contains(&(aggregate.clone(), name.clone()))
}

/// Every pair of an aggregate type and an event type.
static TYPES: LazyLock<BTreeSet<(String, String)>> = LazyLock::new(|| {
    let known = domain::schema::events().into_iter();
    known.map(|event| (event.aggregate_type.to_owned(), event.event_type)).collect()
});

fn push_filters<'a>(query: &mut QueryBuilder<'a, Postgres>, filter: &'a Filter) {
    let members = [
        ("aggregate_type", &filter.aggregate_type),
        ("event_type", &filter.event_type),
        (ACTOR, &filter.actor),
    ];
    for (column, value) in members {
        if let Some(value) = value {
            query.push(format!(" and {column} = ")).push_bind(value);
        }
    }
}

fn push_span(query: &mut QueryBuilder<'_, Postgres>, span: Span, limit: i64) {
    query.push(" and position > ").push_bind(span.after);
    query.push(" and position <= ").push_bind(span.up_to);
    query.push(" order by position limit ").push_bind(limit);
}

/// A range of the index on `(column, position)`. By the order of both no other index can serve, whatever the
/// planner expects: it would take the primary key when it believes that such events are frequent.
fn push_indexed_span<'a>(
    query: &mut QueryBuilder<'a, Postgres>,
    column: &str,
    value: &'a str,
    span: Span,
    limit: i64,
) {
    query.push(format!(" and ({column}, position) > (")).push_bind(value);
    query.push(", ").push_bind(span.after).push(")");
    query.push(format!(" and ({column}, position) <= (")).push_bind(value);
    query.push(", ").push_bind(span.up_to).push(")");
    query.push(format!(" order by {column}, position limit ")).push_bind(limit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_types_that_no_index_has_are_those_that_its_predicate_names() {
        for name in COMMON_TYPES {
            assert!(IS_RARE_TYPE.contains(&format!("'{name}'")), "{name}");
        }
        assert!(IS_RARE_ACTOR.contains(COMMON_ACTOR));
        assert!(include_str!("../../migrations/0082_audit_filters.sql").contains(IS_RARE_TYPE));
        assert!(include_str!("../../migrations/0093_cheaper_indexes.sql").contains(IS_RARE_ACTOR));
    }

    #[test]
    fn an_aggregate_without_a_common_event_is_found_by_all_its_types() {
        for aggregate in AGGREGATES {
            let of_it = TYPES.iter().filter(|(known, _)| *known == aggregate);
            let types: BTreeSet<_> = of_it.map(|(_, event)| event.clone()).collect();
            let has_common = types.iter().any(|name| COMMON_TYPES.contains(&name.as_str()));
            let rare = rare_types(aggregate);
            assert_eq!(rare.is_none(), has_common, "{aggregate}");
            if let Some(rare) = rare {
                assert_eq!(rare.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), types);
            }
        }
    }

    #[test]
    fn a_place_is_a_position_or_a_time() {
        assert_eq!("17".parse(), Ok(At::Position(17)));
        let moment = "2026-11-22T08:30:00Z";
        assert_eq!(moment.parse(), Ok(At::Time(moment.parse().unwrap())));
        for wrong in ["", "+1", "-1", "tomorrow", "2026-11-22", "99999999999999999999"] {
            assert!(wrong.parse::<At>().is_err(), "{wrong}");
        }
    }
}
