//! Mail addresses that a mail can be written to, and that every mail server takes.

use lettre::Address;
use lettre::message::Mailbox;

/// The longest address, in characters (RFC 5321 allows no longer path).
const MAX_CHARS: usize = 254;
/// The longest part before the `@`, in characters (RFC 5321 4.5.3.1.1).
const LOCAL_MAX_CHARS: usize = 64;

/// Parses an address; its domain becomes A-labels (RFC 5890), the only form that all servers know. Quoted local
/// parts, letters outside ASCII before the `@`, and address literals are refused: mail composed to them comes back, or is
/// not even taken.
///
/// `None` if no mail can be written to it.
#[must_use]
pub fn mail_address(text: &str) -> Option<Address> {
    let (local, domain) = text.rsplit_once('@')?;
    let domain = ascii_domain(domain)?;
    let fits = local.len() <= LOCAL_MAX_CHARS && is_dot_atom(local);
    let address = Address::new(local, domain).ok().filter(|_| fits)?;
    (address.to_string().len() <= MAX_CHARS && reads_back(&address)).then_some(address)
}

fn ascii_domain(domain: &str) -> Option<String> {
    use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
    let (denied, hyphens) = (AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    let ascii = Uts46::new().to_ascii(domain.as_bytes(), denied, hyphens, DnsLength::Verify).ok()?;
    let last = ascii.rsplit('.').next()?;
    // A last label of digits alone is an IP address.
    (!last.bytes().all(|byte| byte.is_ascii_digit())).then(|| ascii.into_owned())
}

/// RFC 5322 3.2.3: what needs no quotes.
fn is_dot_atom(local: &str) -> bool {
    let is_atom_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom_char))
}

/// True if a header that the composer writes has the same address when it is read.
fn reads_back(address: &Address) -> bool {
    let written = Mailbox::new(None, address.clone()).to_string();
    written.parse::<Mailbox>().is_ok_and(|read| read.email == *address && read.name.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<String> {
        mail_address(text).map(|address| address.to_string())
    }

    #[test]
    fn a_domain_becomes_a_labels() {
        for (given, stored) in [
            ("a@example.com", "a@example.com"),
            ("a@localhost", "a@localhost"),
            ("O'Neil+tag@Example.COM", "O'Neil+tag@example.com"),
            ("x@bücher.example", "x@xn--bcher-kva.example"),
            ("x@bu\u{308}cher.example", "x@xn--bcher-kva.example"),
            ("x@xn--bcher-kva.example", "x@xn--bcher-kva.example"),
            ("x@почта.рф", "x@xn--80a1acny.xn--p1ai"),
        ] {
            assert_eq!(parsed(given).as_deref(), Some(stored), "{given}");
        }
    }

    #[test]
    fn addresses_that_no_mail_can_go_to_are_refused() {
        let too_long = format!("a@{}", "b".repeat(260));
        let long_name = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b\n",
            "a@.b",
            "a@b.",
            "a@b..example",
            "a@-b.example",
            "a@b_c.example",
            "a@::1",
            "a@127.0.0.1",
            "a@[127.0.0.1]",
            "a@[IPv6:::1]",
            "\"a@b\"@example.com",
            "\"a\"@example.com",
            "a(comment)@example.com",
            ".a@example.com",
            "a..b@example.com",
            "josé@example.com",
            "<a@example.com>",
            "Alice<a@example.com>",
            "a@example.com,b@example.com",
            long_name.as_str(),
            too_long.as_str(),
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_parsed_address_stays_as_it_is(text in r#"[a-z".@\[\]é ß_\-]{1,12}@[a-zÄß0-9.:\-]{1,12}"#) {
            if let Some(once) = parsed(&text) {
                prop_assert!(once.is_ascii());
                prop_assert_eq!(parsed(&once), Some(once));
            }
        }
    }
}
