//! What people may type, and how long it may be.
//!
//! Usernames follow Django's ASCII rule: letters, digits and `@ . + - _`, case-sensitive. Letters of
//! other scripts are left out because some look the same as others, and a name is how an admin tells
//! people apart.

use super::error::{Error, FieldError};
use lettre::Address;
use secrecy::{ExposeSecret, SecretString};

/// Longest username, first name, last name and partner's name.
const NAME_MAX_CHARS: usize = 150;
/// Longest mail address (RFC 5321 allows no longer path).
const EMAIL_MAX_CHARS: usize = 254;
/// Shortest password (NIST SP 800-63B).
const PASSWORD_MIN_CHARS: usize = 8;
/// Longest password: far above any passphrase, far below what would make hashing dear.
const PASSWORD_MAX_CHARS: usize = 1024;
const SEARCH_MAX_CHARS: usize = 150;

/// Collects everything that is wrong, so that a form is corrected in one go.
#[derive(Default)]
pub(super) struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    pub(super) fn username(&mut self, text: &str) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "@.+-_".contains(c);
        if text.is_empty() || text.len() > NAME_MAX_CHARS || !text.chars().all(allowed) {
            self.refuse(
                "username",
                format!("must be 1 to {NAME_MAX_CHARS} letters, digits and @ . + - _ only"),
            );
        }
    }

    /// An address that mail can be sent to, as the library that sends it judges.
    pub(super) fn email(&mut self, text: &str) {
        let usable = text.parse::<Address>().is_ok();
        let clean = !text.contains(|c: char| c.is_whitespace() || c.is_control());
        if !usable || !clean || text.chars().count() > EMAIL_MAX_CHARS {
            self.refuse("email", "must be a mail address".to_owned());
        }
    }

    pub(super) fn password(&mut self, text: &SecretString) {
        let text = text.expose_secret();
        if !(PASSWORD_MIN_CHARS..=PASSWORD_MAX_CHARS).contains(&text.chars().count()) {
            self.refuse(
                "password",
                format!("must have {PASSWORD_MIN_CHARS} to {PASSWORD_MAX_CHARS} characters"),
            );
        } else if text.contains('\0') {
            self.refuse("password", "must not contain a NUL character".to_owned());
        }
    }

    /// Free text of one line: a person's or a partner's name.
    pub(super) fn line(&mut self, field: &'static str, text: &str, min_chars: usize) {
        let chars = text.trim().chars().count();
        if chars < min_chars || text.chars().count() > NAME_MAX_CHARS || text.contains(char::is_control) {
            let range = format!("{min_chars} to {NAME_MAX_CHARS}");
            self.refuse(field, format!("must be {range} characters without control characters"));
        }
    }

    pub(super) fn search(&mut self, text: &str) {
        if text.chars().count() > SEARCH_MAX_CHARS || text.contains(char::is_control) {
            self.refuse("q", format!("must be at most {SEARCH_MAX_CHARS} characters"));
        }
    }

    fn refuse(&mut self, field: &'static str, message: String) {
        self.errors.push(FieldError { field, message });
    }

    /// # Errors
    /// `Invalid` with everything that was found.
    pub(super) fn done(self) -> Result<(), Error> {
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Invalid(self.errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(check: impl FnOnce(&mut Check)) -> bool {
        let mut fields = Check::default();
        check(&mut fields);
        fields.done().is_err()
    }

    #[test]
    fn usernames_are_djangos_ascii_ones() {
        for good in ["alice", "Alice.B+c-d_e@f", "7", &"x".repeat(150)] {
            assert!(!refused(|f| f.username(good)), "{good}");
        }
        for bad in ["", "a b", "a\n", "аlice", "a/b", "a\0", &"x".repeat(151)] {
            assert!(refused(|f| f.username(bad)), "{bad:?}");
        }
    }

    #[test]
    fn mail_addresses_have_a_name_and_a_host() {
        assert!(!refused(|f| f.email("a@example.com")));
        assert!(!refused(|f| f.email("a@localhost")));
        let too_long = format!("a@{}", "b".repeat(260));
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b\n",
            "a@.b",
            "<a@example.com>",
            "Alice<a@example.com>",
            "a@example.com,b@example.com",
            "a@b..example",
            too_long.as_str(),
        ] {
            assert!(refused(|f| f.email(bad)), "{bad:?}");
        }
    }

    #[test]
    fn passwords_are_neither_tiny_nor_endless() {
        assert!(!refused(|f| f.password(&"12345678".into())));
        assert!(!refused(|f| f.password(&"ñandú-ñu".into())));
        assert!(refused(|f| f.password(&"1234567".into())));
        assert!(refused(|f| f.password(&"x".repeat(1025).into())));
        assert!(refused(|f| f.password(&"1234567\0".into())));
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let mut fields = Check::default();
        fields.username("");
        fields.email("");
        fields.line("first_name", "tab\there", 0);
        let Err(Error::Invalid(errors)) = fields.done() else { panic!("three bad fields were accepted") };
        let names: Vec<_> = errors.iter().map(|error| error.field).collect();
        assert_eq!(names, ["username", "email", "first_name"]);
    }
}
