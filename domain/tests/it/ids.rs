//! Derived ids: the same for the same, different for anything else, and the same for ever.

use domain::ids::IdempotencyKey;
use domain::{SubscriptionId, TransactionId};
use proptest::collection::hash_set;
use proptest::prelude::*;
use std::collections::HashSet;
use uuid::{Uuid, Variant, Version};

fn caller() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

/// As `Idempotency-Key` may be, and what a partner may write.
fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{1,40}", ".{1,40}", "[ab]{1,3}"]
}

fn both_kinds(key: &str) -> [IdempotencyKey; 2] {
    [IdempotencyKey::Header(key.to_owned()), IdempotencyKey::PartnerReference(key.to_owned())]
}

/// Everything that is derived from `callers` and `keys`.
fn derived(callers: &HashSet<Uuid>, keys: &HashSet<String>) -> Vec<Uuid> {
    let of_keys = callers.iter().flat_map(|caller| {
        keys.iter().flat_map(|key| both_kinds(key)).map(|key| key.event_id(*caller)).collect::<Vec<_>>()
    });
    let of_transactions = callers.iter().map(|id| SubscriptionId::started_by(TransactionId(*id)).0);
    of_keys.chain(of_transactions).collect()
}

/// Computed outside this program: SHA-1 over the namespace `6f666665-7273-4150-8149-6f6666657273`, the
/// caller's 16 bytes, `k`, `r` or `s`, and the key, as RFC 9562 makes a version 5 of it.
#[test]
fn the_derivation_never_changes() {
    let caller: Uuid = "0193f7c0-0000-7000-8000-0000000000a1".parse().expect("an id");
    let [key, reference] = both_kinds("order-7").map(|key| key.event_id(caller).to_string());
    let subscription = SubscriptionId::started_by(TransactionId(caller)).to_string();
    assert_eq!(key, "aba66ca5-1051-5e80-9fa0-834f9de01331");
    assert_eq!(reference, "8eb428c1-c607-52f2-8557-d719935c6cd3");
    assert_eq!(subscription, "40b31b4f-dee9-5130-8cfd-c8e5586c4ad4");
}

proptest! {
    #[test]
    fn the_same_caller_and_key_give_the_same_id(caller in caller(), key in key()) {
        for key in both_kinds(&key) {
            prop_assert_eq!(key.event_id(caller), key.clone().event_id(caller));
        }
        let transaction = TransactionId(caller);
        prop_assert_eq!(SubscriptionId::started_by(transaction), SubscriptionId::started_by(transaction));
    }

    #[test]
    fn other_callers_keys_and_kinds_give_other_ids(
        callers in hash_set(caller(), 1..5), keys in hash_set(key(), 1..8)
    ) {
        let ids = derived(&callers, &keys);
        prop_assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        prop_assert_eq!(ids.len(), callers.len() * (2 * keys.len() + 1));
    }

    #[test]
    fn a_derived_id_is_a_uuid_of_version_5(caller in caller(), key in key()) {
        for id in derived(&HashSet::from([caller]), &HashSet::from([key])) {
            prop_assert_eq!(id.get_version(), Some(Version::Sha1));
            prop_assert_eq!(id.get_variant(), Variant::RFC4122);
        }
    }

    #[test]
    fn an_id_is_written_in_one_form_and_read_back(id in caller()) {
        let typed = TransactionId(id);
        let text = typed.to_string();
        prop_assert_eq!(text.len(), 36);
        prop_assert_eq!(&text, &text.to_lowercase());
        prop_assert_eq!(text.parse::<TransactionId>(), Ok(typed));
        prop_assert_eq!(serde_json::to_string(&typed).expect("an id is JSON"), format!("\"{text}\""));
    }
}
