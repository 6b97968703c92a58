//! A way to a server on which established connections can fall silent, as when a machine between them dies.

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Forwards connections to a server. Dropped, it ends them all and refuses new ones.
pub struct Tunnel {
    pub port: u16,
    frozen: watch::Sender<()>,
    ended: watch::Sender<()>,
    forwarding: JoinHandle<()>,
}

impl Tunnel {
    /// To `server`, such as `127.0.0.1:5432`.
    pub async fn to(server: String) -> Tunnel {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (frozen, ended) = (watch::Sender::default(), watch::Sender::default());
        let (freezing, ending) = (frozen.subscribe(), ended.subscribe());
        let forwarding = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut frozen, mut ended) = (server.clone(), freezing.clone(), ending.clone());
                frozen.mark_unchanged();
                connections.spawn(async move {
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
        Tunnel { port, frozen, ended, forwarding }
    }

    /// From now on nothing comes through the connections that are established; new ones work.
    pub fn freeze(&self) {
        self.frozen.send_replace(());
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
