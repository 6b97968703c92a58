//! Users as an administrator sees them.

use super::{PASSWORD, admin, after, fixture, home, new_user, start};
use domain::UserId;
use futures::future::join_all;
use offers::identity::{Error, NewUser, Roles, UserChange};
use uuid::Uuid;

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
    for other in ["ALICE", "Ａlice"] {
        let new = NewUser { username: other.to_owned(), ..new_user("alice") };
        let taken = f.identity.create_user(&new, &admin(), start()).await;
        assert!(matches!(taken, Err(Error::UsernameTaken)), "{other}: {taken:?}");
    }
}

#[tokio::test]
async fn a_username_of_any_script_logs_in_however_it_is_typed() {
    let f = fixture().await;
    let new = |name: &str| NewUser { email: "jose@bücher.example".to_owned(), ..new_user(name) };
    let user = f.identity.create_user(&new("Jose\u{301}"), &admin(), start()).await.unwrap();
    assert_eq!((user.username.as_str(), user.email.as_str()), ("José", "jose@xn--bcher-kva.example"));
    for typed in ["José", "josé", "JOSE\u{301}", "ｊｏｓé"] {
        let grant = f.identity.login(typed, &PASSWORD.into(), home(), start()).await;
        assert_eq!(grant.unwrap().user, user.id, "{typed}");
        assert_eq!(f.identity.user_named(typed).await.unwrap().id, user.id, "{typed}");
    }
    let other = f.identity.login("jose", &PASSWORD.into(), home(), start()).await;
    assert!(matches!(other, Err(Error::InvalidCredentials)));
    let taken = f.identity.create_user(&new("JOSÉ"), &admin(), start()).await;
    assert!(matches!(taken, Err(Error::UsernameTaken)), "{taken:?}");
}

#[tokio::test]
async fn a_new_password_is_not_the_users_own_name_nor_a_common_one() {
    let f = fixture().await;
    let user = f.user("charlotte").await;
    for bad in ["Charlotte", "charlotte@example.com", "iloveyou", "short"] {
        let change = UserChange { password: Some(bad.into()), ..UserChange::default() };
        let refused = f.identity.update_user(user.id, &change, &admin(), after(1)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{bad}");
    }
    f.login("charlotte").await;
}

#[tokio::test]
async fn users_are_found_in_any_case_and_form_of_their_names() {
    let f = fixture().await;
    let new =
        NewUser { first_name: "Ångström".to_owned(), last_name: "Иван".to_owned(), ..new_user("ae") };
    let user = f.identity.create_user(&new, &admin(), start()).await.unwrap();
    let change = UserChange { email: Some("ae@Bücher.example".to_owned()), ..UserChange::default() };
    f.identity.update_user(user.id, &change, &admin(), after(1)).await.unwrap();
    for q in [
        "ångström",
        "A\u{30a}NGSTRO\u{308}",
        "\u{212b}ngstr",
        "иван",
        "ИВАН",
        "BÜCHER",
        "ae@bu\u{308}ch",
        "xn--bcher",
    ] {
        assert_eq!(f.identity.find_users(q, None, 50).await.unwrap().items.len(), 1, "{q}");
    }
    for q in ["angstrom", "ae@example.com"] {
        assert!(f.identity.find_users(q, None, 50).await.unwrap().items.is_empty(), "{q}");
    }
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
