//! What an offer does with each command in each state.

use super::{Command, Error, Event, Offer, Terms};
use crate::Money;
use crate::scenarios::{scenarios, state, variants};

variants!(STATES, state_of of Offer: Offer::None, Offer::Active(_), Offer::Inactive(_));

variants!(COMMANDS, command_of of Command:
    Command::Create(_),
    Command::Prepare(_),
    Command::Change(_),
    Command::Deactivate,
    Command::Reactivate,
);

fn terms() -> Terms {
    Terms {
        name: "Data 5 GB".to_owned(),
        description: String::new(),
        price: Money::from_hundredths(19_99),
        duration_days: 30,
    }
}

fn dearer() -> Terms {
    Terms { price: Money::from_hundredths(24_99), ..terms() }
}

fn unnamed() -> Terms {
    Terms { name: String::new(), ..terms() }
}

fn priced(hundredths: i64) -> Terms {
    Terms { price: Money::from_hundredths(hundredths), ..terms() }
}

fn lasting(duration_days: u32) -> Terms {
    Terms { duration_days, ..terms() }
}

fn nothing() -> Vec<Event> {
    vec![]
}

fn active() -> Vec<Event> {
    vec![Event::Created(terms())]
}

fn inactive() -> Vec<Event> {
    vec![Event::Created(terms()), Event::Deactivated {}]
}

scenarios! { Offer:
    // --- there is none yet
    an_offer_is_created_on_sale:
        given nothing(), when Command::Create(terms()), then Ok(vec![Event::Created(terms())]);
    an_offer_may_be_free:
        given nothing(), when Command::Create(priced(0)), then Ok(vec![Event::Created(priced(0))]);
    an_offer_lasts_a_day_at_least:
        given nothing(), when Command::Create(lasting(1)), then Ok(vec![Event::Created(lasting(1))]);
    an_offer_lasts_ten_years_at_most:
        given nothing(), when Command::Create(lasting(3650)), then Ok(vec![Event::Created(lasting(3650))]);
    an_offer_has_a_name:
        given nothing(), when Command::Create(unnamed()), then Err(Error::UnsoundTerms);
    no_price_is_below_zero:
        given nothing(), when Command::Create(priced(-1)), then Err(Error::UnsoundTerms);
    no_offer_lasts_no_time:
        given nothing(), when Command::Create(lasting(0)), then Err(Error::UnsoundTerms);
    no_offer_lasts_more_than_ten_years:
        given nothing(), when Command::Create(lasting(3651)), then Err(Error::UnsoundTerms);
    an_offer_to_be_sold_later_is_never_on_sale_before:
        given nothing(), when Command::Prepare(terms()), then Ok(inactive());
    an_offer_to_be_sold_later_has_sound_terms_too:
        given nothing(), when Command::Prepare(unnamed()), then Err(Error::UnsoundTerms);
    what_was_never_created_cannot_change:
        given nothing(), when Command::Change(terms()), then Err(Error::NeverCreated);
    what_was_never_created_cannot_leave_the_sale:
        given nothing(), when Command::Deactivate, then Err(Error::NeverCreated);
    what_was_never_created_cannot_return_to_the_sale:
        given nothing(), when Command::Reactivate, then Err(Error::NeverCreated);

    // --- on sale
    an_offer_created_again_alike_changes_nothing:
        given active(), when Command::Create(terms()), then Ok(vec![]);
    another_offer_under_the_same_id_is_refused:
        given active(), when Command::Create(dearer()), then Err(Error::AlreadyCreated);
    an_offer_on_sale_is_not_to_be_sold_later:
        given active(), when Command::Prepare(terms()), then Ok(vec![]);
    an_offer_to_be_sold_later_needs_an_id_of_its_own:
        given active(), when Command::Prepare(dearer()), then Err(Error::AlreadyCreated);
    an_offer_changes_its_terms:
        given active(), when Command::Change(dearer()), then Ok(vec![Event::Changed(dearer())]);
    a_change_to_the_same_terms_changes_nothing:
        given active(), when Command::Change(terms()), then Ok(vec![]);
    a_change_repeated_changes_nothing:
        given [active(), vec![Event::Changed(dearer())]].concat(),
        when Command::Change(dearer()), then Ok(vec![]);
    terms_can_change_back:
        given [active(), vec![Event::Changed(dearer())]].concat(),
        when Command::Change(terms()), then Ok(vec![Event::Changed(terms())]);
    no_change_leads_to_unsound_terms:
        given active(), when Command::Change(lasting(0)), then Err(Error::UnsoundTerms);
    an_offer_leaves_the_sale:
        given active(), when Command::Deactivate, then Ok(vec![Event::Deactivated {}]);
    an_offer_on_sale_need_not_return_to_it:
        given active(), when Command::Reactivate, then Ok(vec![]);

    // --- not on sale
    an_offer_created_again_alike_does_not_return_to_the_sale:
        given inactive(), when Command::Create(terms()), then Ok(vec![]);
    another_offer_under_the_id_of_one_that_left_is_refused:
        given inactive(), when Command::Create(dearer()), then Err(Error::AlreadyCreated);
    an_offer_to_be_sold_later_made_again_alike_changes_nothing:
        given inactive(), when Command::Prepare(terms()), then Ok(vec![]);
    an_offer_that_left_the_sale_changes_its_terms:
        given inactive(), when Command::Change(dearer()), then Ok(vec![Event::Changed(dearer())]);
    a_change_of_nothing_off_sale_changes_nothing:
        given inactive(), when Command::Change(terms()), then Ok(vec![]);
    an_offer_leaves_the_sale_once:
        given inactive(), when Command::Deactivate, then Ok(vec![]);
    an_offer_returns_to_the_sale:
        given inactive(), when Command::Reactivate, then Ok(vec![Event::Reactivated {}]);
}

#[test]
fn a_change_neither_takes_an_offer_off_sale_nor_puts_it_back() {
    let changed = vec![Event::Changed(dearer())];
    assert_eq!(state::<Offer>([active(), changed.clone()].concat()), Offer::Active(dearer()));
    assert_eq!(state::<Offer>([inactive(), changed].concat()), Offer::Inactive(dearer()));
}

#[test]
fn an_offer_keeps_its_terms_off_sale_and_back() {
    let back = [inactive(), vec![Event::Reactivated {}]].concat();
    assert_eq!(state::<Offer>(inactive()).terms(), Some(&terms()));
    assert_eq!(state::<Offer>(back), Offer::Active(terms()));
    assert_eq!(state::<Offer>(nothing()).terms(), None);
}

#[test]
fn an_offer_is_sold_at_its_price_while_it_is_on_sale() {
    let (price, other) = (terms().price, dearer().price);
    assert_eq!(state::<Offer>(active()).sold_at(None), Ok(&terms()));
    assert_eq!(state::<Offer>(active()).sold_at(Some(price)), Ok(&terms()));
    assert_eq!(state::<Offer>(active()).sold_at(Some(other)), Err(Error::AnotherPrice));
    for gone in [nothing(), inactive()] {
        assert_eq!(state::<Offer>(gone).sold_at(Some(other)), Err(Error::NotOnSale));
    }
}
