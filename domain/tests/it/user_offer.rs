//! A subscription: no paid day is lost, none is given twice.

use crate::life::Life;
use crate::orders::{to_a_subscription, to_a_subscription_in_time, to_a_subscription_near_the_end_of_time};
use domain::user_offer::{Command, Event, Period, UserOffer};
use domain::{Timestamp, TransactionId};
use proptest::prelude::*;
use std::collections::HashSet;

fn end(state: &UserOffer) -> Option<Timestamp> {
    match state {
        UserOffer::None => None,
        UserOffer::Subscribed(now) => Some(now.expires_at),
    }
}

fn periods(history: &[Event]) -> Vec<Period> {
    let period = |event: &Event| match event {
        Event::Activated(period) | Event::Renewed(period) => Some(period.clone()),
        Event::ExpirySoon { .. } | Event::Expired { .. } => None,
    };
    history.iter().filter_map(period).collect()
}

fn paid_days(command: &Command) -> Option<(TransactionId, u32)> {
    match command {
        Command::Activate { transaction_id, duration_days, .. }
        | Command::Renew { transaction_id, duration_days, .. } => Some((*transaction_id, *duration_days)),
        Command::AnnounceExpiry { .. } | Command::Expire { .. } => None,
    }
}

fn the_end_never_moves_back(life: &Life<UserOffer>) {
    for step in &life.steps {
        assert!(end(&step.before) <= end(&step.after), "{:?}", step.command);
    }
}

fn each_purchase_counts_once(life: &Life<UserOffer>) {
    let periods = periods(&life.history());
    let paid_by: Vec<TransactionId> = periods.iter().map(|period| period.transaction_id).collect();
    let distinct: HashSet<_> = paid_by.iter().collect();
    assert_eq!(distinct.len(), paid_by.len());
    if let UserOffer::Subscribed(now) = &life.now {
        assert_eq!(now.paid_by, paid_by);
    }
}

proptest! {
    #[test]
    fn an_end_never_moves_back(commands in to_a_subscription()) {
        the_end_never_moves_back(&Life::of(commands));
    }

    #[test]
    fn an_end_never_moves_back_at_the_end_of_time(commands in to_a_subscription_near_the_end_of_time()) {
        let life = Life::of(commands);
        the_end_never_moves_back(&life);
        each_purchase_counts_once(&life);
    }

    #[test]
    fn a_purchase_counts_once(commands in to_a_subscription()) {
        each_purchase_counts_once(&Life::of(commands));
    }

    #[test]
    fn an_accepted_purchase_gives_all_its_days(commands in to_a_subscription()) {
        let life = Life::<UserOffer>::of(commands);
        for step in &life.steps {
            for period in periods(step.events()) {
                let (transaction_id, days) = paid_days(&step.command).expect("only a purchase begins a period");
                prop_assert_eq!(period.transaction_id, transaction_id);
                prop_assert_eq!(period.expires_at, period.starts_at.plus_days(days));
            }
        }
    }

    #[test]
    fn paid_periods_follow_each_other_and_stay_the_same_persons(commands in to_a_subscription()) {
        let history = Life::<UserOffer>::of(commands).history();
        for pair in periods(&history).windows(2) {
            prop_assert!(pair[0].expires_at <= pair[1].starts_at);
            prop_assert_eq!((pair[0].user_id, pair[0].offer_id), (pair[1].user_id, pair[1].offer_id));
        }
        prop_assert!(history.iter().skip(1).all(|event| !matches!(event, Event::Activated(_))));
    }

    #[test]
    fn a_renewal_never_starts_in_the_past(commands in to_a_subscription_in_time()) {
        for step in Life::<UserOffer>::of(commands).steps {
            if let (Command::Renew { at, .. }, [Event::Renewed(period)]) = (&step.command, step.events()) {
                prop_assert!(period.starts_at >= *at);
                prop_assert!(Some(period.starts_at) == end(&step.before) || period.starts_at == *at);
            }
        }
    }

    #[test]
    fn each_end_is_announced_and_recorded_once_at_most(commands in to_a_subscription()) {
        let history = Life::<UserOffer>::of(commands).history();
        let mut seen = HashSet::new();
        for event in history {
            match event {
                Event::ExpirySoon { expires_at, .. } => prop_assert!(seen.insert(("soon", expires_at))),
                Event::Expired { expires_at, .. } => prop_assert!(seen.insert(("ended", expires_at))),
                Event::Activated(_) | Event::Renewed(_) => {}
            }
        }
    }

    #[test]
    fn an_end_is_recorded_only_when_it_has_come(commands in to_a_subscription()) {
        for step in Life::<UserOffer>::of(commands).steps {
            if let (Command::Expire { at }, [Event::Expired { expires_at, .. }]) = (&step.command, step.events()) {
                prop_assert!(expires_at <= at);
                prop_assert_eq!(Some(*expires_at), end(&step.before));
            }
        }
    }
}
