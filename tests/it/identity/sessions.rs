//! Sessions: tokens that are renewed, reused, ended.

use super::{
    Fixture, OTHER_SECRET, PASSWORD, SECRET, admin, after, fixture, home, instance, start, text, token_of,
};
use futures::future::join_all;
use offers::identity::{Caller, Error, Grant, Roles, SESSIONS_MAX, UserChange};
use std::sync::Arc;
use uuid::Uuid;

async fn session(f: &Fixture, grant: &Grant) -> Uuid {
    let caller = f.identity.authenticate(Some(&token_of(grant)), start()).await.unwrap();
    let Caller::User { session, .. } = caller else { panic!("not a user") };
    session.0
}

#[tokio::test]
async fn a_login_beyond_the_limit_ends_the_oldest_session() {
    let f = fixture().await;
    let alice = f.user("alice").await;
    let (oldest, kept) = (f.login("alice").await, f.login("alice").await);
    sqlx::query("update sessions set created_at = created_at - interval '1 hour' where id = $1")
        .bind(session(&f, &oldest).await)
        .execute(&f.owner)
        .await
        .unwrap();
    sqlx::query(
        "insert into sessions (id, user_id, seed, key_id, created_at, rotated_at, expires_at)
         select gen_random_uuid(), $1, sha256('x'), 'x', $2, $2, $2 from generate_series(1, $3)",
    )
    .bind(alice.id.0)
    .bind(after(1))
    .bind(i32::try_from(SESSIONS_MAX).unwrap() - 2)
    .execute(&f.owner)
    .await
    .unwrap();
    let newest = f.login("alice").await;
    assert!(matches!(f.identity.refresh(&oldest.refresh, after(2)).await, Err(Error::TokenInvalid)));
    for grant in [kept, newest] {
        f.identity.refresh(&grant.refresh, after(2)).await.unwrap();
    }
}

#[tokio::test]
async fn a_refresh_rotates_and_a_lost_answer_can_be_asked_for_again() {
    let f = fixture().await;
    f.user("alice").await;
    let first = f.login("alice").await.refresh;
    let second = f.identity.refresh(&first, after(60)).await.unwrap();
    assert_ne!(text(&first), text(&second.refresh));
    let again = f.other_instance().refresh(&first, after(70)).await.unwrap();
    assert_eq!(text(&again.refresh), text(&second.refresh));
    let third = f.identity.refresh(&second.refresh, after(71)).await.unwrap();
    f.identity.authenticate(Some(&token_of(&third)), after(71)).await.unwrap();
}

#[tokio::test]
async fn a_reused_token_ends_the_whole_session() {
    let f = fixture().await;
    f.user("alice").await;
    let first = f.login("alice").await.refresh;
    let bystander = f.login("alice").await;
    let second = f.identity.refresh(&first, after(60)).await.unwrap();
    let reused = f.identity.refresh(&first, after(71)).await;
    assert!(matches!(reused, Err(Error::TokenReused)));
    let latest = f.identity.refresh(&second.refresh, after(72)).await;
    assert!(matches!(latest, Err(Error::TokenInvalid)));
    let access = f.identity.authenticate(Some(&token_of(&second)), after(72)).await;
    assert!(matches!(access, Err(Error::TokenInvalid)));
    let again = f.identity.refresh(&first, after(73)).await;
    assert!(matches!(again, Err(Error::TokenReused)));
    f.identity.refresh(&bystander.refresh, after(73)).await.unwrap();
}

#[tokio::test]
async fn a_token_two_generations_old_is_reused_even_within_the_window() {
    let f = fixture().await;
    f.user("alice").await;
    let first = f.login("alice").await.refresh;
    let second = f.identity.refresh(&first, after(1)).await.unwrap().refresh;
    f.identity.refresh(&second, after(2)).await.unwrap();
    assert!(matches!(f.identity.refresh(&first, after(3)).await, Err(Error::TokenReused)));
}

#[tokio::test]
async fn twenty_refreshes_at_once_give_one_successor() {
    let f = fixture().await;
    f.user("alice").await;
    let first = f.login("alice").await.refresh;
    let other = f.other_instance();
    let refreshes = (0..20).map(|number| {
        let identity = if number % 2 == 0 { &f.identity } else { &other };
        identity.refresh(&first, after(60))
    });
    let grants = join_all(refreshes).await;
    let mut successors: Vec<_> = grants.iter().map(|grant| text(&grant.as_ref().unwrap().refresh)).collect();
    successors.dedup();
    assert_eq!(successors.len(), 1);
}

#[tokio::test]
async fn a_refresh_token_expires_seven_days_after_it_was_made() {
    let f = fixture().await;
    f.user("alice").await;
    let first = f.login("alice").await.refresh;
    let week = 7 * 24 * 60 * 60;
    let second = f.identity.refresh(&first, after(week - 1)).await.unwrap().refresh;
    assert!(matches!(f.identity.refresh(&second, after(2 * week - 1)).await, Err(Error::TokenExpired)));
}

#[tokio::test]
async fn a_session_survives_a_new_server_key_and_moves_on_to_it() {
    let f = fixture().await;
    f.user("alice").await;
    let first = f.login("alice").await;
    let both = instance(&f.pool, &format!("{OTHER_SECRET},{SECRET}"));
    both.authenticate(Some(&token_of(&first)), start()).await.unwrap();
    let second = both.refresh(&first.refresh, after(60)).await.unwrap();
    let again = both.refresh(&first.refresh, after(61)).await.unwrap();
    assert_eq!(text(&again.refresh), text(&second.refresh));
    let new_only = instance(&f.pool, OTHER_SECRET);
    assert!(matches!(new_only.refresh(&first.refresh, after(61)).await, Err(Error::TokenInvalid)));
    new_only.refresh(&second.refresh, after(62)).await.unwrap();
}

