//! A way to a server that a test can cut.

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Forwards connections to a server. Dropped, it ends them all and refuses new ones.
pub struct Tunnel {
    pub port: u16,
    forwarding: JoinHandle<()>,
}

impl Tunnel {
    /// To `server`, such as `127.0.0.1:5432`.
    pub async fn to(server: String) -> Tunnel {
        Self::at(0, server).await
    }

    /// The same, on this port.
    pub async fn at(port: u16, server: String) -> Tunnel {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let forwarding = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(server).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Tunnel { port, forwarding }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}
