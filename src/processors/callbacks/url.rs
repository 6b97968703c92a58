//! Where a callback may go, as far as the URL says: http or https, a host, no user name; and a
//! purchase's own URL has the origin of the registered one. Where that really is, is judged on the
//! resolved address when it is sent.

use reqwest::Url;

/// The longest URL that is kept, in characters.
const URL_MAX_CHARS: usize = 2048;

/// True when `text` can be registered as a callback URL.
#[must_use]
pub fn valid_callback_url(text: &str) -> bool {
    parse(text).is_some()
}

/// True when `url` may be used instead of the `registered` one: it can be called, and scheme, host and
/// port are the same.
#[must_use]
pub fn same_origin(url: &str, registered: &str) -> bool {
    match (parse(url), parse(registered)) {
        (Some(url), Some(registered)) => url.origin() == registered.origin(),
        _ => false,
    }
}

/// The URL to call: a purchase's own as long as it has the origin of the `registered` one.
pub(super) fn target<'a>(own: Option<&'a str>, registered: &'a str) -> &'a str {
    own.filter(|own| same_origin(own, registered)).unwrap_or(registered)
}

/// The URL, when it is one that may be called.
pub(super) fn parse(text: &str) -> Option<Url> {
    // Url::parse forgives these by dropping them: what was judged would not be what is called.
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

/// What stands between `://` and the path, as written: an empty user name (`http://@host`) and missing
/// or superfluous slashes are gone once it is parsed.
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
