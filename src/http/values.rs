//! What the bodies of answers are made of: ids, money, moments, statuses, each with its schema.

use crate::identity::{self, KeyId, Roles};
use domain::{AccountId, OfferId, PartnerId, SubscriptionId, Timestamp, TransactionId, UserId, transaction};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// A UUID in its usual form; version 7, or 5 where it is derived.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(
    value_type = String,
    format = "uuid",
    pattern = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
    example = "0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11"
)]
pub(crate) struct Id(Uuid);

impl From<Uuid> for Id {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

macro_rules! ids {
    ($($id:ty),* $(,)?) => {$(
        impl From<$id> for Id {
            fn from(id: $id) -> Self {
                Self(id.0)
            }
        }
    )*};
}

ids!(AccountId, KeyId, OfferId, PartnerId, SubscriptionId, TransactionId, UserId);

/// An amount of the installation's one currency: digits, a point and two digits. Never a JSON number.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(value_type = String, pattern = r"^[0-9]{1,16}\.[0-9]{2}$", example = "19.99")]
pub(crate) struct Money(domain::Money);

impl From<domain::Money> for Money {
    fn from(money: domain::Money) -> Self {
        Self(money)
    }
}

/// The same with a sign: less than nothing leaves an account.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(value_type = String, pattern = r"^-?[0-9]{1,16}\.[0-9]{2}$", example = "-19.99")]
pub(crate) struct SignedMoney(domain::Money);

impl From<domain::Money> for SignedMoney {
    fn from(money: domain::Money) -> Self {
        Self(money)
    }
}

/// A moment: RFC 3339 in UTC with `Z` and six fractional digits.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(
    value_type = String,
    format = "date-time",
    pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
    example = "2026-11-22T08:30:00.123456Z"
)]
pub(crate) struct Time(Timestamp);

impl<T: Into<Timestamp>> From<T> for Time {
    fn from(time: T) -> Self {
        Self(time.into())
    }
}

/// The currency of the installation, ISO 4217.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(pattern = "^[A-Z]{3}$", example = "EUR")]
pub(crate) struct Currency(pub(crate) String);

/// A place in the log: 1 for the first event, no gaps.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(value_type = u64, minimum = 1, example = 42)]
pub(crate) struct Position(pub(crate) i64);

/// The status of a transaction; it only ever moves forward. SUCCESS and FAILED are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, strum::EnumString, strum::VariantNames)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
    Pending,
    Processing,
    Success,
    Failed,
}

impl From<transaction::Status> for Status {
    fn from(status: transaction::Status) -> Self {
        use transaction::Status as S;
        match status {
            S::Pending => Self::Pending,
            S::Processing => Self::Processing,
            S::Success => Self::Success,
            S::Failed => Self::Failed,
        }
    }
}

impl From<Status> for transaction::Status {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Processing => Self::Processing,
            Status::Success => Self::Success,
            Status::Failed => Self::Failed,
        }
    }
}

/// A role of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    User,
    Admin,
    Auditor,
}

impl Role {
    /// Those of `roles`, in a fixed order.
    pub(crate) fn all_of(roles: &Roles) -> Vec<Self> {
        let all = [
            (identity::Role::User, Self::User),
            (identity::Role::Admin, Self::Admin),
            (identity::Role::Auditor, Self::Auditor),
        ];
        all.into_iter().filter(|(role, _)| roles.has(*role)).map(|(_, shown)| shown).collect()
    }
}

/// How a transaction came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, strum::EnumString, strum::VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Kind {
    Activation,
    Renewal,
    Partner,
}

impl From<transaction::Kind> for Kind {
    fn from(kind: transaction::Kind) -> Self {
        use transaction::Kind as K;
        match kind {
            K::Activation => Self::Activation,
            K::Renewal => Self::Renewal,
            K::Partner => Self::Partner,
        }
    }
}

impl From<Kind> for transaction::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Activation => Self::Activation,
            Kind::Renewal => Self::Renewal,
            Kind::Partner => Self::Partner,
        }
    }
}

/// The members of `T`, then those of `M`: `TransactionWithHistory`. An operation names it by an alias.
///
/// Both are objects without further members; `allOf`, which a flattened field would become, cannot say
/// that of two schemas at once.
#[derive(Serialize)]
pub(crate) struct With<T, M> {
    #[serde(flatten)]
    pub(crate) base: T,
    #[serde(flatten)]
    pub(crate) more: M,
}

impl<T: PartialSchema, M: PartialSchema> PartialSchema for With<T, M> {
    fn schema() -> RefOr<Schema> {
        let (RefOr::T(Schema::Object(mut all)), RefOr::T(Schema::Object(more))) = (T::schema(), M::schema())
        else {
            return T::schema();
        };
        all.properties.extend(more.properties);
        all.required.extend(more.required);
        all.description = more.description;
        RefOr::T(Schema::Object(all))
    }
}

impl<T: ToSchema, M: ToSchema> ToSchema for With<T, M> {
    fn name() -> Cow<'static, str> {
        format!("{}With{}", T::name(), M::name()).into()
    }

    fn schemas(named: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(named);
        M::schemas(named);
    }
}
