//! The private servers: what each test gets, and what happens when something is killed.

use redis::AsyncCommands;
use sqlx::{Connection, PgConnection};

use crate::stack::Stack;

#[tokio::test]
async fn every_test_has_a_database_a_redis_and_a_stream_of_its_own() {
    let stack = Stack::get().await;
    let (one, other) = tokio::join!(stack.corner(), stack.corner());
    assert_ne!(one.database_url, other.database_url);
    assert_ne!(one.stream, other.stream);

    let mut owner = PgConnection::connect(&one.database_owner_url).await.unwrap();
    sqlx::query("create table mine (a int)").execute(&mut owner).await.unwrap();
    let mut app = PgConnection::connect(&one.database_url).await.unwrap();
    sqlx::query("create table forbidden (a int)").execute(&mut app).await.unwrap_err();
    sqlx::query("create temporary table forbidden (a int)").execute(&mut app).await.unwrap_err();

    let mut connection = connect_redis(&one.redis_url).await;
    let _: () = connection.set("mine", 1).await.unwrap();
    let theirs: Option<u32> = connect_redis(&other.redis_url).await.get("mine").await.unwrap();
    assert_eq!(theirs, None);

    let nats = connect_nats(&one.nats_url).await;
    let stream = async_nats::jetstream::stream::Config {
        name: one.stream.clone(),
        subjects: vec![format!("{}.>", one.subjects)],
        ..Default::default()
    };
    async_nats::jetstream::new(nats).create_stream(stream).await.unwrap();
}

async fn connect_redis(url: &str) -> redis::aio::MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

/// async-nats does not use the credentials in a URL by itself.
async fn connect_nats(url: &str) -> async_nats::Client {
    let address: async_nats::ServerAddr = url.parse().unwrap();
    let (user, password) = (address.username().unwrap().to_owned(), address.password().unwrap().to_owned());
    let options = async_nats::ConnectOptions::with_user_and_password(user, password);
    options.connect(address).await.unwrap()
}
