//! The destination of mail, from `OFFERS_SMTP_URL`.

use crate::config::Secret;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::path::PathBuf;
use url::{Host, Url};

const SMTP_PORT: u16 = 25;
const SUBMISSION_PORT: u16 = 587;
const SUBMISSIONS_PORT: u16 = 465;

#[derive(Clone, Debug)]
pub(super) enum Destination {
    Server(Server),
    /// One file for each message.
    Directory(PathBuf),
}

/// A mail server and how to connect to it.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Option<Credentials>,
    pub(super) hello: ClientId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    None,
    Tls,
    /// Without STARTTLS nothing is sent.
    StartTls,
}

/// Why the URL is invalid. Never contains the URL, which may have a password.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    #[error("it is not a URL")]
    Unreadable,
    #[error("it must begin with smtps://, smtp:// or file:///")]
    Scheme,
    #[error("it has no host or no directory")]
    Nowhere,
    /// An unknown `?tls=` or another parameter is refused: a misspelt one was meant to be safe.
    #[error("its only parameter is `tls=required`, for smtp://; for TLS from the start write smtps://")]
    Tls,
    #[error("a user needs a password, and a password a user")]
    HalfALogin,
    #[error("a password is only sent encrypted: write smtps://, or smtp://…?tls=required")]
    PasswordInTheClear,
}

impl Destination {
    /// Parses `url`. `domain` is our name in EHLO unless the URL's path has one.
    pub(super) fn parse(url: &Secret, domain: &str) -> Result<Self, UrlError> {
        let url = Url::parse(url.expose()).map_err(|_| UrlError::Unreadable)?;
        match url.scheme() {
            "file" => {
                let directory = url.to_file_path().map_err(|()| UrlError::Nowhere)?;
                Ok(Self::Directory(directory))
            }
            "smtp" | "smtps" => Ok(Self::Server(server(&url, domain)?)),
            _ => Err(UrlError::Scheme),
        }
    }
}

fn server(url: &Url, domain: &str) -> Result<Server, UrlError> {
    let host = host(url)?;
    let (security, usual_port) = match (url.scheme(), url.query().unwrap_or_default()) {
        ("smtps", "") => (Security::Tls, SUBMISSIONS_PORT),
        ("smtp", "tls=required") => (Security::StartTls, SUBMISSION_PORT),
        ("smtp", "") => (Security::None, SMTP_PORT),
        _ => return Err(UrlError::Tls),
    };
    let credentials = credentials(url)?;
    if credentials.is_some() && security == Security::None {
        return Err(UrlError::PasswordInTheClear);
    }
    let name = url.path().trim_matches('/');
    let hello = ClientId::Domain(if name.is_empty() { domain } else { name }.to_owned());
    Ok(Server { port: url.port().unwrap_or(usual_port), host, security, credentials, hello })
}

fn host(url: &Url) -> Result<String, UrlError> {
    match url.host() {
        Some(Host::Domain(name)) if !name.is_empty() => Ok(name.to_owned()),
        Some(Host::Ipv4(address)) => Ok(address.to_string()),
        Some(Host::Ipv6(address)) => Ok(address.to_string()), // without the brackets
        _ => Err(UrlError::Nowhere),
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, UrlError> {
    let decoded = |text: &str| {
        percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(|_| UrlError::Unreadable)
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(UrlError::HalfALogin),
        (user, Some(password)) => Ok(Some(Credentials::new(decoded(user)?, decoded(password)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Destination, UrlError> {
        let Ok(secret) = url.parse();
        Destination::parse(&secret, "example.com")
    }

    fn server(url: &str) -> Server {
        match parse(url).expect(url) {
            Destination::Server(server) => server,
            Destination::Directory(directory) => panic!("{url} is {}", directory.display()),
        }
    }

    #[test]
    fn a_url_names_a_server_or_a_directory() {
        let nearby = server("smtp://localhost");
        assert_eq!((nearby.host.as_str(), nearby.port), ("localhost", 25));
        assert!(nearby.security == Security::None && nearby.credentials.is_none());
        assert_eq!(nearby.hello.to_string(), "example.com");

        let encrypted = server("smtps://us%40er:p%3Aw@mail.example.com/host.example.com");
        assert_eq!((encrypted.host.as_str(), encrypted.port), ("mail.example.com", 465));
        assert_eq!(encrypted.security, Security::Tls);
        assert_eq!(encrypted.credentials, Some(Credentials::new("us@er".into(), "p:w".into())));
        assert_eq!(encrypted.hello.to_string(), "host.example.com");

        let upgraded = server("smtp://u:p@[::1]:2525/?tls=required");
        assert_eq!((upgraded.host.as_str(), upgraded.port), ("::1", 2525));
        assert_eq!(upgraded.security, Security::StartTls);

        let Ok(Destination::Directory(directory)) = parse("file:///var/mail%20out") else { panic!() };
        assert_eq!(directory, PathBuf::from("/var/mail out"));
    }

    #[test]
    fn what_is_unsafe_or_unclear_is_refused_without_showing_it() {
        for (url, why) in [
            ("mail.example.com", "not a URL"),
            ("https://mail.example.com", "must begin with"),
            ("smtp:///", "has no host"),
            ("smtp://u:hunter2@mail.example.com", "only sent encrypted"),
            ("smtp://u:hunter2@mail.example.com?tls=opportunistic", "only parameter is `tls=required`"),
            ("smtps://u:hunter2@mail.example.com?tls=none", "only parameter is `tls=required`"),
            ("smtp://mail.example.com?TLS=required", "only parameter is `tls=required`"),
            ("smtp://mail.example.com?tls=required&tls=none", "only parameter is `tls=required`"),
            ("smtps://offers@mail.example.com", "a user needs a password"),
            ("smtps://:hunter2@mail.example.com", "a user needs a password"),
        ] {
            let refused = parse(url).expect_err(url).to_string();
            assert!(refused.contains(why) && !refused.contains("hunter2"), "{url}: {refused}");
        }
        assert!(!format!("{:?}", server("smtps://u:hunter2@mail.example.com")).contains("hunter2"));
    }
}
