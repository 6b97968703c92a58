//! Partners, their keys and their webhooks' secrets.

use super::{OTHER_SECRET, admin, after, fixture, instance, start, text};
use crate::support::eventually::eventually;
use chrono::Utc;
use futures::future::join_all;
use offers::identity::{CallbackUrl, Caller, Error, Identity, LIVE_KEYS_MAX, OwnerKind, PartnerChange};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[tokio::test]
async fn a_partner_calls_with_any_of_its_live_keys() {
    let f = fixture().await;
    let made = f.identity.create_partner("Shop", None, &admin(), start()).await.unwrap();
    let second = f.identity.create_key(made.partner.id, &admin(), start()).await.unwrap();
    for key in [&made.key, &second] {
        let header = format!("ApiKey {}", text(&key.api_key));
        let caller = f.identity.authenticate(Some(&header), after(30)).await.unwrap();
        assert_eq!(caller, Caller::Partner { id: made.partner.id, key: key.key_id });
    }
    let mut forged = text(&made.key.api_key).to_owned();
    forged.replace_range(79.., if forged.ends_with('A') { "E" } else { "A" });
    assert!(matches!(f.identity.verify_api_key(&forged, start()).await, Err(Error::TokenInvalid)));
    let keys = f.identity.list_keys(made.partner.id, None, 50).await.unwrap().items;
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|key| key.last_used_at == Some(after(30)) && key.revoked_at.is_none()));
    assert_eq!(f.identity.owner_kind(made.partner.id.0).await.unwrap(), Some(OwnerKind::Partner));
    assert_eq!(f.identity.owner_kind(Uuid::nil()).await.unwrap(), None);
}

#[tokio::test]
async fn a_revoked_key_is_refused_everywhere_once_the_others_hear_of_it() {
    let f = fixture().await;
    let other = f.other_instance();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (other, stop) = (Arc::clone(&other), stop.clone());
        async move { other.run(Utc::now, stop).await }
    });
    let made = f.identity.create_partner("Shop", None, &admin(), start()).await.unwrap();
    let key = text(&made.key.api_key).to_owned();
    let accepts = async |identity: &Identity| match identity.verify_api_key(&key, start()).await {
        Ok(_) => true,
        Err(Error::TokenInvalid) => false,
        Err(other) => panic!("{other:?}"),
    };
    assert!(accepts(&other).await && accepts(&f.identity).await);
    f.identity.revoke_key(made.partner.id, made.key.key_id, &admin(), after(1)).await.unwrap();
    assert!(!accepts(&f.identity).await, "at once where it was revoked");
    // No time passes for `other`, so what it remembers does not grow old: it must hear.
    eventually("the other instance has heard of it", async || !accepts(&other).await).await;
    f.identity.revoke_key(made.partner.id, made.key.key_id, &admin(), after(2)).await.unwrap();
    let revoked = &f.identity.list_keys(made.partner.id, None, 50).await.unwrap().items[0];
    assert_eq!(revoked.revoked_at, Some(after(1)));
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn an_instance_that_hears_nothing_reads_each_key_again() {
    let f = fixture().await;
    let deaf = f.other_instance();
    let made = f.identity.create_partner("Shop", None, &admin(), start()).await.unwrap();
    let key = text(&made.key.api_key);
    deaf.verify_api_key(key, start()).await.unwrap();
    f.identity.revoke_key(made.partner.id, made.key.key_id, &admin(), after(1)).await.unwrap();
    assert!(matches!(deaf.verify_api_key(key, start()).await, Err(Error::TokenInvalid)));
}

