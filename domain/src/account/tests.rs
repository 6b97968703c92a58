//! What an account does with each command in each state.

use super::{Account, Command, Error, Event, Kind};
use crate::scenarios::{scenarios, variants};
use crate::{AccountId, Entry, Ledger, Money, Rules};
use uuid::Uuid;

variants!(STATES, state_of of Account:
    Account::Unopened,
    Account::Opened(Kind::User),
    Account::Opened(Kind::Partner),
);

variants!(COMMANDS, command_of of Command:
    Command::Open { .. },
    Command::Credit { .. },
    Command::Debit { .. },
);

fn open(kind: Kind) -> Command {
    Command::Open { kind }
}

fn credit(hundredths: i64) -> Command {
    Command::Credit { amount: Money::from_hundredths(hundredths) }
}

fn debit(hundredths: i64) -> Command {
    Command::Debit { amount: Money::from_hundredths(hundredths) }
}

fn credited(hundredths: i64) -> Event {
    Event::Credited { amount: Money::from_hundredths(hundredths) }
}

fn debited(hundredths: i64) -> Event {
    Event::Debited { amount: Money::from_hundredths(hundredths) }
}

fn nothing() -> Vec<Event> {
    vec![]
}

fn opened(kind: Kind) -> Vec<Event> {
    vec![Event::Opened { kind }]
}

scenarios! { Account:
    // --- not opened yet: it stands at 0.00 and may be paid into
    an_account_is_opened_for_a_user:
        given nothing(), when open(Kind::User), then Ok(opened(Kind::User));
    an_account_is_opened_for_a_partner:
        given nothing(), when open(Kind::Partner), then Ok(opened(Kind::Partner));
    an_account_is_opened_after_it_was_paid_into:
        given vec![credited(1)], when open(Kind::User), then Ok(opened(Kind::User));
    an_unopened_account_is_paid_into:
        given nothing(), when credit(1), then Ok(vec![credited(1)]);
    nothing_is_paid_into_an_unopened_account:
        given nothing(), when credit(0), then Err(Error::AmountNotPositive);
    an_unopened_account_that_was_paid_into_is_paid_out:
        given vec![credited(5)], when debit(5), then Ok(vec![debited(5)]);
    nothing_is_paid_out_of_an_unopened_account:
        given nothing(), when debit(0), then Err(Error::AmountNotPositive);

    // --- a user's
    a_users_account_opened_again_stays_as_it_is:
        given opened(Kind::User), when open(Kind::User), then Ok(vec![]);
    a_users_account_is_not_a_partners:
        given opened(Kind::User), when open(Kind::Partner), then Err(Error::OpenedForAnother);
    a_users_account_is_paid_into:
        given opened(Kind::User), when credit(100_000), then Ok(vec![credited(100_000)]);
    less_than_nothing_is_not_paid_into_a_users_account:
        given opened(Kind::User), when credit(-1), then Err(Error::AmountNotPositive);
    a_users_account_is_paid_out:
        given opened(Kind::User), when debit(1), then Ok(vec![debited(1)]);
    less_than_nothing_is_not_paid_out_of_a_users_account:
        given opened(Kind::User), when debit(-1), then Err(Error::AmountNotPositive);
    two_equal_credits_are_two_credits:
        given vec![Event::Opened { kind: Kind::User }, credited(5)],
        when credit(5), then Ok(vec![credited(5)]);

    // --- a partner's
    a_partners_account_opened_again_stays_as_it_is:
        given opened(Kind::Partner), when open(Kind::Partner), then Ok(vec![]);
    a_partners_account_is_not_a_users:
        given opened(Kind::Partner), when open(Kind::User), then Err(Error::OpenedForAnother);
    a_partners_float_is_paid_into:
        given opened(Kind::Partner), when credit(1), then Ok(vec![credited(1)]);
    nothing_is_paid_into_a_partners_float:
        given opened(Kind::Partner), when credit(0), then Err(Error::AmountNotPositive);
    a_partners_float_is_paid_out:
        given opened(Kind::Partner), when debit(1), then Ok(vec![debited(1)]);
    nothing_is_paid_out_of_a_partners_float:
        given opened(Kind::Partner), when debit(0), then Err(Error::AmountNotPositive);
}

#[test]
fn a_credit_comes_from_outside_and_a_debit_goes_there() {
    let id = Uuid::from_u128(0xa11ce);
    let owner = Ledger::Owner(AccountId(id));
    let entries = |event| Account::Unopened.postings(id, &event);
    let entry = |ledger, hundredths| Entry { ledger, amount: Money::from_hundredths(hundredths) };
    assert_eq!(entries(credited(7)), [entry(Ledger::Funding, -7), entry(owner, 7)]);
    assert_eq!(entries(debited(7)), [entry(owner, -7), entry(Ledger::Funding, 7)]);
    assert_eq!(entries(Event::Opened { kind: Kind::User }), []);
}
