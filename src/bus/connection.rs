//! Connects to NATS, and reconnects for ever.

use super::error::Error;
use super::health::HealthReporter;
use crate::backoff::Backoff;
use crate::telemetry::chain;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use std::time::Duration;
use tokio::sync::watch;

const RECONNECT: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
/// The prefix of the service's own inboxes. Not `_INBOX`: analysts hear those of the mirror's account.
const INBOX_PREFIX: &str = "_OFFERS_INBOX";
/// The oldest server that one message with a wildcard in its reply subject does not crash.
const LEAST_VERSION: (i64, i64, i64) = (2, 9, 15);
/// The limit for one attempt to connect.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// Interval of pings to a silent server. Two unanswered ones end the connection.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// A connection that is restored whenever it is lost.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    losses: watch::Receiver<u64>,
}

impl Link {
    /// Ignores the losses until now.
    pub(super) fn forget_losses(&mut self) {
        self.losses.mark_unchanged();
    }

    /// Returns when the connection is lost: pending answers will never come.
    pub(super) async fn lost(&mut self) {
        if self.losses.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Parses URLs that are separated by commas.
fn servers(urls: &str) -> Result<Vec<ServerAddr>, Error> {
    let servers = urls.split(',').map(|url| url.trim().parse()).collect::<Result<Vec<ServerAddr>, _>>();
    servers.map_err(|cause| Error::Address(cause.into()))
}

/// Checks that `urls` are valid, without connecting.
pub fn check_urls(urls: &str) -> Result<(), Error> {
    servers(urls).map(drop)
}

/// Starts to connect to `urls` (separated by commas) and returns at once.
pub(super) async fn connect(urls: &str, name: &str, health: HealthReporter) -> Result<Link, Error> {
    let servers = servers(urls)?;
    health.connecting("not connected to NATS yet");
    let (lost, losses) = watch::channel(0);
    let mut options = ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(INBOX_PREFIX)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| RECONNECT.delay(u32::try_from(attempts).unwrap_or(u32::MAX)))
        .connection_timeout(ATTEMPT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(super::REQUEST_TIMEOUT))
        .event_callback(move |event| {
            note(&health, &event);
            if event == Event::Disconnected {
                lost.send_modify(|losses| *losses += 1);
            }
            std::future::ready(())
        });
    // The client ignores the credentials in a URL.
    if let Some((user, password)) = servers.iter().find_map(credentials) {
        options = options.user_and_password(user, password);
    }
    // And it logs the URLs, so they must not contain them.
    let servers: Vec<ServerAddr> = servers.into_iter().filter_map(without_credentials).collect();
    let client = options.connect(servers).await.map_err(Error::unreachable)?;
    Ok(Link { client, losses })
}

/// Says why the server must not be handed to analysts; `None` if it may, and before the first connection.
pub(super) fn too_old(client: &Client) -> Option<String> {
    let (major, minor, patch) = LEAST_VERSION;
    let version = client.try_server_info()?.version;
    let old = !client.is_server_compatible(major, minor, patch);
    old.then(|| {
        format!(
            "nats-server {version} is too old to be handed to analysts: use {major}.{minor}.{patch} or newer"
        )
    })
}

fn note(health: &HealthReporter, event: &Event) {
    match event {
        Event::Connected => health.healthy(),
        Event::Disconnected => health.degraded("the connection to NATS is lost"),
        Event::ClientError(error) => health.degraded(format_args!("cannot connect to NATS: {error}")),
        Event::ServerError(error) => tracing::warn!(error = %chain(&error), "NATS reports: {error}"),
        // Only we close it for good, at the end.
        Event::Closed | Event::LameDuckMode | Event::Draining | Event::SlowConsumer(_) => {}
    }
}

fn credentials(server: &ServerAddr) -> Option<(String, String)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((decoded(server.username()?), decoded(server.password().unwrap_or_default())))
}

/// `nats://user:password@host` as `nats://host`.
fn without_credentials(server: ServerAddr) -> Option<ServerAddr> {
    let mut url = server.into_inner();
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    ServerAddr::from_url(url).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_from_the_url() {
        let read = |url: &str| credentials(&url.parse().unwrap());
        assert_eq!(read("nats://app:p%40ss%zz@host:4222"), Some(("app".into(), "p@ss%zz".into())));
        assert_eq!(read("nats://host:4222"), None);
    }

    #[test]
    fn urls_that_the_client_logs_have_no_password() {
        let logged = |url: &str| {
            let server = servers(url).unwrap().into_iter().find_map(without_credentials).unwrap();
            server.as_url_str().to_owned()
        };
        assert_eq!(logged(" nats://app:p@ss@host:4222"), "nats://host:4222");
        assert_eq!(logged("tls://host"), "tls://host");
        assert_eq!(logged("app:pass@[::1]:4222"), "nats://[::1]:4222");
    }
}
