//! Where a callback may go, as far as the URL says: http or https, a host, no user name. The address that
//! the host resolves to is judged when a callback is sent.

use std::fmt;
use url::Url;

/// The longest URL that is kept, in characters.
const MAX_CHARS: usize = 2048;

/// A URL that callbacks can be sent to. Kept as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackUrl {
    text: String,
    url: Url,
}

/// The text is not a URL that callbacks can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an http or https URL without a user name and without #, at most {MAX_CHARS} characters long"
)]
pub struct InvalidCallbackUrl;

impl CallbackUrl {
    /// # Errors
    /// The text is something else.
    pub fn parse(text: &str) -> Result<Self, InvalidCallbackUrl> {
        // Url::parse drops these: what was judged would not be what is called.
        let dropped = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
        if text.contains(dropped) || text.chars().count() > MAX_CHARS {
            return Err(InvalidCallbackUrl);
        }
        let url = Url::parse(text).map_err(|_| InvalidCallbackUrl)?;
        let authority = authority(text).ok_or(InvalidCallbackUrl)?;
        let callable = matches!(url.scheme(), "http" | "https")
            && !authority.is_empty()
            && !authority.contains('@')
            && url.fragment().is_none()
            && url.as_str().len() <= MAX_CHARS;
        if callable { Ok(Self { text: text.to_owned(), url }) } else { Err(InvalidCallbackUrl) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Origin and path, as they were written: a query may hold a token, and does not belong where everybody reads.
    #[must_use]
    pub fn without_query(&self) -> &str {
        without_query(&self.text)
    }

    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether scheme, host and port are the same.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }
}

/// `url` up to its query, which may hold a token.
pub(super) fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(before, _)| before)
}

impl fmt::Display for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The part between `://` and the path, as written: an empty user name (`http://@host`) and missing or
/// superfluous slashes are gone once it is parsed.
fn authority(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    rest.split(['/', '?', '#']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_url_names_a_host_and_no_user() {
        for good in [
            "https://p.example/hook?x=1",
            "http://127.0.0.1:9000",
            "https://p.example",
            "https://[2001:db8::1]:8443/a@b",
            "https://bücher.example/",
        ] {
            assert!(CallbackUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "p.example",
            "ftp://p.example/",
            "https://",
            "https:p.example",
            "https:///p.example",
            "https://u:p@p.example/",
            "https://@p.example/",
            "https://p.example/#f",
            "https://p.example/ y",
            "https://p.example\\@internal/",
            "https://p.example:99999/",
            "file:///etc/passwd",
            "https://p.exa\nmple/",
            &format!("https://p.example/{}", "x".repeat(2048)),
        ] {
            assert!(CallbackUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_its_query_a_url_has_origin_and_path() {
        let shown = |text| CallbackUrl::parse(text).map(|url| url.without_query().to_owned());
        assert_eq!(shown("https://p.example/a?token=1&b=?"), Ok("https://p.example/a".to_owned()));
        assert_eq!(shown("https://p.example?token=1"), Ok("https://p.example".to_owned()));
        assert_eq!(shown("https://p.example/a"), Ok("https://p.example/a".to_owned()));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same_origin = |one: &str, other: &str| match (CallbackUrl::parse(one), CallbackUrl::parse(other))
        {
            (Ok(one), Ok(other)) => one.same_origin(&other),
            _ => false,
        };
        let registered = "https://P.example/hook";
        for same in ["https://p.example/other?q=1", "https://p.example:443/", "HTTPS://p.EXAMPLE"] {
            assert!(same_origin(same, registered), "{same}");
        }
        for other in [
            "http://p.example/hook",
            "https://p.example:8443/hook",
            "https://q.p.example/hook",
            "https://p.example.evil.example/",
            "https://p.example@evil.example/",
            "https://p.example./hook",
            "//p.example/hook",
            "",
        ] {
            assert!(!same_origin(other, registered), "{other}");
        }
        assert!(same_origin("http://2130706433/", "http://127.0.0.1/"), "one address, written twice");
    }
}
