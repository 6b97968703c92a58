//! Users, logins, tokens and partner keys on a real PostgreSQL, as the service's own role.

use crate::stack::Stack;
use chrono::{DateTime, TimeDelta, Utc};
use domain::UserId;
use futures::future::join_all;
use offers::identity::{
    Actor, Caller, Error, Grant, Identity, Keyring, LIVE_KEYS_MAX, NewUser, OwnerKind, PartnerChange,
    PasswordCost, Roles, SESSIONS_MAX, Settings, TRIES_PER_ADDRESS, TRIES_PER_NAME, User, UserChange,
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";
const PASSWORD: &str = "correct horse battery";
const HOME: &str = "192.0.2.1";
const ELSEWHERE: &str = "192.0.2.2";

struct Fixture {
    pool: PgPool,
    owner: PgPool,
    identity: Arc<Identity>,
}

async fn fixture() -> Fixture {
    let (owner_url, app_url) = Stack::get().await.fresh_database().await;
    let pool = PgPoolOptions::new().max_connections(10).connect(&app_url).await.unwrap();
    let owner = PgPoolOptions::new().max_connections(1).connect(&owner_url).await.unwrap();
    let identity = instance(&pool, SECRET);
    Fixture { pool, owner, identity }
}

/// One more process on the same database.
fn instance(pool: &PgPool, secrets: &str) -> Arc<Identity> {
    let keys = Keyring::parse(&secrets.into()).unwrap();
    let settings =
        Settings { password_cost: PasswordCost::weak_for_tests(), ..Settings::new(keys.clone(), keys) };
    Arc::new(Identity::new(pool.clone(), &settings).unwrap())
}

impl Fixture {
    fn other_instance(&self) -> Arc<Identity> {
        instance(&self.pool, SECRET)
    }

    async fn user(&self, name: &str) -> User {
        let user = self.identity.create_user(&new_user(name), &admin(), start()).await.unwrap();
        self.identity.confirm_user(user.id).await.unwrap();
        user
    }

    async fn login(&self, name: &str) -> Grant {
        self.identity.login(name, &PASSWORD.into(), home(), start()).await.unwrap()
    }

    async fn actions(&self, subject: &str) -> Vec<String> {
        sqlx::query_scalar("select action from audit_log where subject = $1 order by id")
            .bind(subject)
            .fetch_all(&self.owner)
            .await
            .unwrap()
    }
}

fn new_user(name: &str) -> NewUser {
    NewUser {
        username: name.to_owned(),
        password: PASSWORD.into(),
        email: format!("{name}@example.com"),
        first_name: String::new(),
        last_name: String::new(),
        roles: Roles::default(),
    }
}

fn admin() -> Actor {
    Actor::system("test")
}

fn home() -> IpAddr {
    HOME.parse().unwrap()
}

fn start() -> DateTime<Utc> {
    "2026-11-22T08:00:00.123456Z".parse().unwrap()
}

fn after(seconds: i64) -> DateTime<Utc> {
    start() + TimeDelta::seconds(seconds)
}

fn text(secret: &SecretString) -> &str {
    secret.expose_secret()
}

fn token_of(grant: &Grant) -> String {
    format!("Bearer {}", text(&grant.access))
}

/// Repeats `attempt` until it says yes.
async fn eventually(what: &str, within: Duration, mut attempt: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !attempt().await {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_login_gives_a_token_that_speaks_for_the_user() {
    let f = fixture().await;
    let alice = f.user("alice").await;
    let grant = f.login("alice").await;
    assert_eq!(grant.expires_in, Duration::from_secs(300));
    let caller = f.identity.authenticate(Some(&token_of(&grant)), start()).await.unwrap();
    let Caller::User { id, roles, .. } = &caller else { panic!("not a user: {caller:?}") };
    assert_eq!((*id, roles), (alice.id, &Roles::default()));
    assert_eq!(caller.id(), alice.id.0);
    let profile = f.identity.get_user(alice.id).await.unwrap();
    assert_eq!((profile.date_joined, profile.last_login), (start(), Some(start())));
    let nobody = f.identity.authenticate(None, start()).await;
    assert!(matches!(nobody, Err(Error::NotAuthenticated)));
    for header in ["", "Bearer", "Basic YTpi", "Token x"] {
        let refused = f.identity.authenticate(Some(header), start()).await;
        assert!(matches!(refused, Err(Error::NotAuthenticated)), "{header:?}");
    }
    let lower = format!("bearer  {}", text(&grant.access));
    assert!(f.identity.authenticate(Some(&lower), start()).await.is_ok());
    let late = f.identity.authenticate(Some(&token_of(&grant)), after(300)).await;
    assert!(matches!(late, Err(Error::TokenExpired)));
}

#[tokio::test]
async fn unknown_wrong_and_disabled_look_the_same() {
    let f = fixture().await;
    f.user("alice").await;
    let carol = f.user("carol").await;
    let disable = UserChange { is_active: Some(false), ..UserChange::default() };
    f.identity.update_user(carol.id, &disable, &admin(), start()).await.unwrap();
    let mut answers = Vec::new();
    for (name, password) in [
        ("nobody", PASSWORD),
        ("alice", "wrong horse"),
        ("carol", PASSWORD),
        ("Alice", PASSWORD),
        ("a\0", "x"),
    ] {
        let refused = f.identity.login(name, &password.into(), home(), start()).await;
        let error = refused.expect_err("let in");
        assert!(matches!(error, Error::InvalidCredentials), "{name:?}: {error:?}");
        answers.push(error.to_string());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "one text for all: {answers:?}");
}

#[tokio::test]
async fn unknown_wrong_and_disabled_take_equal_work() {
    let f = fixture().await;
    let keys = Keyring::parse(&SECRET.into()).unwrap();
    let dear = PasswordCost { memory_kib: 16 * 1024, iterations: 4, lanes: 1 };
    let settings = Settings { password_cost: dear, ..Settings::new(keys.clone(), keys) };
    let identity = Identity::new(f.pool.clone(), &settings).unwrap();
    for name in ["alice", "carol"] {
        identity.create_user(&new_user(name), &admin(), start()).await.unwrap();
    }
    let carol = identity.user_named("carol").await.unwrap();
    let disable = UserChange { is_active: Some(false), ..UserChange::default() };
    identity.update_user(carol.id, &disable, &admin(), start()).await.unwrap();
    let mut fastest = [Duration::MAX; 3];
    for _ in 0..5 {
        for (best, (name, password)) in
            fastest.iter_mut().zip([("nobody", PASSWORD), ("alice", "wrong horse"), ("carol", PASSWORD)])
        {
            let began = Instant::now();
            identity.login(name, &password.into(), home(), start()).await.expect_err("let in");
            *best = began.elapsed().min(*best);
        }
    }
    let (least, most) = (fastest.iter().min().unwrap(), fastest.iter().max().unwrap());
    assert!(*most < *least * 2, "told apart by time: {fastest:?}");
}

#[tokio::test]
async fn a_dearer_hash_replaces_the_old_one_at_the_next_login() {
    let f = fixture().await;
    f.user("alice").await;
    let keys = Keyring::parse(&SECRET.into()).unwrap();
    let dearer = PasswordCost { iterations: 3, ..PasswordCost::weak_for_tests() };
    let settings = Settings { password_cost: dearer, ..Settings::new(keys.clone(), keys) };
    let identity = Identity::new(f.pool.clone(), &settings).unwrap();
    identity.login("alice", &PASSWORD.into(), home(), start()).await.unwrap();
    let hash: String =
        sqlx::query_scalar("select password_hash from users").fetch_one(&f.owner).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=64,t=3,p=1$"), "{hash}");
    identity.login("alice", &PASSWORD.into(), home(), start()).await.unwrap();
}

#[tokio::test]
async fn ten_failures_block_that_name_from_that_address_and_nobody_else() {
    let f = fixture().await;
    f.user("alice").await;
    f.user("bob").await;
    for second in 0..TRIES_PER_NAME as i64 {
        let refused = f.identity.login("alice", &"wrong horse".into(), home(), after(second)).await;
        assert!(matches!(refused, Err(Error::InvalidCredentials)));
    }
    for identity in [&f.identity, &f.other_instance()] {
        let blocked = identity.login("alice", &PASSWORD.into(), home(), after(60)).await;
        let Err(Error::RateLimited { retry_after }) = blocked else { panic!("let through: {blocked:?}") };
        assert_eq!(retry_after, Duration::from_secs(240));
    }
    let elsewhere = ELSEWHERE.parse().unwrap();
    f.identity.login("alice", &PASSWORD.into(), elsewhere, after(60)).await.unwrap();
    f.identity.login("bob", &PASSWORD.into(), home(), after(60)).await.unwrap();
    f.identity.login("alice", &PASSWORD.into(), home(), after(300)).await.unwrap();
}

#[tokio::test]
async fn a_thousand_guesses_at_twenty_accounts_are_few_that_count() {
    let f = fixture().await;
    let turns = std::thread::available_parallelism().unwrap().get();
    let guess = async |number: usize| {
        let name = format!("user{}", number % 20);
        loop {
            match f.identity.login(&name, &"wrong horse".into(), home(), start()).await {
                Err(Error::InvalidCredentials) => return 1,
                Err(Error::RateLimited { .. }) => return 0,
                Err(Error::Overloaded) => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    };
    let guessed: usize = join_all((0..1000).map(guess)).await.into_iter().sum();
    let most = 20 * (TRIES_PER_NAME + turns - 1);
    assert!((20 * TRIES_PER_NAME..=most).contains(&guessed), "{guessed} guesses went through to argon2");
}

#[tokio::test]
async fn an_address_that_tries_everybody_is_blocked_for_every_name() {
    let f = fixture().await;
    f.user("alice").await;
    let guess = async |name: &str| f.identity.login(name, &"wrong horse".into(), home(), start()).await;
    guess("name1").await.expect_err("let in");
    sqlx::query("update login_failures set failures = array_fill(failures[1], array[$1])")
        .bind(TRIES_PER_ADDRESS as i32 - 1)
        .execute(&f.owner)
        .await
        .unwrap();
    assert!(matches!(guess("name2").await, Err(Error::InvalidCredentials)));
    assert!(matches!(guess("name3").await, Err(Error::RateLimited { .. })));
    let elsewhere = ELSEWHERE.parse().unwrap();
    f.identity.login("alice", &PASSWORD.into(), elsewhere, start()).await.unwrap();
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
    .bind(SESSIONS_MAX as i32 - 2)
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

async fn session(f: &Fixture, grant: &Grant) -> Uuid {
    let caller = f.identity.authenticate(Some(&token_of(grant)), start()).await.unwrap();
    let Caller::User { session, .. } = caller else { panic!("not a user") };
    session.0
}

#[tokio::test]
async fn a_name_is_taken_once_however_many_ask_at_once() {
    let f = fixture().await;
    let create = async || {
        let new = new_user("alice");
        let user = f.identity.create_user(&new, &admin(), start()).await?;
        f.identity.confirm_user(user.id).await
    };
    let results = join_all((0..8).map(|_| create())).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(Error::UsernameTaken))));
    f.identity.create_user(&new_user("ALICE"), &admin(), start()).await.unwrap();
}

#[tokio::test]
async fn making_a_user_goes_on_where_it_was_cut_off() {
    let f = fixture().await;
    let first = f.identity.create_user(&new_user("alice"), &admin(), start()).await.unwrap();
    let other_mail = NewUser { email: "eve@example.com".to_owned(), ..new_user("alice") };
    let other_password = NewUser { password: "another horse".into(), ..new_user("alice") };
    for other in [other_mail, other_password] {
        let refused = f.identity.create_user(&other, &admin(), after(1)).await;
        assert!(matches!(refused, Err(Error::UsernameTaken)));
    }
    let again = f.identity.create_user(&new_user("alice"), &admin(), after(1)).await.unwrap();
    assert_eq!(again, first);
    f.identity.confirm_user(again.id).await.unwrap();
    let taken = f.identity.create_user(&new_user("alice"), &admin(), after(2)).await;
    assert!(matches!(taken, Err(Error::UsernameTaken)));
}

#[tokio::test]
async fn users_are_found_by_any_part_and_walked_newest_first() {
    let f = fixture().await;
    for number in 0..5 {
        let new = new_user(&format!("user{number}"));
        f.identity.create_user(&new, &admin(), after(number / 2)).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = f.identity.find_users("", cursor, 2).await.unwrap();
        seen.extend(page.items.into_iter().map(|user| user.username));
        f.identity.create_user(&new_user(&format!("new{}", seen.len())), &admin(), after(9)).await.unwrap();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["user4", "user3", "user2", "user1", "user0"]);
    let names = async |q: &str| -> Vec<String> {
        let page = f.identity.find_users(q, None, 50).await.unwrap();
        page.items.into_iter().map(|user| user.username).collect()
    };
    assert_eq!(names("SER3").await, ["user3"]);
    assert_eq!(names("user3@exam").await, ["user3"]);
    assert!(names("%").await.is_empty() && names("_").await.is_empty(), "no wildcards");
}

#[tokio::test]
async fn every_change_of_rights_is_in_the_audit_log_and_stays_there() {
    let f = fixture().await;
    let alice = f.user("alice").await;
    let change = UserChange {
        is_active: Some(false),
        roles: Some(Roles::parse(["user", "auditor"]).unwrap()),
        password: Some("another horse".into()),
        email: Some("new@example.com".to_owned()),
    };
    let after_change = f.identity.update_user(alice.id, &change, &admin(), after(1)).await.unwrap();
    assert_eq!(after_change.email, "new@example.com");
    assert_eq!(
        f.actions(&format!("user:{}", alice.id)).await,
        ["user.created", "user.disabled", "user.roles_changed", "user.password_reset", "user.email_changed"]
    );
    let all: Vec<String> =
        sqlx::query_scalar("select a::text from audit_log a").fetch_all(&f.owner).await.unwrap();
    assert!(!all.join("\n").contains("example.com"), "no personal data");
    let unchanged = f.identity.update_user(alice.id, &UserChange::default(), &admin(), after(2)).await;
    assert_eq!(unchanged.unwrap(), after_change);
    assert_eq!(f.actions(&format!("user:{}", alice.id)).await.len(), 5);
    for statement in ["update audit_log set actor = 'x'", "delete from audit_log", "truncate audit_log"] {
        let refused = sqlx::query(statement).execute(&f.pool).await;
        assert!(refused.unwrap_err().to_string().contains("permission denied"), "{statement}");
    }
    let nobody = f.identity.update_user(UserId(Uuid::nil()), &change, &admin(), after(2)).await;
    assert!(matches!(nobody, Err(Error::UserNotFound)));
}

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
async fn a_revoked_key_is_refused_everywhere_within_a_second() {
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
    eventually("a revoked key is refused", Duration::from_secs(1), async || !accepts(&other).await).await;
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
    let made = f.identity.create_partner("Shop", Some(old), &admin(), start()).await.unwrap();
    let id = made.partner.id;
    f.identity.disable_callback(id, new, start()).await.unwrap();
    assert_eq!(f.identity.get_partner(id).await.unwrap().callback_disabled_at, None);
    f.identity.disable_callback(id, old, start()).await.unwrap();
    assert_eq!(f.identity.get_partner(id).await.unwrap().callback_disabled_at, Some(start()));
    let change = PartnerChange { callback_url: Some(Some(new.to_owned())), ..PartnerChange::default() };
    let changed = f.identity.update_partner(id, &change, &admin(), start()).await.unwrap();
    assert_eq!((changed.callback_url.as_deref(), changed.callback_disabled_at), (Some(new), None));
    let removed = PartnerChange { callback_url: Some(None), ..PartnerChange::default() };
    assert_eq!(f.identity.update_partner(id, &removed, &admin(), start()).await.unwrap().callback_url, None);
}

#[tokio::test]
async fn what_no_longer_matters_is_purged() {
    let f = fixture().await;
    f.user("alice").await;
    let grant = f.login("alice").await;
    f.identity.login("alice", &"wrong horse".into(), home(), start()).await.expect_err("let in");
    let count = async |table: &str| -> i64 {
        let query = format!("select count(*) from {table}");
        sqlx::query_scalar(&query).fetch_one(&f.owner).await.unwrap()
    };
    f.identity.logout(&grant.refresh, start()).await.unwrap();
    f.identity.purge(after(60)).await.unwrap();
    assert_eq!((count("sessions").await, count("login_failures").await), (1, 2));
    assert_eq!(count("identity_changes").await, 1);
    sqlx::query("update identity_changes set at = at - interval '16 minutes'")
        .execute(&f.owner)
        .await
        .unwrap();
    f.identity.purge(after(8 * 24 * 60 * 60 + 1)).await.unwrap();
    assert_eq!((count("sessions").await, count("login_failures").await), (0, 0));
    assert_eq!(count("identity_changes").await, 0);
}

#[tokio::test]
async fn no_token_key_or_password_is_stored() {
    let f = fixture().await;
    f.user("alice").await;
    let grant = f.login("alice").await;
    let made = f.identity.create_partner("Shop", None, &admin(), start()).await.unwrap();
    let mut stored = String::new();
    for table in ["users", "sessions", "partners", "partner_keys", "webhook_secrets", "audit_log"] {
        let query = format!("select t::text from {table} t");
        let rows: Vec<String> = sqlx::query_scalar(&query).fetch_all(&f.owner).await.unwrap();
        stored.push_str(&rows.join("\n"));
    }
    let secrets = [&grant.access, &grant.refresh, &made.key.api_key, &made.webhook_secret];
    for secret in secrets.into_iter().map(text).chain([PASSWORD]) {
        assert!(!stored.contains(&secret[secret.len() - 20..]));
    }
}
