//! Connects to NATS, for ever.

use super::error::Error;
use super::health::Place;
use crate::telemetry::chain;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use std::time::Duration;
use tokio::sync::watch;

/// The pause after the first failed attempt; doubled with each one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a silent server is asked whether it is there; it is given up after two unanswered ones.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// A connection that is made again whenever it is lost.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    /// How often it was lost.
    losses: watch::Receiver<u64>,
}

impl Link {
    /// Counts losses from now on.
    pub(super) fn forget_losses(&mut self) {
        self.losses.mark_unchanged();
    }

    /// Returns when the connection is lost: answers under way will never come.
    pub(super) async fn lost(&mut self) {
        if self.losses.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// The servers that `urls` (separated by commas) name.
fn servers(urls: &str) -> Result<Vec<ServerAddr>, Error> {
    let servers = urls.split(',').map(|url| url.trim().parse()).collect::<Result<Vec<ServerAddr>, _>>();
    servers.map_err(|cause| Error::Address(cause.into()))
}

/// Looks whether `urls` can be connected to, as far as they say.
///
/// # Errors
/// `Address`.
pub fn check_urls(urls: &str) -> Result<(), Error> {
    servers(urls).map(drop)
}

/// Begins to connect to `urls` (separated by commas) and returns at once.
pub(super) async fn connect(urls: &str, name: &str, place: Place) -> Result<Link, Error> {
    let servers = servers(urls)?;
    place.not_yet("not connected to NATS yet");
    let (lost, losses) = watch::channel(0);
    let mut options = ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(pause)
        .connection_timeout(ATTEMPT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(super::REQUEST_TIMEOUT))
        .event_callback(move |event| {
            note(&place, &event);
            if event == Event::Disconnected {
                lost.send_modify(|losses| *losses += 1);
            }
            std::future::ready(())
        });
    // The client ignores what stands before the @ of a URL, so it is told.
    if let Some((user, password)) = servers.iter().find_map(credentials) {
        options = options.user_and_password(user, password);
    }
    // And it logs the URLs, so they do not have it.
    let servers: Vec<ServerAddr> = urls.split(',').filter_map(|url| bare(url).parse().ok()).collect();
    let client = options.connect(servers).await.map_err(Error::unreachable)?;
    Ok(Link { client, losses })
}

fn note(place: &Place, event: &Event) {
    match event {
        Event::Connected => place.well(),
        Event::Disconnected => place.degraded("the connection to NATS is lost"),
        Event::ClientError(error) => place.degraded(format_args!("cannot connect to NATS: {error}")),
        Event::ServerError(error) => tracing::warn!(error = %chain(&error), "NATS reports: {error}"),
        // Only we close it for good, at the end.
        Event::Closed | Event::LameDuckMode | Event::Draining | Event::SlowConsumer(_) => {}
    }
}

fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    SHORTEST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}

fn credentials(server: &ServerAddr) -> Option<(String, String)> {
    let user = server.username()?;
    Some((percent_decoded(user), percent_decoded(server.password().unwrap_or_default())))
}

/// `nats://user:password@host` as `nats://host`.
fn bare(url: &str) -> String {
    let (scheme, rest) = url.trim().split_once("://").unwrap_or(("nats", url.trim()));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

/// `p%40ss` as `p@ss`; what is not an escape stays.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2)).flatten();
        let escaped = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_and_the_password_stand_in_the_url() {
        let read = |url: &str| credentials(&url.parse().unwrap());
        assert_eq!(read("nats://app:p%40ss%zz@host:4222"), Some(("app".into(), "p@ss%zz".into())));
        assert_eq!(read("nats://host:4222"), None);
    }

    #[test]
    fn what_the_client_may_log_has_no_password() {
        assert_eq!(bare(" nats://app:p@ss@host:4222"), "nats://host:4222");
        assert_eq!(bare("tls://host"), "tls://host");
        assert_eq!(bare("app:pass@[::1]:4222"), "nats://[::1]:4222");
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(pause(1), SHORTEST_PAUSE);
        assert_eq!(pause(3), SHORTEST_PAUSE * 4);
        assert_eq!(pause(usize::MAX), LONGEST_PAUSE);
    }
}