#[tokio::test]
async fn a_disabled_partners_keys_are_refused_until_it_is_enabled() {
    let f = fixture().await;
    let other = f.other_instance();
    other.read_changes().await.unwrap();
    let made = f.identity.create_partner("Shop", None, &admin(), start()).await.unwrap();
    let key = text(&made.key.api_key);
    other.verify_api_key(key, start()).await.unwrap();
    for is_active in [false, true] {
        let change = PartnerChange { is_active: Some(is_active), ..PartnerChange::default() };
        f.identity.update_partner(made.partner.id, &change, &admin(), start()).await.unwrap();
        other.read_changes().await.unwrap();
        for identity in [&f.identity, &other] {
            assert_eq!(identity.verify_api_key(key, start()).await.is_ok(), is_active);
        }
    }
}

#[tokio::test]
async fn a_partner_has_a_bounded_number_of_live_keys() {
    let f = fixture().await;
    let made = f.identity.create_partner("Shop", None, &admin(), start()).await.unwrap();
    let id = made.partner.id;
    let more = join_all((0..LIVE_KEYS_MAX + 2).map(|_| async {
        let actor = admin();
        f.identity.create_key(id, &actor, start()).await
    }));
    let refused = more.await.into_iter().filter(|key| matches!(key, Err(Error::TooManyKeys))).count();
    assert_eq!(refused, 3);
    f.identity.revoke_key(id, made.key.key_id, &admin(), start()).await.unwrap();
    f.identity.create_key(id, &admin(), start()).await.unwrap();
}

#[tokio::test]
async fn a_webhook_secret_rotates_with_a_day_of_overlap() {
    let f = fixture().await;
    let made = f.identity.create_partner("Shop", None, &admin(), start()).await.unwrap();
    let id = made.partner.id;
    let valid = async |now| -> Vec<String> {
        let secrets = f.other_instance().webhook_secrets(id, now).await.unwrap();
        secrets.iter().map(|secret| text(secret).to_owned()).collect()
    };
    let first = text(&made.webhook_secret).to_owned();
    assert!(first.starts_with("whsec_") && first.len() == 6 + 44);
    assert_eq!(valid(start()).await, [first.as_str()]);
    let second = text(&f.identity.rotate_webhook_secret(id, &admin(), after(1)).await.unwrap()).to_owned();
    let day = 24 * 60 * 60;
    assert_eq!(valid(after(day)).await, [second.clone(), first]);
    assert_eq!(valid(after(day + 1)).await, [second.as_str()]);
    let third = text(&f.identity.rotate_webhook_secret(id, &admin(), after(2)).await.unwrap()).to_owned();
    assert_eq!(valid(after(3)).await, [third, second]);
    let other_keys = instance(&f.pool, OTHER_SECRET).webhook_secrets(id, after(3)).await;
    assert!(matches!(other_keys, Err(Error::KeyRetired { .. })));
}

#[tokio::test]
async fn a_gone_endpoint_gets_no_callbacks_until_it_is_registered_again() {
    let f = fixture().await;
    let (old, new) = ("https://shop.example/a", "https://shop.example/b");
    let made = f
        .identity
        .create_partner("Shop", Some(&CallbackUrl::parse(old).unwrap()), &admin(), start())
        .await
        .unwrap();
    let id = made.partner.id;
    f.identity.disable_callback(id, new, start()).await.unwrap();
    assert_eq!(f.identity.get_partner(id).await.unwrap().callback_disabled_at, None);
    f.identity.disable_callback(id, old, start()).await.unwrap();
    assert_eq!(f.identity.get_partner(id).await.unwrap().callback_disabled_at, Some(start()));
    let change = PartnerChange {
        callback_url: Some(Some(CallbackUrl::parse(new).unwrap())),
        ..PartnerChange::default()
    };
    let changed = f.identity.update_partner(id, &change, &admin(), start()).await.unwrap();
    assert_eq!((changed.callback_url.as_deref(), changed.callback_disabled_at), (Some(new), None));
    let removed = PartnerChange { callback_url: Some(None), ..PartnerChange::default() };
    assert_eq!(f.identity.update_partner(id, &removed, &admin(), start()).await.unwrap().callback_url, None);
}
