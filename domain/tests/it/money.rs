//! Money: exactly the amounts of the contract are read, and no cent is lost on any way.

use domain::Money;
use proptest::collection::vec;
use proptest::prelude::*;
use rust_decimal::Decimal;

/// The largest balance, in hundredths: `numeric(18,2)`.
const MOST: i64 = 999_999_999_999_999_999;
/// The most that a request can name, in hundredths.
const MOST_REQUESTED: i64 = 9_999_999_999;

/// `^[0-9]{1,8}(\.[0-9]{1,2})?$`, letter by letter; the hundredths it names.
fn hundredths_of(text: &str) -> Option<i64> {
    let (mut units, mut fraction) = (Vec::new(), Vec::new());
    let mut point = false;
    for letter in text.chars() {
        match letter {
            '0'..='9' if point => fraction.push(letter as i64 - '0' as i64),
            '0'..='9' => units.push(letter as i64 - '0' as i64),
            '.' if !point => point = true,
            _ => return None,
        }
    }
    let sound = (1..=8).contains(&units.len()) && (!point || (1..=2).contains(&fraction.len()));
    let tenths = fraction.first().unwrap_or(&0);
    let cents = fraction.get(1).unwrap_or(&0);
    sound.then(|| units.iter().fold(0, |sum, digit| sum * 10 + digit) * 100 + tenths * 10 + cents)
}

/// Two places, by integer arithmetic alone.
fn written(hundredths: i64) -> String {
    let sign = if hundredths < 0 { "-" } else { "" };
    let size = hundredths.unsigned_abs();
    format!("{sign}{}.{:02}", size / 100, size % 100)
}

fn agrees_with_the_language(text: &str) {
    let read = Money::parse_amount(text).ok();
    assert_eq!(read, hundredths_of(text).map(Money::from_hundredths), "{text:?}");
}

/// Every text of at most `length` letters of `alphabet`.
fn texts(alphabet: &[&str], length: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut longest = all.clone();
    for _ in 0..length {
        longest = longest
            .iter()
            .flat_map(|text| alphabet.iter().map(move |letter| format!("{text}{letter}")))
            .collect();
        all.extend(longest.iter().cloned());
    }
    all
}

#[test]
fn every_short_text_is_judged_by_the_pattern() {
    for text in texts(&["0", "7", ".", "-", "e", " "], 5) {
        agrees_with_the_language(&text);
    }
}

#[test]
fn what_looks_like_an_amount_to_others_is_none_here() {
    let others = [
        "1e18",
        "1E2",
        "+1",
        "-1",
        "-0",
        "1.",
        ".5",
        "1.234",
        "123456789",
        "1_000",
        "1,50",
        "0x10",
        " 1",
        "1 ",
        "1\n",
        "NaN",
        "inf",
        "",
        ".",
        "1..2",
        "1.2.3",
        "٣",
        "１",
        "12345678901234567890123456789012",
        "1\0",
    ];
    for text in others {
        assert!(Money::parse_amount(text).is_err(), "{text:?}");
        assert_eq!(hundredths_of(text), None, "{text:?}");
    }
}

#[test]
fn the_edges_of_a_request_are_amounts() {
    for text in ["0", "0.0", "0.00", "00000000.01", "99999999", "99999999.99", "007", "19.9"] {
        agrees_with_the_language(text);
        assert!(Money::parse_amount(text).is_ok(), "{text}");
    }
}

#[test]
fn nothing_has_no_sign() {
    let nothings = [
        -Money::ZERO,
        -Money::from_hundredths(0),
        [Money::from_hundredths(-5), Money::from_hundredths(5)].into_iter().sum(),
        Money::from_hundredths(-5).checked_add(Money::from_hundredths(5)).expect("small"),
        Money::try_from(-Decimal::ZERO).expect("small"),
        Money::try_from(-Decimal::new(0, 2)).expect("small"),
    ];
    for nothing in nothings {
        assert_eq!((nothing.to_string().as_str(), nothing), ("0.00", Money::ZERO));
        assert_eq!(nothing.decimal().to_string(), "0.00");
        assert!(!nothing.is_negative() && !nothing.is_positive());
    }
}

