//! What takes the role `admin`: users and their money.

use crate::support::service::{PASSWORD, Service, Setting, send};
use crate::support::stack::Stack;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

fn carol() -> Value {
    json!({"username": "carol", "password": PASSWORD, "email": "carol@example.com", "first_name": "Carol"})
}

#[tokio::test]
async fn only_admins_administer() {
    let service = Service::start().await;
    let (user, auditor) = (service.rich("alice").await, service.person("auditor", &["auditor"]).await);
    for person in [&user, &auditor] {
        service.get(person, "/admin/users/").await.is(403, "forbidden");
        service.post(person, "/admin/users/", &carol()).await.is(403, "forbidden");
        service.post(person, "/admin/offers/", &json!({})).await.is(403, "forbidden");
        let path = format!("/admin/accounts/{}/credit/", person.id);
        service.post(person, &path, &json!({"amount": "1", "reason": "me"})).await.is(403, "forbidden");
    }
    service.get(&user, "/audit/events/").await.is(403, "forbidden");
    send(service.anonymous(Method::GET, "/api/v1/admin/users/")).await.is(401, "not_authenticated");
}

#[tokio::test]
async fn a_new_user_has_an_account_and_can_log_in() {
    let service = Service::start().await;
    let root = service.admin().await;
    let created = service.post(&root, "/admin/users/", &carol()).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let profile = created.json();
    let id = created.id("id");
    assert_eq!((&profile["roles"], &profile["first_name"]), (&json!(["user"]), &json!("Carol")));
    assert!(profile.get("password").is_none());
    assert_eq!(service.get(&root, &format!("/admin/users/{id}/")).await.json(), profile);
    let account = service.get(&root, &format!("/admin/accounts/{id}/")).await.json();
    assert_eq!(account, json!({"account_id": id, "owner_id": id, "kind": "user", "balance": "0.00"}));
    let login = service.anonymous(Method::POST, "/api/v1/auth/login/");
    let login = login.json(&json!({"username": "carol", "password": PASSWORD}));
    assert_eq!(send(login).await.status, 200);
    service.post(&root, "/admin/users/", &carol()).await.is(409, "username_taken");
    let opened = service.resources.log.page(0, 1000).await.unwrap();
    let of_carol: Vec<_> = opened.iter().filter(|event| event.aggregate_id == id.to_string()).collect();
    assert_eq!((of_carol.len(), of_carol[0].event_type.as_str()), (1, "Opened"));
}

#[tokio::test]
async fn what_is_wrong_with_a_user_is_reported() {
    let service = Service::start().await;
    let root = service.admin().await;
    let reply = service.post(&root, "/admin/users/", &json!({"username": 7, "is_admin": true})).await;
    reply.is(400, "invalid_request");
    assert_eq!(reply.fields(), ["username", "password", "email", "is_admin"]);
    let body = json!({"username": "a b", "password": "short", "email": "no", "roles": ["user"]});
    let reply = service.post(&root, "/admin/users/", &body).await;
    assert_eq!(reply.fields(), ["username", "password", "email"]);
    let mut body = carol();
    for roles in [json!(["root"]), json!("admin"), json!([]), json!([7])] {
        body["roles"] = roles;
        assert_eq!(service.post(&root, "/admin/users/", &body).await.fields(), ["roles"]);
    }
    service.get(&root, &format!("/admin/users/{}/", Uuid::now_v7())).await.is(404, "user_not_found");
    service.get(&root, "/admin/users/7/").await.is(400, "malformed_id");
}

