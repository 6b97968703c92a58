//! The wire: sends a call, reads its answer within the limits, keeps connections for the next one.
//!
//! On hyper's client, without the layers of `reqwest`: a call has no redirect, no proxy and no cookie, and its URL is
//! parsed once, at the start.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use crate::tls;
use domain::transaction::Evidence;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::{self, Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use url::Url;
use uuid::Uuid;

use super::answer::Reply;
use super::{Inconclusive, Settings};

/// For reaching the other side, its TLS included; the rest of the timeout is for its work.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// An idle connection is closed by us before the other side closes it (servers do so after 30 s and
/// more): a call sent into a closing connection is an unknown outcome.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Interval of the kernel's probes of a silent connection.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Probes without an answer that end a connection.
const KEEPALIVE_RETRIES: u32 = 3;
/// Sent bytes that are not acknowledged for this long end a connection.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes read of an answer; a longer one is no answer.
const MAX_ANSWER: usize = 64 * 1024;

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL is not one to call.
    #[error(
        "the activation system's URL must be http(s)://host[:port][/path], without user, query or fragment"
    )]
    BaseUrl,
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] rustls::Error),
}

/// Firewalls refuse callers that do not say who they are.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("offers/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

type BoxError = Box<dyn Error + Send + Sync>;
type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>;
type Call = Request<Full<Bytes>>;

#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: Client<Connector, Full<Bytes>>,
    activations: Uri,
    timeout: Duration,
}

impl Transport {
    pub(super) fn new(settings: &Settings) -> Result<Transport, SettingsError> {
        let base = checked(&settings.base_url)?;
        let activations = format!("{}/activations", base.as_str().trim_end_matches('/'));
        let activations = activations.parse().map_err(|_| SettingsError::BaseUrl)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(settings.max_in_flight)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector(base.scheme() == "https", CONNECT_TIMEOUT.min(settings.timeout))?);
        Ok(Transport { client, activations, timeout: settings.timeout })
    }

    pub(super) async fn post_activation(
        &self,
        id: Uuid,
        request: &super::Request<'_>,
        traceparent: &str,
    ) -> Result<Reply, Inconclusive> {
        let body = serde_json::to_vec(request).expect("a struct of strings and ids is always JSON");
        let mut call = call(Method::POST, self.activations.clone(), body);
        call.headers_mut().insert(IDEMPOTENCY_KEY, id_value(id));
        call.headers_mut().insert(CONTENT_TYPE, JSON);
        self.send(call, traceparent).await
    }

    pub(super) async fn get_activation(&self, id: Uuid, traceparent: &str) -> Result<Reply, Inconclusive> {
        let call = call(Method::GET, self.below(format_args!("{id}")), Vec::new());
        self.send(call, traceparent).await
    }

    pub(super) async fn post_cancel(&self, id: Uuid, traceparent: &str) -> Result<Reply, Inconclusive> {
        let mut call = call(Method::POST, self.below(format_args!("{id}/cancel")), Vec::new());
        call.headers_mut().insert(IDEMPOTENCY_KEY, id_value(id));
        self.send(call, traceparent).await
    }

    fn below(&self, path: std::fmt::Arguments<'_>) -> Uri {
        format!("{}/{path}", self.activations)
            .parse()
            .expect("a URL with an id and a word behind it is a URL")
    }

    async fn send(&self, mut call: Call, traceparent: &str) -> Result<Reply, Inconclusive> {
        if let Ok(traceparent) = HeaderValue::from_str(traceparent) {
            call.headers_mut().insert(TRACEPARENT, traceparent);
        }
        let exchange = async {
            let response = self.client.request(call).await.map_err(|error| self.failure(&error))?;
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let (status, retry_after) = (response.status().as_u16(), retry_after.map(str::to_owned));
            Ok(Reply { status, retry_after, body: self.read(response).await? })
        };
        timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// Reads the body to its end (so that the connection can be used again) or to the limit.
    async fn read(&self, response: Response<Incoming>) -> Result<Vec<u8>, Inconclusive> {
        let (mut frames, mut body) = (response.into_body(), Vec::new());
        while let Some(frame) = frames.frame().await {
            let Ok(chunk) = frame.map_err(|error| self.broken(&error))?.into_data() else { continue };
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Inconclusive::answered("the answer is over 64 KiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failure(&self, error: &legacy::Error) -> Inconclusive {
        if !error.is_connect() {
            return self.broken(error);
        }
        if causes(error).any(|cause| is_io(cause, io::ErrorKind::ConnectionRefused)) {
            let detail = "the connection was refused".to_owned();
            return Inconclusive { evidence: Evidence::NotSent, detail, retry_after: None };
        }
        if is_late(error) { self.late() } else { unanswered("no connection") }
    }

    fn broken(&self, error: &(dyn Error + 'static)) -> Inconclusive {
        match is_late(error) {
            true => self.late(),
            false => unanswered("the connection broke before the answer was whole"),
        }
    }

    fn late(&self) -> Inconclusive {
        unanswered(format!("no answer within {} ms", self.timeout.as_millis()))
    }
}

/// Opens connections, each within `limit`.
fn connector(is_https: bool, limit: Duration) -> Result<Connector, SettingsError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    tcp.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
    let tls = match is_https {
        true => tls::client_config().map_err(SettingsError::Client)?,
        false => tls::config_without_roots(), // no roots to read, and none to be missing
    };
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let connector = connector.wrap_connector(tcp).map_future(move |connecting| async move {
        timeout(limit, connecting).await.map_err(BoxError::from)?
    });
    Ok(BoxCloneSyncService::new(connector))
}

fn call(method: Method, uri: Uri, body: Vec<u8>) -> Call {
    let mut call = Request::new(Full::new(body.into()));
    *call.method_mut() = method;
    *call.uri_mut() = uri;
    call.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
    call.headers_mut().insert(USER_AGENT, AGENT);
    call
}

fn id_value(id: Uuid) -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text))
        .expect("an id is made of digits, letters and hyphens")
}

fn unanswered(detail: impl Into<String>) -> Inconclusive {
    Inconclusive { evidence: Evidence::SentNoAnswer, detail: detail.into(), retry_after: None }
}

fn checked(base_url: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(base_url).map_err(|_| SettingsError::BaseUrl)?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if plain { Ok(url) } else { Err(SettingsError::BaseUrl) }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(error.source(), |&error| error.source())
}

fn is_late(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<Elapsed>() || is_io(cause, io::ErrorKind::TimedOut))
}

fn is_io(error: &(dyn Error + 'static), kind: io::ErrorKind) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_url_can_be_called() {
        for good in ["http://127.0.0.1:8090", "https://activations.example/v2/", "http://[::1]:1"] {
            assert!(Transport::new(&Settings::new(good)).is_ok(), "{good}");
        }
        for bad in ["", "127.0.0.1:8090", "ftp://x", "http://", "http://u:p@x", "http://x?k=v", "http://x#f"]
        {
            let refused = Transport::new(&Settings::new(bad));
            assert!(matches!(refused, Err(SettingsError::BaseUrl)), "{bad}");
        }
    }
}
