//! What stands before one member and counts who comes: a TCP proxy that can be shut.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Handle,
};

pub struct Front {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Where the member is; nowhere while the front is shut.
    target: Mutex<Option<String>>,
    came: Mutex<Vec<Instant>>,
}

impl Front {
    /// Shut, until it is opened.
    pub fn shut(runtime: &Handle) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = shared.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(accepting.clone(), stream));
            }
        });
        Self { address, shared }
    }

    pub fn open(&self, target: &str) {
        *self.shared.target.lock().unwrap() = Some(target.to_owned());
    }

    /// How many came in each span of time since `start`.
    pub fn came_since(&self, start: Instant, span: Duration) -> Vec<usize> {
        let mut counts = Vec::new();
        for came in self.shared.came.lock().unwrap().iter().filter(|came| **came >= start) {
            let at = ((*came - start).as_millis() / span.as_millis()) as usize;
            counts.resize(counts.len().max(at + 1), 0);
            counts[at] += 1;
        }
        counts
    }
}

async fn carry(shared: Arc<Shared>, mut stream: TcpStream) {
    shared.came.lock().unwrap().push(Instant::now());
    let Some(target) = shared.target.lock().unwrap().clone() else { return };
    let Ok(mut reached) = TcpStream::connect(&target).await else { return };
    for stream in [&stream, &reached] {
        stream.set_nodelay(true).unwrap();
    }
    drop(copy_bidirectional(&mut stream, &mut reached).await);
}
