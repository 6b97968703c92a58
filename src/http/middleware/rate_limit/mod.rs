//! Rate limits: every request is charged to a budget before any work is done for it.
//!
//! | request | charged to |
//! | --- | --- |
//! | login, refresh | its address, on a budget of its own |
//! | with good credentials | its caller: the user, or the partner |
//! | anything else | its address (IPv6: its /64) |
//!
//! An access token is checked without a query, so an address that floods us does not lock out the users who
//! are logged in behind it. A partner's key may need a query: an address with an exhausted budget gets none.
//!
//! Budgets are kept per process. Responses show the quota as in draft-ietf-httpapi-ratelimit-headers-10.

mod address;

pub(crate) use address::ClientAddress;
use address::Proxies;

use crate::app::budget::{Budgets, Quota};
use crate::config::{Protection, RateLimit};
use crate::http::Shared;
use crate::http::extract::caller::{Authenticated, credentials};
use crate::http::headers::{RATE_LIMIT, RATE_LIMIT_POLICY};
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use crate::identity::Caller;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Where passwords and refresh tokens are tried.
const LOGINS: [&str; 2] = ["/api/v1/auth/login", "/api/v1/auth/refresh"];

/// The budgets of all kinds of callers, and the trusted proxies.
pub(crate) struct RateLimiter {
    app: Shared,
    proxies: Proxies,
    users: Option<Budgets<Uuid>>,
    partners: Option<Budgets<Uuid>>,
    addresses: Option<Budgets<IpAddr>>,
    logins: Option<Budgets<IpAddr>>,
}

impl RateLimiter {
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

    /// Charges `request` to its budget; `None` when that kind of caller has no limit.
    async fn charge(&self, request: &mut Request, address: IpAddr) -> Option<Quota> {
        let now = Instant::now();
        if LOGINS.contains(&request.uri().path()) && request.method() == Method::POST {
            return Some(self.logins.as_ref()?.take(address, now));
        }
        let Some(credentials) = credentials(request.headers()) else {
            return Some(self.addresses.as_ref()?.take(address, now));
        };
        if needs_a_query(credentials)
            && let Some(quota) = self.addresses.as_ref().and_then(|budgets| budgets.exhausted(address, now))
        {
            return Some(quota);
        }
        let app = &self.app;
        let caller = app.identity.authenticate(Some(credentials), app.clock.now().utc()).await;
        let caller = caller.map_err(Problem::from);
        let quota = match &caller {
            Ok(Caller::User { id, .. }) => self.users.as_ref().map(|budgets| budgets.take(id.0, now)),
            Ok(Caller::Partner { id, .. }) => self.partners.as_ref().map(|budgets| budgets.take(id.0, now)),
            Err(problem) if problem.code().status().is_client_error() => {
                self.addresses.as_ref().map(|budgets| budgets.take(address, now))
            }
            Err(_) => None, // a fault of ours
        };
        request.extensions_mut().insert(Authenticated(caller));
        quota
    }
}

fn budgets<K: Copy + Eq + std::hash::Hash>(
    name: &'static str,
    limit: RateLimit,
    began: Instant,
) -> Option<Budgets<K>> {
    limit.rate().map(|rate| Budgets::new(name, rate, began))
}

/// All credentials but an access token.
fn needs_a_query(credentials: &str) -> bool {
    !credentials.trim_start().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "))
}

/// Lets a request through or refuses it, and writes the quota on the response.
pub(crate) async fn enforce<F>(
    limiter: &RateLimiter,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    let address = ClientAddress::of(&request, &limiter.proxies);
    request.extensions_mut().insert(address);
    let Some(quota) = limiter.charge(&mut request, address.network()).await else {
        return next(request).await;
    };
    let mut response = match quota.refused_for {
        Some(wait) => {
            metrics::counter!("offers_rate_limited_total", "policy" => quota.name).increment(1);
            Problem::new(Code::RateLimited, "Too many requests; try again later").after(wait).into_response()
        }
        None => next(request).await,
    };
    quota.write_headers(response.headers_mut());
    response
}

impl Quota {
    fn write_headers(&self, headers: &mut HeaderMap) {
        let (name, rate) = (self.name, self.rate);
        let policy = format!("\"{name}\";q={};w={}", rate.requests, rate.window.as_secs());
        let limit = format!("\"{name}\";r={};t={}", self.remaining, seconds_up(self.full_in));
        let value = |text: String| HeaderValue::try_from(text).expect("a name and numbers are ASCII");
        headers.insert(RATE_LIMIT_POLICY, value(policy));
        headers.insert(RATE_LIMIT, value(limit));
    }
}

/// In whole seconds, rounded up.
fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
