//! An offer: whatever is ordered, its terms stay sound and its history stays a sensible one.

use crate::life::Life;
use crate::orders::to_an_offer;
use domain::Money;
use domain::offer::{DURATION_DAYS, Event, Offer};
use proptest::prelude::*;

proptest! {
    #[test]
    fn the_terms_are_always_sound(commands in to_an_offer()) {
        for step in Life::<Offer>::of(commands).steps {
            if let Some(terms) = step.after.terms() {
                prop_assert!(!terms.name.is_empty());
                prop_assert!(terms.price >= Money::ZERO);
                prop_assert!(DURATION_DAYS.contains(&terms.duration_days));
            }
        }
    }

    #[test]
    fn it_is_created_first_and_once(commands in to_an_offer()) {
        let history = Life::<Offer>::of(commands).history();
        for (index, event) in history.iter().enumerate() {
            prop_assert_eq!(matches!(event, Event::Created(_)), index == 0);
        }
    }

    #[test]
    fn it_leaves_and_returns_in_turn(commands in to_an_offer()) {
        let life = Life::<Offer>::of(commands);
        let mut on_sale = true;
        for event in life.history() {
            match event {
                Event::Deactivated {} => prop_assert!(std::mem::replace(&mut on_sale, false)),
                Event::Reactivated {} => prop_assert!(!std::mem::replace(&mut on_sale, true)),
                Event::Created(_) | Event::Changed(_) => {}
            }
        }
        prop_assert_eq!(matches!(life.now, Offer::Inactive(_)), !on_sale);
    }

    #[test]
    fn its_terms_are_the_last_that_were_accepted(commands in to_an_offer()) {
        let life = Life::<Offer>::of(commands);
        let history = life.history();
        let last = history.iter().rev().find_map(|event| match event {
            Event::Created(terms) | Event::Changed(terms) => Some(terms),
            Event::Deactivated {} | Event::Reactivated {} => None,
        });
        prop_assert_eq!(life.now.terms(), last);
    }
}
