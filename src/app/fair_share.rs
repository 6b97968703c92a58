//! While many purchases wait, an account that asks for more than its share does not make the others wait longer.

use domain::AccountId;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Accounts that are counted in a period; what others ask for is not counted and not refused.
const ACCOUNTS_MAX: usize = 10_000;

/// What each account asks for, in periods that somebody else measures.
#[derive(Default)]
pub(super) struct FairShare(Mutex<Period>);

#[derive(Default)]
struct Period {
    asked: HashMap<AccountId, u32>,
    /// What one account may begin; `None`: as much as it likes.
    share: Option<u32>,
}

impl FairShare {
    /// Counts a purchase of `account`: whether it is within the share.
    pub(super) fn allows(&self, account: AccountId) -> bool {
        let Period { asked, share } = &mut *self.0.lock();
        if asked.len() >= ACCOUNTS_MAX && !asked.contains_key(&account) {
            return true;
        }
        let count = asked.entry(account).or_default();
        *count = count.saturating_add(1);
        share.is_none_or(|share| *count <= share)
    }

    /// Begins a period in which all accounts together may begin `pace` purchases, if there is a bound. It is divided among
    /// those that asked in the last one; a single account is nobody's rival.
    pub(super) fn begin_period(&self, pace: Option<u32>) {
        let mut period = self.0.lock();
        let rivals = u32::try_from(period.asked.len()).unwrap_or(u32::MAX);
        period.share = pace.filter(|_| rivals > 1).map(|pace| (pace / rivals).max(1));
        period.asked.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const FLOODS: AccountId = AccountId(Uuid::from_u128(1));
    const BUYS: AccountId = AccountId(Uuid::from_u128(2));

    /// Of `count` purchases of `account`, those that are allowed.
    fn allowed(shares: &FairShare, account: AccountId, count: usize) -> usize {
        (0..count).filter(|_| shares.allows(account)).count()
    }

    #[test]
    fn while_many_wait_an_account_begins_no_more_than_its_share() {
        let shares = FairShare::default();
        assert_eq!(allowed(&shares, FLOODS, 500), 500, "nothing waits");
        assert_eq!(allowed(&shares, BUYS, 1), 1);

        shares.begin_period(Some(100));
        assert_eq!(allowed(&shares, FLOODS, 500), 50);
        assert_eq!(allowed(&shares, BUYS, 2), 2);

        shares.begin_period(Some(1));
        assert_eq!([allowed(&shares, FLOODS, 9), allowed(&shares, BUYS, 9)], [1, 1], "each begins something");

        shares.begin_period(None);
        assert_eq!(allowed(&shares, FLOODS, 500), 500);
    }

    #[test]
    fn an_account_that_asks_alone_has_no_share() {
        let shares = FairShare::default();
        shares.allows(FLOODS);
        shares.begin_period(Some(10));
        assert_eq!(allowed(&shares, FLOODS, 500), 500);
    }

    #[test]
    fn accounts_beyond_the_bound_are_not_counted() {
        let shares = FairShare::default();
        for account in 0..=ACCOUNTS_MAX as u128 {
            shares.allows(AccountId(Uuid::from_u128(account)));
        }
        assert_eq!(shares.0.lock().asked.len(), ACCOUNTS_MAX);
    }
}