#[tokio::test]
async fn after_a_logout_nothing_of_the_session_works() {
    let f = fixture().await;
    f.user("alice").await;
    let grant = f.login("alice").await;
    f.identity.logout(&grant.refresh, after(1)).await.unwrap();
    f.identity.logout(&grant.refresh, after(2)).await.unwrap();
    assert!(matches!(f.identity.refresh(&grant.refresh, after(2)).await, Err(Error::TokenInvalid)));
    let access = f.identity.authenticate(Some(&token_of(&grant)), after(2)).await;
    assert!(matches!(access, Err(Error::TokenInvalid)));
    for unknown in ["", "x", text(&grant.access)] {
        let refused = f.identity.logout(&unknown.into(), after(2)).await;
        assert!(matches!(refused, Err(Error::TokenInvalid)), "{unknown:?}");
    }
}

#[tokio::test]
async fn a_disabled_user_and_a_new_password_end_all_sessions_everywhere() {
    let f = fixture().await;
    let other = f.other_instance();
    for (name, change) in [
        ("alice", UserChange { is_active: Some(false), ..UserChange::default() }),
        ("bob", UserChange { password: Some("another horse".into()), ..UserChange::default() }),
    ] {
        let user = f.user(name).await;
        let grants = [f.login(name).await, f.login(name).await];
        f.identity.update_user(user.id, &change, &admin(), after(1)).await.unwrap();
        other.read_changes().await.unwrap();
        for grant in grants {
            assert!(matches!(other.refresh(&grant.refresh, after(2)).await, Err(Error::TokenInvalid)));
            for identity in [&f.identity, &other] {
                let access = identity.authenticate(Some(&token_of(&grant)), after(2)).await;
                assert!(matches!(access, Err(Error::TokenInvalid)), "{name}");
            }
        }
        let old = f.identity.login(name, &PASSWORD.into(), home(), after(2)).await;
        assert!(matches!(old, Err(Error::InvalidCredentials)));
    }
    f.identity.login("bob", &"another horse".into(), home(), after(2)).await.unwrap();
}

#[tokio::test]
async fn a_user_enabled_again_logs_in_but_old_sessions_stay_ended() {
    let f = fixture().await;
    let alice = f.user("alice").await;
    let before = f.login("alice").await;
    for is_active in [false, true] {
        let change = UserChange { is_active: Some(is_active), ..UserChange::default() };
        f.identity.update_user(alice.id, &change, &admin(), start()).await.unwrap();
    }
    let now = f.login("alice").await;
    f.identity.authenticate(Some(&token_of(&now)), start()).await.unwrap();
    assert!(f.identity.authenticate(Some(&token_of(&before)), start()).await.is_err());
}

#[tokio::test]
async fn logins_during_a_disabling_leave_no_live_session() {
    let f = fixture().await;
    let alice = f.user("alice").await;
    let logins = join_all((0..20).map(|_| {
        let identity = Arc::clone(&f.identity);
        async move { identity.login("alice", &PASSWORD.into(), home(), start()).await }
    }));
    let change = UserChange { is_active: Some(false), ..UserChange::default() };
    let actor = admin();
    let (_, disabled) = tokio::join!(logins, f.identity.update_user(alice.id, &change, &actor, start()));
    assert!(!disabled.unwrap().is_active);
    let live: i64 = sqlx::query_scalar("select count(*) from sessions where ended_at is null")
        .fetch_one(&f.owner)
        .await
        .unwrap();
    assert_eq!(live, 0);
}

#[tokio::test]
async fn changed_roles_outdate_access_tokens_and_a_refresh_brings_the_new_ones() {
    let f = fixture().await;
    let other = f.other_instance();
    let alice = f.user("alice").await;
    let before = f.login("alice").await;
    let roles = Roles::parse(["admin"]).unwrap();
    let change = UserChange { roles: Some(roles), ..UserChange::default() };
    f.identity.update_user(alice.id, &change, &admin(), after(1)).await.unwrap();
    other.read_changes().await.unwrap();
    for identity in [&f.identity, &other] {
        let outdated = identity.authenticate(Some(&token_of(&before)), after(1)).await;
        assert!(matches!(outdated, Err(Error::TokenExpired)));
    }
    let renewed = other.refresh(&before.refresh, after(2)).await.unwrap();
    assert!(other.authenticate(Some(&token_of(&renewed)), after(2)).await.unwrap().is_admin());
}

#[tokio::test]
async fn a_change_is_heard_although_an_older_transaction_is_still_open() {
    let f = fixture().await;
    let other = f.other_instance();
    f.user("alice").await;
    let (late, early) = (f.login("alice").await, f.login("alice").await);
    // This one takes its transaction number now and commits after the poll that hears of the other.
    let mut slow = f.owner.begin().await.unwrap();
    sqlx::query("insert into identity_changes (kind, subject) values ('session_ended', $1)")
        .bind(session(&f, &late).await)
        .execute(&mut *slow)
        .await
        .unwrap();
    f.identity.logout(&early.refresh, start()).await.unwrap();
    other.read_changes().await.unwrap();
    assert!(other.authenticate(Some(&token_of(&early)), start()).await.is_err());
    assert!(other.authenticate(Some(&token_of(&late)), start()).await.is_ok());
    slow.commit().await.unwrap();
    other.read_changes().await.unwrap();
    assert!(other.authenticate(Some(&token_of(&late)), start()).await.is_err());
}
