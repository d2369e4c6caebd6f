//! A connection that can be cut: everything goes through a relay which drops all it carries.

use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;

#[derive(Default)]
pub(crate) struct Wire {
    address: Mutex<Option<SocketAddr>>,
    carried: Mutex<Vec<AbortHandle>>,
    pub(crate) cuts: Mutex<usize>,
}

impl Wire {
    pub(crate) fn serve(
        self: &std::sync::Arc<Self>,
        handle: &tokio::runtime::Handle,
        routes: Routes,
    ) {
        let (server, relay) = handle.block_on(async {
            (
                TcpListener::bind("127.0.0.1:0").await.unwrap(),
                TcpListener::bind("127.0.0.1:0").await.unwrap(),
            )
        });
        let behind = server.local_addr().unwrap();
        *self.address.lock().unwrap() = Some(relay.local_addr().unwrap());
        handle.spawn(async move {
            let incoming = TcpListenerStream::new(server);
            tonic::transport::Server::builder()
                .add_routes(routes)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        let wire = std::sync::Arc::clone(self);
        handle.spawn(async move {
            while let Ok((mut near, _)) = relay.accept().await {
                let carry = tokio::spawn(async move {
                    let mut far = TcpStream::connect(behind).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                });
                wire.carried.lock().unwrap().push(carry.abort_handle());
            }
        });
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.lock().unwrap().unwrap()
    }

    /// Drops every connection there is; new ones are taken.
    pub(crate) fn cut(&self) {
        *self.cuts.lock().unwrap() += 1;
        self.carried.lock().unwrap().drain(..).for_each(|carry| carry.abort());
    }
}