#[test]
fn a_balance_has_an_end() {
    let most = Money::from_hundredths(MOST);
    assert_eq!(most.checked_add(Money::from_hundredths(1)), None);
    assert_eq!((-most).checked_add(Money::from_hundredths(-1)), None);
    assert!(Money::try_from(Decimal::new(MOST, 2) + Decimal::new(1, 2)).is_err());
    assert!(Money::try_from(Decimal::new(1, 3)).is_err());
    assert!(serde_json::from_str::<Money>("\"10000000000000000.00\"").is_err());
}

#[test]
#[should_panic(expected = "no balance holds")]
fn no_amount_is_named_that_no_balance_holds() {
    let _ = Money::from_hundredths(MOST + 1);
}

proptest! {
    #[test]
    fn any_text_is_judged_by_the_pattern(text in any::<String>()) {
        agrees_with_the_language(&text);
    }

    #[test]
    fn what_is_nearly_an_amount_is_judged_by_the_pattern(text in r"[0-9.]{0,12}|[-+]?[0-9]{1,9}[.,]?[0-9eE_]{0,3}\n?") {
        agrees_with_the_language(&text);
    }

    #[test]
    fn every_text_of_the_pattern_is_read_exactly(text in r"[0-9]{1,8}(\.[0-9]{1,2})?") {
        let hundredths = hundredths_of(&text).expect("a text of the pattern");
        let money = Money::parse_amount(&text).expect("a text of the pattern");
        prop_assert_eq!(money.to_string(), written(hundredths));
    }

    #[test]
    fn a_request_reads_back_what_is_shown(hundredths in 0..=MOST_REQUESTED) {
        let money = Money::from_hundredths(hundredths);
        prop_assert_eq!(money.to_string(), written(hundredths));
        prop_assert_eq!(Money::parse_amount(&money.to_string()), Ok(money));
    }

    #[test]
    fn a_stored_amount_reads_back_in_the_same_bytes(hundredths in -MOST..=MOST) {
        let money = Money::from_hundredths(hundredths);
        let stored = serde_json::to_string(&money).expect("money is JSON");
        prop_assert_eq!(&stored, &format!("\"{}\"", written(hundredths)));
        prop_assert_eq!(serde_json::from_str::<Money>(&stored).expect("as written"), money);
    }

    #[test]
    fn no_other_text_is_stored_money(text in r"-?[0-9]{0,3}\.?[0-9]{0,3}|[+ _]?[0-9]{1,2}\.[0-9]{2}[ _]?") {
        let stored = serde_json::to_string(&text).expect("a text is JSON");
        if let Ok(money) = serde_json::from_str::<Money>(&stored) {
            prop_assert_eq!(money.to_string(), text);
        }
    }

    #[test]
    fn a_decimal_of_the_same_value_is_the_same_money(hundredths in -MOST..=MOST, zeros in 2..9_u32) {
        let mut decimal = Decimal::new(hundredths, 2);
        decimal.rescale(zeros);
        let money = Money::try_from(decimal).expect("two places and zeros");
        prop_assert_eq!(money, Money::from_hundredths(hundredths));
        prop_assert_eq!(money.to_string(), written(hundredths));
        prop_assert_eq!((money.decimal().mantissa(), money.decimal().scale()), (i128::from(hundredths), 2));
    }

    #[test]
    fn sums_lose_no_cent(amounts in vec(-MOST_REQUESTED..=MOST_REQUESTED, 0..200)) {
        let sum: Money = amounts.iter().copied().map(Money::from_hundredths).sum();
        prop_assert_eq!(sum.to_string(), written(amounts.iter().sum()));
    }

    #[test]
    fn two_amounts_add_up_or_are_too_much(left in -MOST..=MOST, right in -MOST..=MOST) {
        let sum = left + right; // below 2 * 10^18, so within an i64
        let expected = (sum.abs() <= MOST).then(|| Money::from_hundredths(sum));
        prop_assert_eq!(Money::from_hundredths(left).checked_add(Money::from_hundredths(right)), expected);
    }

    #[test]
    fn amounts_are_ordered_as_their_hundredths(left in -MOST..=MOST, right in -MOST..=MOST) {
        let (one, other) = (Money::from_hundredths(left), Money::from_hundredths(right));
        prop_assert_eq!(one.cmp(&other), left.cmp(&right));
        prop_assert_eq!(one.is_positive(), left > 0);
        prop_assert_eq!(one.is_negative(), left < 0);
        prop_assert_eq!(-one, Money::from_hundredths(-left));
    }
}
