//! An account: opened once, and its balance is what came in less what went out.

use crate::life::{Life, standing};
use crate::orders::to_an_account;
use domain::account::{Account, Command, Event};
use domain::{AccountId, Ledger, Money};
use proptest::prelude::*;
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(0x1d);

proptest! {
    #[test]
    fn it_is_opened_once_at_most_and_stays_its_owners(commands in to_an_account()) {
        let life = Life::<Account>::of(commands);
        let openings = life.history().into_iter().filter(|event| matches!(event, Event::Opened { .. }));
        prop_assert!(openings.count() <= 1);
        for step in life.steps {
            prop_assert!(step.before == Account::Unopened || step.before == step.after);
        }
    }

    #[test]
    fn its_balance_is_what_was_accepted(commands in to_an_account()) {
        let life = Life::<Account>::of(commands);
        let moved = |step: &crate::life::Step<Account>| match (&step.command, &step.outcome) {
            (Command::Credit { amount }, Ok(_)) => *amount,
            (Command::Debit { amount }, Ok(_)) => -*amount,
            _ => Money::ZERO,
        };
        let balance: Money = life.steps.iter().map(moved).sum();
        let entries = life.entries(ID);
        prop_assert_eq!(standing(&entries, Ledger::Owner(AccountId(ID))), balance);
        prop_assert_eq!(standing(&entries, Ledger::Funding), -balance);
    }

    #[test]
    fn exactly_the_amounts_above_nothing_move(commands in to_an_account()) {
        for step in Life::<Account>::of(commands).steps {
            if let Command::Credit { amount } | Command::Debit { amount } = step.command {
                prop_assert_eq!(step.outcome.is_ok(), amount > Money::ZERO);
            }
        }
    }
}
