//! Valid callback URLs: http or https, a host, no user name. A transaction's own URL must have the origin of the
//! registered one. The resolved address is checked when the callback is sent.

use reqwest::Url;

/// Characters of a URL.
const URL_MAX_CHARS: usize = 2048;

/// True if `text` can be registered as a callback URL.
#[must_use]
pub fn valid_callback_url(text: &str) -> bool {
    parse(text).is_some()
}

/// True if `url` may be used instead of the `registered` one: it is valid, and scheme, host and port are the
/// same.
#[must_use]
pub fn same_origin(url: &str, registered: &str) -> bool {
    match (parse(url), parse(registered)) {
        (Some(url), Some(registered)) => url.origin() == registered.origin(),
        _ => false,
    }
}

/// The URL to call: a transaction's own if it has the origin of the `registered` one.
pub(super) fn target<'a>(own: Option<&'a str>, registered: &'a str) -> &'a str {
    own.filter(|own| same_origin(own, registered)).unwrap_or(registered)
}

pub(super) fn parse(text: &str) -> Option<Url> {
    // Url::parse drops these: the checked text would not be the called URL.
    let forgiven = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    if text.contains(forgiven) || text.chars().count() > URL_MAX_CHARS {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let authority = authority(text)?;
    let callable = matches!(url.scheme(), "http" | "https")
        && !authority.is_empty()
        && !authority.contains('@')
        && url.fragment().is_none()
        && url.as_str().len() <= URL_MAX_CHARS;
    callable.then_some(url)
}

/// The text between `://` and the path. Parsing would drop an empty user name (`http://@host`) and wrong
/// slashes.
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
            assert!(valid_callback_url(good), "{good}");
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
            assert!(!valid_callback_url(bad), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
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

    #[test]
    fn a_purchases_own_url_is_used_while_it_has_the_registered_origin() {
        let registered = "https://p.example/hook";
        assert_eq!(target(Some("https://p.example/mine"), registered), "https://p.example/mine");
        assert_eq!(target(Some("https://old.example/mine"), registered), registered);
        assert_eq!(target(None, registered), registered);
    }
}
