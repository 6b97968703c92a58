//! The caller of a request, and what it may do.

use super::error::{Error, FieldError};
use domain::{PartnerId, UserId};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::BTreeSet;
use std::fmt;
use strum::{EnumString, IntoStaticStr, VariantNames};
use uuid::Uuid;

/// Someone whose credentials were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A person with an access token.
    User {
        /// Also the id of their account.
        id: UserId,
        /// As of the token, which is refused within a second of a change.
        roles: Roles,
        /// The login that the token belongs to.
        session: SessionId,
    },
    /// A system with an API key.
    Partner {
        /// Also the id of its float account.
        id: PartnerId,
        /// Which of its keys it used.
        key: KeyId,
    },
}

impl Caller {
    /// May change users, offers, partners and money.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::User { roles, .. } if roles.has(Role::Admin))
    }

    /// May buy: for itself, or as a partner for others.
    #[must_use]
    pub fn may_buy(&self) -> bool {
        match self {
            Self::User { roles, .. } => roles.has(Role::User),
            Self::Partner { .. } => true,
        }
    }

    /// May read the whole history.
    #[must_use]
    pub fn may_audit(&self) -> bool {
        self.is_admin() || matches!(self, Self::User { roles, .. } if roles.has(Role::Auditor))
    }

    /// The account that this caller pays from, and the owner of its idempotency keys: no two callers
    /// share one, whatever kind they are.
    #[must_use]
    pub fn id(&self) -> Uuid {
        match self {
            Self::User { id, .. } => id.0,
            Self::Partner { id, .. } => id.0,
        }
    }

    /// How events and the audit log name this caller.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self {
            Self::User { id, .. } => Actor::user(*id),
            Self::Partner { id, .. } => Actor::named(format!("partner:{id}")),
        }
    }
}

/// Who did something, `user:<id>`, `partner:<id>` or `system:<name>`, and maybe why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    reason: Option<String>,
}

impl Actor {
    fn named(name: String) -> Self {
        Self { name, reason: None }
    }

    /// A person who acts for themselves.
    pub(super) fn user(id: UserId) -> Self {
        Self::named(format!("user:{id}"))
    }

    /// A part of the product that acts by itself, such as the loader of the demo data.
    #[must_use]
    pub fn system(name: &'static str) -> Self {
        Self::named(format!("system:{name}"))
    }

    /// The same, with a reason in that person's words; it is kept with what is done.
    #[must_use]
    pub fn because(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }

    /// The text that is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// One login, from its first access token to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

impl From<Uuid> for SessionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

/// One API key of a partner. Not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Uuid);

impl From<Uuid> for KeyId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a user may do beyond looking at the catalogue.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    IntoStaticStr,
    EnumString,
    VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Role {
    User,
    /// Changes users, offers, partners and money.
    Admin,
    Auditor,
}

/// The roles of one user, each once, in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// The roles named; naming one twice is once.
    ///
    /// # Errors
    /// `Invalid` for a name that is no role, or for no name at all.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let parsed: Result<BTreeSet<Role>, _> = names.into_iter().map(str::parse).collect();
        match parsed {
            Ok(roles) if !roles.is_empty() => Ok(Self(roles)),
            _ => {
                let message = format!("must be one or more of {}", Role::VARIANTS.join(", "));
                Err(Error::Invalid(vec![FieldError { field: "roles", message }]))
            }
        }
    }

    /// Whether `role` is among them.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Their names, as a response shows them.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(Role::into_str)
    }

    pub(super) fn stored(&self) -> Vec<&'static str> {
        self.names().collect()
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self(BTreeSet::from([Role::User]))
    }
}

impl Roles {
    /// Reads them from the column `roles`.
    pub(super) fn from_column(row: &PgRow) -> Result<Self, sqlx::Error> {
        Self::from_names(row.try_get("roles")?).map_err(|error| sqlx::Error::Decode(error.into()))
    }

    pub(super) fn from_names(names: Vec<String>) -> Result<Self, Error> {
        Self::parse(names.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(roles: &[&str]) -> Caller {
        Caller::User {
            id: UserId(Uuid::nil()),
            roles: Roles::parse(roles.iter().copied()).expect("roles"),
            session: SessionId(Uuid::nil()),
        }
    }

    #[test]
    fn admins_may_audit_and_auditors_may_not_administer() {
        assert!(user(&["admin"]).is_admin() && user(&["admin"]).may_audit());
        assert!(!user(&["auditor", "user"]).is_admin() && user(&["auditor"]).may_audit());
        assert!(!user(&["user"]).is_admin() && !user(&["user"]).may_audit());
        let partner = Caller::Partner { id: PartnerId(Uuid::nil()), key: KeyId(Uuid::nil()) };
        assert!(!partner.is_admin() && !partner.may_audit());
    }

    #[test]
    fn an_auditor_or_admin_may_buy_only_with_the_role_user() {
        assert!(user(&["user"]).may_buy() && user(&["auditor", "user"]).may_buy());
        assert!(!user(&["auditor"]).may_buy() && !user(&["admin"]).may_buy());
    }

    #[test]
    fn a_caller_is_named_by_kind_and_id() {
        assert_eq!(user(&["user"]).actor().as_str(), "user:00000000-0000-0000-0000-000000000000");
        assert_eq!(Actor::system("demo").as_str(), "system:demo");
    }

    #[test]
    fn unknown_roles_and_no_roles_are_refused() {
        assert!(Roles::parse(["root"]).is_err());
        assert!(Roles::parse(["Admin"]).is_err());
        assert!(Roles::parse([]).is_err());
        let twice = Roles::parse(["user", "admin", "user"]).expect("known roles");
        assert_eq!(twice.stored(), ["user", "admin"]);
    }
}
