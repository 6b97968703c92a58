//! Random orders. The pools are small, so that repeats, contradictions and late arrivals are common.

use domain::offer::Terms;
use domain::transaction::{ActivationRequested, Answer, AttemptKind, Evidence, Kind};
use domain::{
    AccountId, Money, OfferId, PartnerId, SubscriptionId, Timestamp, TransactionId, UserId, account, offer,
    transaction, user_offer,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use uuid::Uuid;

/// The most commands of one life.
const MOST_COMMANDS: usize = 16;

pub(crate) fn id<T: From<Uuid>>(number: u128) -> T {
    T::from(Uuid::from_u128(number))
}

/// What a client can name as an amount, and the prices that offers have.
pub(crate) fn amount() -> impl Strategy<Value = Money> {
    prop_oneof![Just(0), 1..=5_000_i64, 0..=9_999_999_999_i64].prop_map(Money::from_hundredths)
}

/// A request that the rule accepts.
pub(crate) fn purchase() -> impl Strategy<Value = ActivationRequested> {
    let terms = (".{0,12}", 1..=3650_u32, amount());
    let way = prop_oneof![Just(Kind::Activation), Just(Kind::Renewal), Just(Kind::Partner)];
    (way, 1..4_u128, option::of(4..6_u128), terms, option::of(".{0,12}")).prop_map(
        |(kind, user, partner, (offer_name, duration_days, amount), partner_reference)| {
            let user_id = id::<UserId>(user);
            let partner_id = partner.filter(|_| kind == Kind::Partner).map(id::<PartnerId>);
            ActivationRequested {
                kind,
                user_id,
                account_id: partner_id.map_or(AccountId::from(user_id), AccountId::from),
                partner_id,
                subscription_id: (kind == Kind::Renewal).then(|| id::<SubscriptionId>(9)),
                offer_id: id::<OfferId>(7),
                offer_name,
                duration_days,
                amount,
                partner_reference,
                reference: (kind == Kind::Partner).then(|| "REF-0123456789AB".to_owned()),
            }
        },
    )
}

/// Orders around two requests that contend for one id.
pub(crate) fn to_a_transaction() -> impl Strategy<Value = Vec<transaction::Command>> {
    use transaction::Command;
    let order = |requests: [ActivationRequested; 2]| {
        prop_oneof![
            2 => select(requests.to_vec()).prop_map(Command::Request),
            4 => (0..4_u32).prop_map(|attempt| Command::BeginAttempt { attempt }),
            2 => select(vec!["a", "b"])
                .prop_map(|reference| Command::Succeed { reference: reference.to_owned() }),
            2 => (select(vec!["a", "b"]), ".{0,4}")
                .prop_map(|(code, message)| Command::Fail { code: code.to_owned(), message }),
            3 => failed_attempt(),
            1 => Just(Command::GiveUp),
            1 => Just(Command::BeginCancellation),
            1 => Just(Command::RequestRetry),
            1 => option::of(select(vec!["a", "b"]))
                .prop_map(|reference| Command::Resolve { done_as: reference.map(str::to_owned) }),
            1 => (select(vec![Answer::Activated, Answer::Rejected]), select(vec!["a", "b"]))
                .prop_map(|(answer, detail)| {
                    let (kind, detail) = (AttemptKind::LookUp, detail.to_owned());
                    Command::RecordLateAnswer { kind, answer, detail }
                }),
        ]
    };
    [purchase(), purchase()].prop_flat_map(move |requests| vec(order(requests), 0..MOST_COMMANDS))
}

fn failed_attempt() -> impl Strategy<Value = transaction::Command> {
    let kinds = vec![AttemptKind::Activate, AttemptKind::Activate, AttemptKind::LookUp, AttemptKind::Cancel];
    let evidence = vec![Evidence::NotSent, Evidence::NotTaken, Evidence::SentNoAnswer, Evidence::Answered];
    (0..4_u32, select(kinds), select(evidence)).prop_map(|(attempt, kind, evidence)| {
        let detail = "no answer".to_owned();
        transaction::Command::RecordFailedAttempt { attempt, kind, evidence, detail }
    })
}

/// `days` after the first day of 2026.
pub(crate) fn day(days: u32) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().expect("a moment").plus_days(days)
}

