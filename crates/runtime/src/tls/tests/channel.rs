//! Channels and servers of tonic over these connections. The one service answers with the name of
//! whoever calls.

use super::*;
use crate::tasks::OnError;
use core::convert::Infallible;
use core::future::{Ready, ready};
use core::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::transport::Channel;
use tower::ServiceExt;

#[derive(Clone)]
struct WhoCalls;

impl tonic::server::NamedService for WhoCalls {
    const NAME: &'static str = "test.WhoCalls";
}

impl Service<http::Request<Body>> for WhoCalls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<ConnectInfo>().unwrap();
        let name = match &caller.peer {
            Some(peer) => peer.identity.to_string(),
            None => "nobody".to_owned(),
        };
        ready(Ok(http::Response::builder().header("caller", name).body(Body::empty()).unwrap()))
    }
}

/// A coordinator in small: it serves until its tasks are shut down.
struct Server {
    address: String,
    connections: Connections,
    tasks: Tasks,
}

impl Server {
    async fn open(tls: Arc<ServerTls>, kind: ChannelKind) -> Self {
        let site = Site::open(tls).await;
        let stop = site.tasks.token().clone().cancelled_owned();
        let serving =
            kind.server().add_service(WhoCalls).serve_with_incoming_shutdown(site.incoming, stop);
        site.tasks.spawn("serve", OnError::Shutdown, async move {
            serving.await.map_err(|error| Error::new(Code::InternalBug, "serve").cause(error))
        });
        Self { address: site.address, connections: site.connections, tasks: site.tasks }
    }

    async fn close(&self) {
        assert!(self.tasks.shutdown(DEADLINE).await.is_empty());
    }
}

async fn who_am_i(channel: &mut Channel) -> Result<String, tonic::transport::Error> {
    let request = http::Request::post("/test.WhoCalls/Ask").body(Body::empty()).unwrap();
    let response = channel.ready().await?.call(request).await?;
    Ok(response.headers()["caller"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_call_knows_its_caller_over_either_kind_of_channel() {
    let house = House::new();
    for kind in [ChannelKind::Control, ChannelKind::Data] {
        let server = Server::open(house.server(1), kind).await;
        let endpoints = [server.address.clone()];
        let mut known = connect(&endpoints, house.client(&agent(1)), kind).await.unwrap();
        assert_eq!(who_am_i(&mut known).await.unwrap(), agent(1).to_string());
        let mut unknown = connect(&endpoints, house.anonymous(), kind).await.unwrap();
        assert_eq!(who_am_i(&mut unknown).await.unwrap(), "nobody");
        drop((known, unknown));
        server.close().await;
    }
}

#[tokio::test]
async fn a_lost_member_is_replaced_by_another_without_a_new_channel() {
    let house = House::new();
    let first = Server::open(house.server(1), ChannelKind::Control).await;
    let second = Server::open(house.server(2), ChannelKind::Control).await;
    let endpoints = [first.address.clone(), second.address.clone()];
    let mut channel =
        connect(&endpoints, house.client(&agent(1)), ChannelKind::Control).await.unwrap();
    who_am_i(&mut channel).await.unwrap();
    assert_eq!((first.connections.len(), second.connections.len()), (1, 0));

    first.close().await;
    // The call that finds the connection broken may fail; one after it does not.
    let mut answer = who_am_i(&mut channel).await;
    for _ in 0..3 {
        if answer.is_err() {
            answer = who_am_i(&mut channel).await;
        }
    }
    assert_eq!(answer.unwrap(), agent(1).to_string());
    assert_eq!(second.connections.len(), 1);
    drop(channel);
    second.close().await;
}

#[tokio::test]
async fn a_closed_connection_makes_its_peer_prove_itself_again() {
    let house = House::new();
    let server = Server::open(house.server(1), ChannelKind::Control).await;
    let tls = house.client(&agent(1));
    let endpoints = [server.address.clone()];
    let mut channel = connect(&endpoints, Arc::clone(&tls), ChannelKind::Control).await.unwrap();
    assert_eq!(who_am_i(&mut channel).await.unwrap(), agent(1).to_string());

    tls.replace(Some(&house.identity(&agent(2), HOUR)), &house.roots()).unwrap();
    assert_eq!(who_am_i(&mut channel).await.unwrap(), agent(1).to_string());
    assert_eq!(server.connections.close_where(|peer| peer.identity == agent(1)), 1);
    let mut answer = who_am_i(&mut channel).await;
    for _ in 0..3 {
        if answer.is_err() {
            answer = who_am_i(&mut channel).await;
        }
    }
    assert_eq!(answer.unwrap(), agent(2).to_string());
    drop(channel);
    server.close().await;
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_unreachable_and_named() {
    let house = House::new();
    let silent = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.address().to_string();
    drop(silent);
    let error = connect(std::slice::from_ref(&address), house.anonymous(), ChannelKind::Control)
        .await
        .unwrap_err();
    assert_eq!(error.code, Code::ClusterUnreachable);
    assert!(error.message.contains(&address), "{error}");

    let server = Server::open(house.server(1), ChannelKind::Control).await;
    let endpoints = [address, server.address.clone()];
    let mut channel = connect(&endpoints, house.anonymous(), ChannelKind::Control).await.unwrap();
    assert_eq!(who_am_i(&mut channel).await.unwrap(), "nobody");
    drop(channel);
    server.close().await;
}

#[tokio::test]
async fn a_wrong_server_is_a_refusal_that_says_where_and_why() {
    let (house, evil) = (House::new(), House::new());
    let server = Server::open(evil.server(1), ChannelKind::Control).await;
    let endpoints = [server.address.clone()];
    let error = connect(&endpoints, house.anonymous(), ChannelKind::Control).await.unwrap_err();
    assert_eq!(error.code, Code::CertificateRefused);
    assert!(error.message.contains(&server.address), "{error}");

    let pinned = ClientTls::pinned(house.0.fingerprint(), clock()).unwrap();
    let error = connect(&endpoints, pinned, ChannelKind::Control).await.unwrap_err();
    assert_eq!(error.code, Code::CertificatePinWrong);
    assert!(!error.is_retryable());
    server.close().await;
}

#[tokio::test]
async fn endpoints_that_are_none_are_refused_before_anything_is_dialled() {
    let house = House::new();
    for bad in [&[][..], &["nowhere".to_owned()], &["http://host".to_owned()]] {
        let error = connect(bad, house.anonymous(), ChannelKind::Data).await.unwrap_err();
        assert_eq!(error.code, Code::ConfigMalformed, "{bad:?}");
    }
}
