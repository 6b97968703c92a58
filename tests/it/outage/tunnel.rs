//! A way to a server on which connections can fall silent, as when a machine between them dies.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Forwards connections to a server. Dropped, it ends them all and refuses new ones.
pub struct Tunnel {
    port: u16,
    frozen: watch::Sender<()>,
    ended: watch::Sender<()>,
    /// Whether new connections are forwarded.
    open: watch::Sender<bool>,
    forwarding: JoinHandle<()>,
}

impl Tunnel {
    /// Puts itself into `address`, a URL or `127.0.0.1:5432`, and leads to the server that was there.
    pub async fn before(address: &mut String) -> Tunnel {
        let (_, after) = address.rsplit_once(':').unwrap();
        let port: u16 = after.split('/').next().unwrap().parse().unwrap();
        let tunnel = Self::to(format!("127.0.0.1:{port}")).await;
        *address = address.replace(&format!(":{port}"), &format!(":{}", tunnel.port));
        tunnel
    }

    async fn to(server: String) -> Tunnel {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (frozen, ended, open) =
            (watch::Sender::default(), watch::Sender::default(), watch::Sender::new(true));
        let (freezing, ending, opening) = (frozen.subscribe(), ended.subscribe(), open.subscribe());
        let forwarding = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut frozen, mut ended) = (server.clone(), freezing.clone(), ending.clone());
                let mut open = opening.clone();
                frozen.mark_unchanged();
                connections.spawn(async move {
                    let _ = open.wait_for(|open| *open).await; // it is accepted, and nothing is said
                    let mut far = TcpStream::connect(server).await?;
                    tokio::select! {
                        copied = tokio::io::copy_bidirectional(&mut near, &mut far) => copied.map(|_| ()),
                        Ok(()) = frozen.changed() => {
                            ended.mark_unchanged();
                            let _ = ended.changed().await; // both ends stay open, and nothing is said
                            Ok(())
                        }
                    }
                });
            }
        });
        Tunnel { port, frozen, ended, open, forwarding }
    }

    /// From now on nothing comes through the connections that are established; new ones work.
    pub fn freeze(&self) {
        self.frozen.send_replace(());
    }

    /// From now on nothing comes through any connection, as if the server were stopped.
    pub fn stop(&self) {
        self.open.send_replace(false);
        self.freeze();
    }

    /// New connections work again; those from before stay silent.
    pub fn admit(&self) {
        self.open.send_replace(true);
    }

    /// Ends the connections that are frozen.
    pub fn end_frozen(&self) {
        self.ended.send_replace(());
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}
