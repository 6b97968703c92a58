//! The currency of an installation.

/// Parses an ISO 4217 code, such as `EUR`: three capital letters.
pub fn parse_currency(text: &str) -> Result<String, String> {
    let is_code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_code { Ok(text.to_owned()) } else { Err(format!("{text:?} is not an ISO 4217 code like EUR")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(parse_currency("CHF"), Ok("CHF".to_owned()));
        for wrong in ["", "euro", "eur", "EURO", "E R", "€", "ÄÖ"] {
            assert!(parse_currency(wrong).is_err(), "{wrong:?}");
        }
    }
}
