//! Who is let in: every request is charged to somebody before any work is done for it.
//!
//! | request | charged to |
//! | --- | --- |
//! | login, refresh | its address, on a budget of its own |
//! | with good credentials | its caller: the user, or the partner |
//! | anything else | its address (IPv6: its /64) |
//!
//! An access token is checked without asking anybody, so an address that floods us does not lock out
//! those who are logged in behind it. A partner's key may take a look into the database: where an
//! address has nothing left, that look is not taken.
//!
//! Budgets are kept per process. Responses tell how they stand as in draft-ietf-httpapi-ratelimit-headers-10.

mod address;
mod budget;

pub(crate) use address::ClientAddress;
use address::Proxies;

use crate::config::{Protection, RateLimit};
use crate::http::Shared;
use crate::http::extract::caller::credentials;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use crate::identity::Caller;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use budget::{Budgets, Standing};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Where passwords and refresh tokens are tried.
const LOGINS: [&str; 2] = ["/api/v1/auth/login", "/api/v1/auth/refresh"];
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The budgets of everybody, and the proxies that are believed.
pub(crate) struct Gate {
    app: Shared,
    proxies: Proxies,
    users: Option<Budgets<Uuid>>,
    partners: Option<Budgets<Uuid>>,
    addresses: Option<Budgets<IpAddr>>,
    logins: Option<Budgets<IpAddr>>,
}

/// What the gate found out about the caller; a handler need not check the credentials again.
#[derive(Clone)]
pub(crate) struct Known(pub(crate) Result<Caller, Problem>);

impl Gate {
    pub(crate) fn new(app: Shared, protection: &Protection) -> Self {
        let began = Instant::now();
        Self {
            app,
            proxies: Proxies::new(protection.trusted_proxies.clone()),
            users: budgets("user", protection.rate_limit_user, began),
            partners: budgets("partner", protection.rate_limit_partner, began),
            addresses: budgets("address", protection.rate_limit_address, began),
            logins: budgets("login", protection.rate_limit_login, began),
        }
    }

    /// Charges `request`, which tells how that budget stands; `None` when nobody counts.
    async fn charge(&self, request: &mut Request, address: IpAddr) -> Option<Standing> {
        let now = Instant::now();
        if LOGINS.contains(&request.uri().path()) && request.method() == Method::POST {
            return Some(self.logins.as_ref()?.take(address, now));
        }
        let Some(credentials) = credentials(request.headers()) else {
            return Some(self.addresses.as_ref()?.take(address, now));
        };
        if self.users.is_none() && self.partners.is_none() && self.addresses.is_none() {
            return None;
        }
        if needs_a_look(credentials)
            && let Some(spent) = self.addresses.as_ref().and_then(|budgets| budgets.spent(address, now))
        {
            return Some(spent);
        }
        let app = &self.app;
        let caller = app.identity.authenticate(Some(credentials), app.clock.now().utc()).await;
        let caller = caller.map_err(Problem::from);
        let standing = match &caller {
            Ok(Caller::User { id, .. }) => self.users.as_ref().map(|budgets| budgets.take(id.0, now)),
            Ok(Caller::Partner { id, .. }) => self.partners.as_ref().map(|budgets| budgets.take(id.0, now)),
            Err(problem) if problem.code().status().is_client_error() => {
                self.addresses.as_ref().map(|budgets| budgets.take(address, now))
            }
            Err(_) => None, // a fault of ours
        };
        request.extensions_mut().insert(Known(caller));
        standing
    }
}

fn budgets<K: Copy + Eq + std::hash::Hash>(
    name: &'static str,
    limit: RateLimit,
    began: Instant,
) -> Option<Budgets<K>> {
    limit.rate().map(|rate| Budgets::new(name, rate, began))
}

/// Everything but an access token.
fn needs_a_look(credentials: &str) -> bool {
    !credentials.trim_start().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "))
}

/// Lets `request` through, or refuses it, and tells how its budget stands.
pub(crate) async fn pass(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let address = ClientAddress::of(&request, &gate.proxies);
    request.extensions_mut().insert(address);
    let Some(standing) = gate.charge(&mut request, address.network()).await else {
        return next.run(request).await;
    };
    let mut response = match standing.refused_for {
        Some(wait) => {
            metrics::counter!("offers_rate_limited_total", "policy" => standing.name).increment(1);
            Problem::new(Code::RateLimited, "Too many requests; try again later").after(wait).into_response()
        }
        None => next.run(request).await,
    };
    standing.tell(response.headers_mut());
    response
}

impl Standing {
    fn tell(&self, headers: &mut HeaderMap) {
        let (name, rate) = (self.name, self.rate);
        let policy = format!("\"{name}\";q={};w={}", rate.requests, rate.window.as_secs());
        let limit = format!("\"{name}\";r={};t={}", self.remaining, seconds_up(self.whole_in));
        let value = |text: String| HeaderValue::try_from(text).expect("a name and numbers are ASCII");
        headers.insert(RATE_LIMIT_POLICY, value(policy));
        headers.insert(RATE_LIMIT, value(limit));
    }
}

/// In whole seconds, rounded up.
fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