/// Orders on any days, also on earlier ones than the order before.
pub(crate) fn to_a_subscription() -> impl Strategy<Value = Vec<user_offer::Command>> {
    vec(to_a_subscription_on(day(0), 4), 0..MOST_COMMANDS)
}

/// Orders whose clock never goes back.
pub(crate) fn to_a_subscription_in_time() -> impl Strategy<Value = Vec<user_offer::Command>> {
    vec((to_a_subscription_on(day(0), 4), 0..3_u32), 0..MOST_COMMANDS).prop_map(|orders| {
        let mut today = 0;
        let on = |(order, days)| {
            today += days;
            at(order, day(today))
        };
        orders.into_iter().map(on).collect()
    })
}

/// Orders in the last thirty years that a moment can be in.
pub(crate) fn to_a_subscription_near_the_end_of_time() -> impl Strategy<Value = Vec<user_offer::Command>> {
    let late = "9970-01-01T00:00:00Z".parse::<Timestamp>().expect("a moment");
    vec(to_a_subscription_on(late, 3650), 0..MOST_COMMANDS)
}

fn to_a_subscription_on(from: Timestamp, most_days: u32) -> impl Strategy<Value = user_offer::Command> {
    use user_offer::Command;
    let purchase = (1..5_u128).prop_map(id::<TransactionId>);
    let paid = (purchase, 1..=most_days, 0..20_u32);
    prop_oneof![
        2 => (paid.clone(), 1..3_u128).prop_map(move |((transaction_id, duration_days, days), user)| {
            let at = from.plus_days(days);
            Command::Activate { user_id: id(user), offer_id: id(7), transaction_id, duration_days, at }
        }),
        3 => paid.prop_map(move |(transaction_id, duration_days, days)| {
            Command::Renew { transaction_id, duration_days, at: from.plus_days(days) }
        }),
        2 => (0..24_u32).prop_map(move |days| Command::AnnounceExpiry { expires_at: from.plus_days(days) }),
        2 => (0..24_u32).prop_map(move |days| Command::Expire { at: from.plus_days(days) }),
    ]
}

/// The same order, given `now`.
fn at(order: user_offer::Command, now: Timestamp) -> user_offer::Command {
    use user_offer::Command;
    match order {
        Command::Activate { user_id, offer_id, transaction_id, duration_days, .. } => {
            Command::Activate { user_id, offer_id, transaction_id, duration_days, at: now }
        }
        Command::Renew { transaction_id, duration_days, .. } => {
            Command::Renew { transaction_id, duration_days, at: now }
        }
        Command::Expire { .. } => Command::Expire { at: now },
        seen @ Command::AnnounceExpiry { .. } => seen,
    }
}

/// Orders with sound and unsound terms, of which three are drawn for each life.
pub(crate) fn to_an_offer() -> impl Strategy<Value = Vec<offer::Command>> {
    use offer::Command;
    let terms = ("[a-c]{0,2}", ".{0,8}", -1..3_i64, prop_oneof![0..3_u32, 3648..3653_u32]).prop_map(
        |(name, description, hundredths, duration_days)| Terms {
            name,
            description,
            price: Money::from_hundredths(hundredths),
            duration_days,
        },
    );
    vec(terms, 3).prop_flat_map(|pool| {
        let pick = move |index: Index| index.get(&pool).clone();
        let (later, other) = (pick.clone(), pick.clone());
        let order = prop_oneof![
            any::<Index>().prop_map(move |index| Command::Create(pick(index))),
            any::<Index>().prop_map(move |index| Command::Prepare(later(index))),
            any::<Index>().prop_map(move |index| Command::Change(other(index))),
            Just(Command::Deactivate),
            Just(Command::Reactivate),
        ];
        vec(order, 0..MOST_COMMANDS)
    })
}

/// Orders of which some pay nothing or less.
pub(crate) fn to_an_account() -> impl Strategy<Value = Vec<account::Command>> {
    use account::{Command, Kind};
    let any_amount = || prop_oneof![(-2..3_i64).prop_map(Money::from_hundredths), amount()];
    let order = prop_oneof![
        select(vec![Kind::User, Kind::Partner]).prop_map(|kind| Command::Open { kind }),
        any_amount().prop_map(|amount| Command::Credit { amount }),
        any_amount().prop_map(|amount| Command::Debit { amount }),
    ];
    vec(order, 0..MOST_COMMANDS)
}
