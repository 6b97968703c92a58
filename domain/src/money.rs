//! Money: decimal, two places, one currency an installation.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::iter::Sum;
use std::ops::Neg;

/// The most digits before the point that a request may carry.
const MAX_REQUEST_DIGITS: usize = 8;
/// What `numeric(18,2)` holds: the largest balance, in hundredths.
const MAX_HUNDREDTHS: i64 = 999_999_999_999_999_999;

/// An amount with exactly two decimal places; negative only as the outgoing side of a posting.
/// Nothing has no sign: `-0.00` would reach statements and PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(Decimal);

/// A text or a number that is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is 1 to 8 digits, optionally followed by a point and 1 or 2 digits")]
pub struct MoneyError;

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// `hundredths` of a unit: cents, for most currencies. For amounts that the program itself names.
    ///
    /// # Panics
    /// Beyond what `numeric(18,2)` holds: such an amount could be written and never read again.
    #[must_use]
    pub fn from_hundredths(hundredths: i64) -> Self {
        assert!(hundredths.unsigned_abs() <= MAX_HUNDREDTHS.unsigned_abs(), "no balance holds {hundredths}");
        Self(Decimal::new(hundredths, 2))
    }

    /// An amount as a client writes it: `^[0-9]{1,8}(\.[0-9]{1,2})?$`, judged on the text, so that
    /// no conversion can bend it (`1e18`, `+1`, `1.` and `NaN` are refused).
    ///
    /// # Errors
    /// `MoneyError` for any other text.
    pub fn parse_amount(text: &str) -> Result<Self, MoneyError> {
        let (units, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str, most: usize| {
            (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(units, MAX_REQUEST_DIGITS) || !digits(fraction, 2) {
            return Err(MoneyError);
        }
        Decimal::from_str_exact(text).map_err(|_| MoneyError).and_then(Self::try_from)
    }

    /// The same amount for libraries that speak `Decimal`; its scale is 2.
    #[must_use]
    pub fn decimal(self) -> Decimal {
        let mut decimal = self.0;
        decimal.rescale(2);
        decimal
    }

    /// True for more than nothing.
    #[must_use]
    pub fn is_positive(self) -> bool {
        self > Self::ZERO
    }

    /// True for less than nothing.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self < Self::ZERO
    }

    /// The sum, or `None` if it is larger than a balance can be.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(|sum| Self::try_from(sum).ok())
    }
}

/// The only way from a sum or a difference to money: takes the sign off nothing.
fn unsigned_if_zero(decimal: Decimal) -> Money {
    if decimal.is_zero() { Money::ZERO } else { Money(decimal) }
}

impl TryFrom<Decimal> for Money {
    type Error = MoneyError;

    fn try_from(decimal: Decimal) -> Result<Self, MoneyError> {
        let fits = decimal.abs() <= Decimal::new(MAX_HUNDREDTHS, 2) && decimal.round_dp(2) == decimal;
        if fits { Ok(unsigned_if_zero(decimal)) } else { Err(MoneyError) }
    }
}

impl Neg for Money {
    type Output = Self;

    fn neg(self) -> Self {
        unsigned_if_zero(-self.0)
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        unsigned_if_zero(amounts.map(|amount| amount.0).sum())
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    /// Reads what `Serialize` wrote and nothing else, so that what is read back is written in the
    /// same bytes; stored amounts may be larger than a request's.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let money = Decimal::from_str_exact(&text)
            .map_err(serde::de::Error::custom)
            .and_then(|decimal| Self::try_from(decimal).map_err(serde::de::Error::custom))?;
        if money.to_string() == text {
            Ok(money)
        } else {
            Err(serde::de::Error::custom("stored money is digits, a point and two digits"))
        }
    }
}
