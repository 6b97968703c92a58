//! A database whose default isolation is not ours.

use crate::support::service::{Service, Setting};
use crate::support::stack::Stack;
use futures::future::join_all;
use serde_json::json;
use sqlx::{Connection, PgConnection};

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_user_at_the_same_time_all_succeed_in_a_database_that_is_serializable_by_default() {
    let sandbox = Stack::get().await.sandbox().await;
    let mut owner = PgConnection::connect(&sandbox.database_owner_url).await.unwrap();
    let name: String =
        sqlx::query_scalar("select current_database()::text").fetch_one(&mut owner).await.unwrap();
    let set = format!("alter database {name} set default_transaction_isolation = 'serializable'");
    sqlx::query(&set).execute(&mut owner).await.unwrap();

    let service = Service::start_in(&sandbox, Setting::default()).await;
    let (root, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    let path = format!("/admin/users/{}/", alice.id);
    let patches = (0..24).map(|number| {
        let body = json!({"email": format!("alice{number}@example.com")});
        let (service, root, path) = (&service, &root, &path);
        async move { service.patch(root, path, &body).await.status.as_u16() }
    });
    assert_eq!(join_all(patches).await, [200; 24]);
}
