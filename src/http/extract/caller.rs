//! Who is calling, taken from the `Authorization` header before anything else is looked at.

use super::known::known_parameters_only;
use crate::http::Shared;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use crate::identity::{Actor, Caller, KeyId, SessionId};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use domain::{PartnerId, UserId};

/// The value of `Authorization`. A request with two of them has no credentials: which one counts must not
/// depend on who reads the headers, a proxy or we.
pub(crate) fn credentials(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    }
}

/// The caller as the rate limiter found it; a handler need not check the credentials again.
#[derive(Clone)]
pub(crate) struct Authenticated(pub(crate) Result<Caller, Problem>);

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        if let Some(Authenticated(caller)) = parts.extensions.get() {
            return caller.clone().map_err(|problem| with_hint(problem, &parts.headers));
        }
        let caller = app.identity.authenticate(credentials(&parts.headers), app.clock.now().utc()).await;
        caller.map_err(|error| with_hint(error.into(), &parts.headers))
    }
}

/// Tells a client that has credentials, but does not send them as we read them, how we do.
fn with_hint(problem: Problem, headers: &HeaderMap) -> Problem {
    let sends_some = headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key");
    if problem.code() != Code::NotAuthenticated || !sends_some {
        return problem;
    }
    let wanted = "Send one header `Authorization: Bearer <access token>`, or `Authorization: ApiKey <key>`";
    Problem::new(Code::NotAuthenticated, wanted)
}

/// A person acting for themselves; partners have doors of their own.
pub(crate) struct User {
    pub(crate) id: UserId,
    /// The login that the token belongs to.
    pub(crate) session: SessionId,
    /// As events name the caller.
    pub(crate) actor: String,
}

impl FromRequestParts<Shared> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        Self::of(&Caller::from_request_parts(parts, app).await?)
    }
}

impl User {
    fn of(caller: &Caller) -> Result<Self, Problem> {
        match caller {
            Caller::User { id, session, .. } => {
                Ok(Self { id: *id, session: *session, actor: caller.actor().to_string() })
            }
            Caller::Partner { .. } => Err(forbidden("Only users have an account here")),
        }
    }
}

/// A person who may buy.
pub(crate) struct Buyer(pub(crate) User);

impl FromRequestParts<Shared> for Buyer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let user = User::of(&caller)?;
        check_may_buy(&caller)?;
        Ok(Self(user))
    }
}

/// Refuses a user without the role `user`.
pub(crate) fn check_may_buy(caller: &Caller) -> Result<(), Problem> {
    if caller.may_buy() { Ok(()) } else { Err(forbidden("This takes the role user")) }
}

/// A system with an API key, acting on its own float account.
pub(crate) struct Partner {
    pub(crate) id: PartnerId,
    /// Which of its keys it used.
    pub(crate) key: KeyId,
    /// As the audit log names the caller.
    pub(crate) actor: Actor,
}

impl FromRequestParts<Shared> for Partner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let Caller::Partner { id, key } = caller else {
            return Err(forbidden("This takes a partner's key"));
        };
        known_parameters_only(parts)?;
        Ok(Self { id, key, actor: caller.actor() })
    }
}

/// Somebody with the role `admin`.
pub(crate) struct Admin(pub(crate) Caller);

impl FromRequestParts<Shared> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        if !caller.is_admin() {
            return Err(forbidden("This takes the role admin"));
        }
        known_parameters_only(parts)?;
        Ok(Self(caller))
    }
}

/// Somebody with the role `auditor` or `admin`.
pub(crate) struct Auditor;

impl FromRequestParts<Shared> for Auditor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        if !caller.may_audit() {
            return Err(forbidden("This takes the role auditor"));
        }
        known_parameters_only(parts)?;
        Ok(Self)
    }
}

/// Anybody, on a path whose parameters are strict all the same.
pub(crate) struct Anybody;

impl FromRequestParts<Shared> for Anybody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &Shared) -> Result<Self, Problem> {
        known_parameters_only(parts).map(|()| Self)
    }
}

fn forbidden(detail: &'static str) -> Problem {
    Problem::new(Code::Forbidden, detail)
}
