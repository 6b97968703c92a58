//! One connection to a mail server, used for several mails.
//!
//! lettre's own pool is not used: it reuses a connection whose last mail timed out, and the next mail would
//! read the answers to that one.

use super::destination::{Security, Server};
use crate::telemetry::chain;
use lettre::Message;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Servers close connections with many mails.
const MAILS_PER_CONNECTION: u32 = 50;
/// "Service closing": about the connection, not about the mail.
const CLOSING: u16 = 421;

#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The server cannot be reached, refuses the login, or stopped answering (then it may have the mail).
    /// Other mails would fail too.
    #[error("cannot use the mail server: {0}")]
    ServerUnavailable(String),
    /// The server does not accept this mail now.
    #[error("the mail server deferred it: {0}")]
    Deferred(String),
    /// The server will never accept this mail.
    #[error("the mail server rejected it: {0}")]
    Rejected(String),
}

/// A connection that is ready for the next mail. Dropping it closes it.
pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    mails: u32,
}

impl Connection {
    pub(super) async fn open(server: &Server) -> Result<Self, SendError> {
        match timeout(CONNECT_TIMEOUT, connect(server)).await {
            Ok(connected) => Ok(Self { smtp: connected?, mails: 0 }),
            Err(_) => {
                Err(SendError::ServerUnavailable(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())))
            }
        }
    }

    /// Sends `mail`, and returns the connection if it can send another.
    pub(super) async fn send(mut self, mail: &Message) -> (Result<(), SendError>, Option<Self>) {
        let bytes = mail.formatted();
        match timeout(SEND_TIMEOUT, self.smtp.send(mail.envelope(), &bytes)).await {
            Ok(Ok(_taken)) => {
                self.mails += 1;
                if self.mails < MAILS_PER_CONNECTION {
                    return (Ok(()), Some(self));
                }
                self.quit().await;
                (Ok(()), None)
            }
            Ok(Err(cause)) => (Err(judge(&cause)), None),
            Err(_) => (
                Err(SendError::ServerUnavailable(format!("no answer within {} s", SEND_TIMEOUT.as_secs()))),
                None,
            ),
        }
    }

    /// Sends QUIT; the answer does not matter.
    pub(super) async fn quit(mut self) {
        let _ = timeout(QUIT_TIMEOUT, self.smtp.quit()).await;
    }
}

async fn connect(server: &Server) -> Result<AsyncSmtpConnection, SendError> {
    let Server { host, port, hello, .. } = server;
    // Reads the machine's certificates each time: new ones count without a restart.
    let tls = || TlsParameters::new(host.clone()).map_err(no_server);
    let address = (host.as_str(), *port);
    let mut smtp = match server.security {
        Security::Tls => {
            let connecting = AsyncSmtpConnection::connect_tokio1(
                address,
                Some(CONNECT_TIMEOUT),
                hello,
                Some(tls()?),
                None,
            );
            connecting.await.map_err(no_server)?
        }
        Security::StartTls | Security::None => {
            let stream = TcpStream::connect(address).await.and_then(at_once);
            let stream = stream.map_err(|cause| SendError::ServerUnavailable(cause.to_string()))?;
            AsyncSmtpConnection::connect_with_transport(Box::new(stream), hello).await.map_err(no_server)?
        }
    };
    if server.security == Security::StartTls {
        smtp.starttls(tls()?, hello).await.map_err(no_server)?;
    }
    if let Some(credentials) = &server.credentials {
        smtp.auth(DEFAULT_MECHANISMS, credentials).await.map_err(no_server)?;
    }
    Ok(smtp)
}

/// A mail ends in a small packet, which must not wait for the answer to the one before (40 ms a mail).
fn at_once(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn no_server(cause: Error) -> SendError {
    SendError::ServerUnavailable(describe(&cause))
}

fn judge(cause: &Error) -> SendError {
    let closing = cause.status().is_some_and(|code| u16::from(code) == CLOSING);
    let why = describe(cause);
    if closing {
        SendError::ServerUnavailable(why)
    } else if cause.is_transient() {
        SendError::Deferred(why)
    } else if cause.is_permanent() || cause.is_client() {
        SendError::Rejected(why)
    } else {
        SendError::ServerUnavailable(why)
    }
}

/// What the server said, or what went wrong, without addresses: servers like to repeat them.
fn describe(cause: &Error) -> String {
    without_addresses(&chain(cause))
}

fn without_addresses(text: &str) -> String {
    let words = text.split_whitespace().map(|word| if word.contains('@') { "<…>" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_kept_without_the_addresses_in_it() {
        assert_eq!(
            without_addresses("550 5.1.1 <bob@example.com>:\r\n user unknown"),
            "550 5.1.1 <…> user unknown"
        );
    }
}
