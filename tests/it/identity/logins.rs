//! Logins: what a password opens, and how guesses are held off.

use super::{ELSEWHERE, PASSWORD, SECRET, admin, after, fixture, home, start, text, token_of};
use futures::future::join_all;
use offers::identity::{
    Caller, Error, Identity, Keyring, PasswordCost, Roles, Settings, TRIES_PER_ADDRESS, TRIES_PER_NAME,
    UserChange,
};
use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Once;
use std::time::Duration;
use tracing::field::Field;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};

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
        ("alice2", PASSWORD),
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

/// As many hashes and statements for each; that a hash costs the same is the hasher's own test, and
/// `cargo bench --bench guessing` takes the time.
#[tokio::test]
async fn unknown_wrong_and_disabled_take_equal_work() {
    let f = fixture().await;
    f.user("alice").await;
    let carol = f.user("carol").await;
    let disable = UserChange { is_active: Some(false), ..UserChange::default() };
    f.identity.update_user(carol.id, &disable, &admin(), start()).await.unwrap();
    count_statements();
    let mut work = Vec::new();
    for (name, password) in [("nobody", PASSWORD), ("alice", "wrong horse"), ("carol", PASSWORD)] {
        let hashes = f.identity.password_hashes();
        f.identity.login(name, &password.into(), home(), start()).await.expect_err("let in");
        work.push((f.identity.password_hashes() - hashes, sent_statements()));
    }
    assert_eq!(work[0].0, 1, "one hash");
    assert!(!work[0].1.is_empty(), "the statements are seen");
    assert!(work.iter().all(|one| *one == work[0]), "{work:#?}");
}

thread_local! {
    /// `None`: nobody counts.
    static SENT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Begins to count the statements that this thread sends to PostgreSQL. One subscriber serves the whole process: of one
/// that a single thread has, the others may switch events off.
pub(super) fn count_statements() {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| {
        let queries = Targets::new().with_target("sqlx::query", tracing::Level::DEBUG);
        let subscriber = tracing_subscriber::registry().with(Recorder.with_filter(queries));
        tracing::subscriber::set_global_default(subscriber).expect("no other test subscribes");
    });
    SENT.set(Some(Vec::new()));
}

/// The statements that this thread has sent since it was last asked.
pub(super) fn sent_statements() -> Vec<String> {
    SENT.replace(Some(Vec::new())).unwrap_or_default()
}

struct Recorder;

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut |field: &Field, value: &dyn Debug| {
            if field.name() == "summary" {
                SENT.with_borrow_mut(|sent| sent.iter_mut().for_each(|sent| sent.push(format!("{value:?}"))));
            }
        });
    }
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
        .bind(i32::try_from(TRIES_PER_ADDRESS).unwrap() - 1)
        .execute(&f.owner)
        .await
        .unwrap();
    assert!(matches!(guess("name2").await, Err(Error::InvalidCredentials)));
    assert!(matches!(guess("name3").await, Err(Error::RateLimited { .. })));
    let elsewhere = ELSEWHERE.parse().unwrap();
    f.identity.login("alice", &PASSWORD.into(), elsewhere, start()).await.unwrap();
}