#[tokio::test]
async fn the_texts_of_a_user_are_refused_with_their_real_bounds() {
    let service = Service::start().await;
    let root = service.admin().await;
    let (long, common) = ("x".repeat(5000), "iloveyou".to_owned());
    for (field, wrong, said) in [
        ("username", &long, "1 to 150"),
        ("password", &long, "8 to 1024"),
        ("password", &"1234567".to_owned(), "8 to 1024"),
        ("password", &common, "commonest"),
        ("password", &"CAROL@example.com".to_owned(), "the mail address"),
        ("first_name", &long, "0 to 150"),
        ("email", &"a@::1".to_owned(), "mail address"),
        ("email", &"\"a@b\"@example.com".to_owned(), "mail address"),
        ("email", &"a@[127.0.0.1]".to_owned(), "mail address"),
    ] {
        let mut body = carol();
        body[field] = json!(wrong);
        let reply = service.post(&root, "/admin/users/", &body).await;
        assert_eq!(reply.fields(), [field], "{}", reply.text);
        assert!(reply.text.contains(said), "{}", reply.text);
    }
    let mut body = carol();
    (body["username"], body["email"]) = (json!("Jose\u{301}"), json!("x@bücher.example"));
    let created = service.post(&root, "/admin/users/", &body).await.json();
    let (name, email) = (&created["username"], &created["email"]);
    assert_eq!((name, email), (&json!("José"), &json!("x@xn--bcher-kva.example")));
    body["username"] = json!("JOSÉ");
    service.post(&root, "/admin/users/", &body).await.is(409, "username_taken");
    let found = service.get(&root, "/admin/users/?q=JOSE%CC%81").await.json();
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn users_are_found_and_walked() {
    let service = Service::start().await;
    let root = service.admin().await;
    for name in ["anna", "bert", "annette"] {
        service.person(name, &["user"]).await;
    }
    let names = |users: Vec<Value>| {
        users.iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(service.walk(&root, "/admin/users/?limit=1&q=ann").await), ["annette", "anna"]);
    assert_eq!(
        names(service.walk(&root, "/admin/users/?limit=3").await),
        ["annette", "bert", "anna", "root"]
    );
    service.get(&root, "/admin/users/?q=%00").await.is(400, "invalid_request");
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let path = format!("/admin/users/{}/", alice.id);
    let changed = service.patch(&root, &path, &json!({"is_active": false})).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["is_active"]), (200, &json!(false)));
    service.get(&alice, "/account/").await.is(401, "token_invalid");
    let login = service.anonymous(Method::POST, "/api/v1/auth/login/");
    let login = login.json(&json!({"username": "alice", "password": PASSWORD}));
    send(login).await.is(401, "invalid_credentials");
    let reply = service.patch(&root, &path, &json!({"is_active": null, "username": "x"})).await;
    assert_eq!(reply.fields(), ["is_active", "username"]);
}

#[tokio::test]
async fn money_is_paid_in_and_out() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    let account = format!("/admin/accounts/{}", alice.id);
    let body = json!({"amount": "50.5", "reason": "Cash\ndesk", "reference": "R-1"});
    let credit = service.post(&root, &format!("{account}/credit/"), &body).await;
    assert_eq!(credit.status, 201, "{}", credit.text);
    let credit = credit.json();
    assert_eq!((&credit["amount"], &credit["balance"]), (&json!("50.50"), &json!("50.50")));
    assert_eq!(credit["account_id"], alice.id.to_string());
    assert!(credit["position"].is_i64());
    let debit =
        service.post(&root, &format!("{account}/debit/"), &json!({"amount": 20, "reason": "Out"})).await;
    assert_eq!((debit.status.as_u16(), &debit.json()["balance"]), (201, &json!("30.50")));
    assert_eq!(service.get(&root, &format!("{account}/")).await.json()["balance"], "30.50");
    let too_much = json!({"amount": "30.51", "reason": "Out"});
    service.post(&root, &format!("{account}/debit/"), &too_much).await.is(400, "insufficient_balance");
    let event = service.resources.log.event_at(credit["position"].as_i64().unwrap()).await.unwrap().unwrap();
    assert_eq!(event.payload, "{\"type\":\"Credited\",\"amount\":\"50.50\"}");
    let metadata: Value = serde_json::from_str(&event.metadata).unwrap();
    assert_eq!((&metadata["reason"], &metadata["reference"]), (&json!("Cash\ndesk"), &json!("R-1")));
    let nobody = format!("/admin/accounts/{}", Uuid::now_v7());
    let body = json!({"amount": "1", "reason": "Nobody's"});
    service.post(&root, &format!("{nobody}/credit/"), &body).await.is(404, "account_not_found");
    service.get(&root, &format!("{nobody}/")).await.is(404, "account_not_found");
}

#[tokio::test]
async fn only_sound_amounts_are_paid_in() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    let path = format!("/admin/accounts/{}/credit/", alice.id);
    for written in [
        "0",
        "\"0.00\"",
        "1e2",
        "\"1e18\"",
        "\"+1\"",
        "\"1.\"",
        "\".5\"",
        "\"NaN\"",
        "\"123456789012345678901234567890\"",
        "19.999",
        "-1",
        "\"-0.01\"",
        "null",
        "true",
        "\"\"",
        "[1]",
    ] {
        let body = format!("{{\"amount\":{written},\"reason\":\"test\"}}");
        let request = service.request(&root, Method::POST, &path).header("content-type", "application/json");
        let reply = send(request.body(body)).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), ["amount"], "{written}");
    }
    for (body, fields) in [
        (json!({}), vec!["amount", "reason"]),
        (json!({"amount": "1", "reason": " "}), vec!["reason"]),
        (json!({"amount": "1", "reason": "a\u{0}"}), vec!["reason"]),
        (json!({"amount": "1", "reason": "a", "currency": "USD"}), vec!["currency"]),
    ] {
        assert_eq!(service.post(&root, &path, &body).await.fields(), fields, "{body}");
    }
    assert_eq!(service.balance(&alice).await, "0.00");
}

