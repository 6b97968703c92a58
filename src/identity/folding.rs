//! The forms of a text: as it is stored, and as it is compared and searched.
//!
//! They are computed here and stored, and never by the database: its functions depend on its locale and version.

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

/// The form of names and passwords: letters with accents are one character, however they were typed.
pub(super) fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// The form of usernames: in addition, variants of a letter (wide, superscript, ligatures) are that letter.
pub(super) fn nfkc(text: &str) -> String {
    text.nfkc().collect()
}

/// What two texts have in common that differ in case and form alone (Unicode 3.13, D146).
pub(super) fn folded(text: &str) -> String {
    text.chars().nfd().default_case_fold().nfkd().default_case_fold().nfkc().collect()
}

/// What is searched when users are listed, folded. A domain can be found by its letters as well as by its A-labels.
pub(super) fn search_text(username: &str, email: &str, first_name: &str, last_name: &str) -> String {
    let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    let (letters, _) = idna::domain_to_unicode(domain);
    let mut parts = vec![username, email, first_name, last_name];
    let readable = format!("{local}@{letters}");
    if letters != domain {
        parts.push(&readable);
    }
    folded(&parts.join("\n"))
}

/// What mail addresses are looked up by: PostgreSQL's `lower(email collate "C")`. A domain may be typed in its letters.
pub(super) fn folded_mail(text: &str) -> String {
    let address = text.rsplit_once('@').and_then(|(local, domain)| {
        idna::domain_to_ascii(domain).ok().map(|domain| format!("{local}@{domain}"))
    });
    address.unwrap_or_else(|| text.to_owned()).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_differ_in_case_and_form_alone_fold_to_the_same() {
        for (one, other) in [
            ("José", "JOSE\u{301}"),
            ("Ångström", "a\u{30a}ngstro\u{308}m"),
            ("\u{212b}", "å"),
            ("иван", "ИВАН"),
            ("straße", "STRASSE"),
            ("ὈΔΥΣΣΕΎΣ", "ὀδυσσεύς"),
            ("ﬁt", "FIT"),
            ("ａｌｉｃｅ", "Alice"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
            assert_eq!(folded(&folded(one)), folded(one), "{one}");
        }
        assert_ne!(folded("jose"), folded("josé"), "an accent makes another name");
        assert_ne!(folded("ivan"), folded("іvan"), "a letter of another script is another letter");
    }

    #[test]
    fn a_domain_is_found_by_its_letters() {
        let text = search_text("José", "j@xn--bcher-kva.example", "", "Núñez");
        for part in ["JOSÉ", "j@BÜCHER.ex", "xn--bcher", "nÚÑez"] {
            assert!(text.contains(&folded(part)), "{part}: {text}");
        }
    }
}