#[tokio::test]
async fn the_same_credit_is_paid_in_once_and_answered_the_same() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    let path = format!("/admin/accounts/{}/credit/", alice.id);
    let pay = |amount: Value, reason: &'static str| {
        let body = json!({"amount": amount, "reason": reason});
        let service = &service;
        let (root, path) = (&root, &path);
        async move { service.post_once(root, path, &body, "pay-1").await }
    };
    let twins = join_all((0..10).map(|_| pay(json!("19.9"), "wages"))).await;
    let first = twins[0].json();
    assert_eq!(first["balance"], "19.90");
    assert!(twins.iter().all(|twin| twin.status == 201 && twin.json() == first), "{twins:?}");
    service.pay_in(alice.id.into(), 500).await;
    let again = pay(json!(19.90), "another text").await;
    assert_eq!(
        (again.status.as_u16(), again.json()),
        (201, first),
        "19.9 equals 19.90, the text does not count"
    );
    assert_eq!(again.headers["idempotent-replayed"], "true");
    pay(json!("19.91"), "wages").await.is(422, "idempotency_key_reused");
    let debit = format!("/admin/accounts/{}/debit/", alice.id);
    let body = json!({"amount": "19.9", "reason": "wages"});
    service.post_once(&root, &debit, &body, "pay-1").await.is(422, "idempotency_key_reused");
    assert_eq!(service.balance(&alice).await, "24.90");
}

#[tokio::test]
async fn many_credits_of_one_account_at_once_are_all_paid_in() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    let path = format!("/admin/accounts/{}/credit/", alice.id);
    let body = json!({"amount": "1", "reason": "test"});
    let replies = join_all((0..100).map(|_| service.post(&root, &path, &body))).await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 201).collect();
    assert!(refused.is_empty(), "{} of 100 were refused, such as {:?}", refused.len(), refused[0]);
    assert_eq!(service.balance(&alice).await, "100.00");
}

#[tokio::test]
async fn an_erased_person_is_gone_and_the_account_stays() {
    let sandbox = Stack::get().await.sandbox().await;
    let service = Service::start_in(&sandbox, Setting::default()).await;
    let root = service.admin().await;
    let alice = service.rich("alice").await;
    let offer = service.offer("TV", 1000).await;
    assert_eq!(service.post(&alice, "/activation/", &json!({"offer_id": offer})).await.status, 202);
    let path = format!("/admin/users/{}/erase/", alice.id);
    service.post(&root, &path, &json!({})).await.is(400, "invalid_request");
    let erased = service.post(&root, &path, &json!({"reason": "ticket 4711"})).await;
    assert_eq!(erased.status, 200, "{}", erased.text);
    let profile = erased.json();
    assert_eq!(profile["id"], alice.id.to_string());
    assert_eq!(profile["username"], format!("erased-{}", alice.id));
    for member in ["email", "first_name", "last_name"] {
        assert_eq!(profile[member], "", "{member}");
    }
    assert_eq!((&profile["is_active"], &profile["last_login"]), (&json!(false), &Value::Null));
    assert_eq!(service.post(&root, &path, &json!({"reason": "again"})).await.json(), profile);

    service.get(&alice, "/auth/profile/").await.is(401, "token_invalid");
    let login = json!({"username": "alice", "password": PASSWORD});
    send(service.anonymous(Method::POST, "/api/v1/auth/login/").json(&login))
        .await
        .is(401, "invalid_credentials");
    let login = json!({"username": profile["username"], "password": PASSWORD});
    send(service.anonymous(Method::POST, "/api/v1/auth/login/").json(&login))
        .await
        .is(401, "invalid_credentials");
    let user = format!("/admin/users/{}/", alice.id);
    service.patch(&root, &user, &json!({"is_active": true})).await.is(409, "conflict");
    assert_eq!(service.walk(&root, "/admin/users/?q=alice").await, Vec::<Value>::new());
    let account = service.get(&root, &format!("/admin/accounts/{}/", alice.id)).await.json();
    assert_eq!(account["balance"], "990.00");
    let known =
        "select concat(users, array_agg(sessions)) from users left join sessions on user_id = users.id
                 where users.id = $1 group by users.id";
    let mut database = PgConnection::connect(&sandbox.database_url).await.unwrap();
    let known: String = sqlx::query_scalar(known).bind(alice.id.0).fetch_one(&mut database).await.unwrap();
    assert!(!known.contains("alice") && !known.contains("127.0.0.1"), "{known}");

    let changes = service.walk(&root, &format!("/admin/users/{}/changes/", alice.id)).await;
    assert_eq!(
        (&changes[0]["action"], &changes[0]["reason"]),
        (&json!("user.erased"), &json!("ticket 4711"))
    );
    let again = json!({"username": "alice", "password": PASSWORD, "email": "other@example.com"});
    assert_eq!(service.post(&root, "/admin/users/", &again).await.status, 201, "others may take the name");
    let myself = format!("/admin/users/{}/erase/", root.id);
    service.post(&root, &myself, &json!({"reason": "tired"})).await.is(409, "conflict");
}
