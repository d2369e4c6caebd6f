//! Who gets in, who does not, and what each side learns of the other.

use super::*;
use crate::identity::PeerCertificate;
use crate::pki::Fingerprint;
use crate::tasks::OnError;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;

/// One byte there and back.
async fn echo(server: &mut Connection, client: &mut TlsStream<TcpStream>) -> io::Result<()> {
    client.write_all(b"?").await?;
    client.flush().await?;
    let byte = server.read_u8().await?;
    server.write_all(&[byte]).await?;
    server.flush().await?;
    assert_eq!(client.read_u8().await?, b'?');
    Ok(())
}

/// In TLS 1.3 a client learns that it was refused when it reads.
async fn is_refused(dialled: io::Result<TlsStream<TcpStream>>) -> bool {
    match dialled {
        Ok(mut stream) => {
            tokio::time::timeout(DEADLINE, stream.read_u8()).await.expect("an answer").is_err()
        }
        Err(_) => true,
    }
}

fn server_of(stream: &TlsStream<TcpStream>) -> PeerCertificate {
    PeerCertificate::parse(&stream.get_ref().1.peer_certificates().unwrap()[0]).unwrap()
}

fn certificate_error(error: &io::Error) -> &rustls::CertificateError {
    match error.get_ref().unwrap().downcast_ref::<rustls::Error>().unwrap() {
        rustls::Error::InvalidCertificate(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let house = House::new();
    let mut site = Site::open(house.server(3)).await;
    let mut client = dial(&site, &house.client(&agent(1))).await.unwrap();
    let mut server = site.next().await;

    let peer = server.info().peer.clone().unwrap();
    assert_eq!(peer.identity, agent(1));
    assert_eq!(peer.serial, 7);
    assert_eq!(server.info().remote, client.get_ref().0.local_addr().unwrap());
    assert_eq!(server_of(&client).identity, Identity::coordinator(CLUSTER, 3));
    let session = client.get_ref().1;
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(session.alpn_protocol(), Some(ALPN));
    echo(&mut server, &mut client).await.unwrap();
    site.close().await;
}

#[tokio::test]
async fn a_client_without_a_certificate_is_nobody() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let mut client = dial(&site, &house.anonymous()).await.unwrap();
    let mut server = site.next().await;
    assert!(server.info().peer.is_none());
    echo(&mut server, &mut client).await.unwrap();
    assert_eq!(site.connections.close_where(|_| true), 0, "nobody is never meant");
    site.close().await;
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused_even_one_of_the_same_name() {
    let house = House::new();
    let other = ClusterId::from_bytes([0x0e; 16]);
    for (evil, expected) in [
        (House::of(other), rustls::CertificateError::UnknownIssuer),
        (House::new(), rustls::CertificateError::BadSignature),
    ] {
        let site = Site::open(evil.server(1)).await;
        let error = dial(&site, &house.client(&agent(1))).await.unwrap_err();
        assert_eq!(certificate_error(&error), &expected);
        site.close().await;
    }
}

#[tokio::test]
async fn a_client_of_another_authority_is_refused_and_others_still_get_in() {
    let (house, evil) = (House::new(), House::new());
    let mut site = Site::open(house.server(1)).await;
    let forged = evil.identity(&agent(1), HOUR);
    let forger = ClientTls::new(&forged, &house.roots(), clock()).unwrap();
    assert!(is_refused(dial(&site, &forger).await).await);
    let _client = dial(&site, &house.client(&agent(2))).await.unwrap();
    assert_eq!(site.next().await.info().peer.as_ref().unwrap().identity, agent(2));
    site.close().await;
}

#[tokio::test]
async fn an_agents_certificate_does_not_serve() {
    let house = House::new();
    for who in [agent(1), Identity::operator(CLUSTER, "ada".parse().unwrap())] {
        let posing = house.identity(&who, HOUR);
        let tls = ServerTls::new(&posing, &house.roots(), clock()).unwrap();
        let site = Site::open(tls).await;
        let error = dial(&site, &house.anonymous()).await.unwrap_err();
        certificate_error(&error);
        site.close().await;
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_the_client_and_by_the_server() {
    let house = House::new();
    let coordinator = Identity::coordinator(CLUSTER, 1);
    let short = house.identity(&coordinator, HOUR);
    let site = Site::open(ServerTls::new(&short, &house.roots(), clock()).unwrap()).await;
    let client = ClientTls::anonymous(&house.roots(), late()).unwrap();
    let error = dial(&site, &client).await.unwrap_err();
    assert!(
        matches!(certificate_error(&error), rustls::CertificateError::ExpiredContext { .. }),
        "{error}"
    );
    site.close().await;

    let long = house.identity(&coordinator, 9 * HOUR);
    let mut site = Site::open(ServerTls::new(&long, &house.roots(), late()).unwrap()).await;
    assert!(is_refused(dial(&site, &house.client(&agent(1))).await).await);
    let _client = dial(&site, &house.anonymous()).await.unwrap();
    assert!(site.next().await.info().peer.is_none(), "only who showed none got in");
    site.close().await;
}

#[tokio::test]
async fn a_replacement_is_seen_by_new_connections_only() {
    let house = House::new();
    let tls = house.server(1);
    let mut site = Site::open(Arc::clone(&tls)).await;
    let mut old_client = dial(&site, &house.anonymous()).await.unwrap();
    let mut old_server = site.next().await;

    let next = house.identity(&Identity::coordinator(CLUSTER, 2), HOUR);
    tls.replace(&next, &house.roots()).unwrap();
    let new_client = dial(&site, &house.anonymous()).await.unwrap();
    let _new_server = site.next().await;

    assert_eq!(server_of(&new_client).identity, Identity::coordinator(CLUSTER, 2));
    assert_eq!(server_of(&old_client).identity, Identity::coordinator(CLUSTER, 1));
    echo(&mut old_server, &mut old_client).await.unwrap();
    site.close().await;
}

#[tokio::test]
async fn a_replacement_that_cannot_be_used_changes_nothing() {
    let house = House::new();
    let tls = house.server(1);
    let (leaf, _) = house.leaf(&Identity::coordinator(CLUSTER, 2), HOUR);
    let (_, foreign_key) = house.leaf(&Identity::coordinator(CLUSTER, 2), HOUR);
    let torn = TlsIdentity::from_der(vec![leaf], &foreign_key);
    let error = tls.replace(&torn, &house.roots()).unwrap_err();
    assert_eq!(error.code, Code::ConfigMalformed);
    let site = Site::open(tls).await;
    let client = dial(&site, &house.anonymous()).await.unwrap();
    assert_eq!(server_of(&client).identity, Identity::coordinator(CLUSTER, 1));
    site.close().await;
}

#[tokio::test]
async fn a_client_dials_with_the_identity_it_has_by_then() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let tls = house.anonymous();
    let _first = dial(&site, &tls).await.unwrap();
    assert!(site.next().await.info().peer.is_none());
    tls.replace(Some(&house.identity(&agent(5), HOUR)), &house.roots()).unwrap();
    let _second = dial(&site, &tls).await.unwrap();
    assert_eq!(site.next().await.info().peer.as_ref().unwrap().identity, agent(5));
    site.close().await;
}

#[tokio::test]
async fn closing_by_identity_ends_a_live_connection_and_spares_the_others() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let mut revoked = dial(&site, &house.client(&agent(1))).await.unwrap();
    let mut revoked_server = site.next().await;
    let mut spared = dial(&site, &house.client(&agent(2))).await.unwrap();
    let mut spared_server = site.next().await;
    assert_eq!(site.connections.len(), 2);

    // A task that already waits for bytes is woken by the closing alone.
    let (tell, told) = tokio::sync::oneshot::channel();
    site.tasks.spawn("reader", OnError::Log, async move {
        let read = revoked_server.read_u8().await;
        let write = revoked_server.write_all(b"x").await;
        drop(tell.send((read, write)));
        Ok(())
    });
    tokio::task::yield_now().await;
    assert_eq!(site.connections.close_where(|peer| peer.identity == agent(1)), 1);
    let (read, write) = tokio::time::timeout(DEADLINE, told).await.expect("woken").unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    assert_eq!(write.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);

    assert!(revoked.read_u8().await.is_err());
    assert_eq!(site.connections.len(), 1);
    echo(&mut spared_server, &mut spared).await.unwrap();
    drop(spared_server);
    assert!(site.connections.is_empty());
    site.close().await;
}

#[tokio::test]
async fn a_pin_believes_the_authority_it_names_and_gives_its_certificate() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let tls = ClientTls::pinned(house.0.fingerprint(), clock()).unwrap();
    assert_eq!(tls.authority(), None);
    let mut client = dial(&site, &tls).await.unwrap();
    assert_eq!(tls.authority().as_ref(), Some(house.0.certificate()));
    let mut server = site.next().await;
    echo(&mut server, &mut client).await.unwrap();
    site.close().await;
}

#[tokio::test]
async fn a_pin_refuses_every_other_authority_and_what_is_not_signed_by_its_own() {
    let (house, evil) = (House::new(), House::new());
    let coordinator = Identity::coordinator(CLUSTER, 1);
    let pin = house.0.fingerprint();

    let (leaf, key) = evil.leaf(&coordinator, HOUR);
    let borrowed = vec![leaf.clone(), house.0.certificate().clone()];
    let both = vec![leaf, evil.0.certificate().clone(), house.0.certificate().clone()];
    let (agents, agents_key) = house.leaf(&agent(1), HOUR);
    for (case, chain, key) in [
        ("its own authority", vec![borrowed[0].clone()], &key),
        ("shows the pinned one, signed by its own", borrowed, &key),
        ("shows both", both, &key),
        ("an agent of the right cluster", vec![agents], &agents_key),
    ] {
        let identity = TlsIdentity::from_der(chain, key);
        let roots = if case.starts_with("an agent") { house.roots() } else { evil.roots() };
        let site = Site::open(ServerTls::new(&identity, &roots, clock()).unwrap()).await;
        let tls = ClientTls::pinned(pin, clock()).unwrap();
        let error = dial(&site, &tls).await.expect_err(case);
        certificate_error(&error);
        assert_eq!(tls.authority(), None, "{case}");
        site.close().await;
    }
}

#[tokio::test]
async fn a_pin_checks_the_dates_too() {
    let house = House::new();
    let identity = house.identity(&Identity::coordinator(CLUSTER, 1), HOUR);
    let site = Site::open(ServerTls::new(&identity, &house.roots(), clock()).unwrap()).await;
    let tls = ClientTls::pinned(house.0.fingerprint(), late()).unwrap();
    assert!(dial(&site, &tls).await.is_err());
    let other = ClientTls::pinned(Fingerprint::from_bytes([0; 32]), clock()).unwrap();
    assert!(dial(&site, &other).await.is_err());
    site.close().await;
}

#[tokio::test]
async fn a_silent_client_and_one_that_speaks_something_else_hold_up_nobody() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let silent = TcpStream::connect(&site.address).await.unwrap();
    let mut babbler = TcpStream::connect(&site.address).await.unwrap();
    babbler.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();

    let tls = house.anonymous();
    let mut other_protocol = (*tls.config()).clone();
    other_protocol.alpn_protocols.clear();
    let stream = TcpStream::connect(&site.address).await.unwrap();
    let name = ServerName::try_from(COORDINATOR_NAME).unwrap();
    let plain = TlsConnector::from(Arc::new(other_protocol)).connect(name, stream).await;
    assert!(is_refused(plain).await);

    let _client = dial(&site, &house.client(&agent(1))).await.unwrap();
    assert_eq!(site.next().await.info().peer.as_ref().unwrap().identity, agent(1));
    drop(silent);
    site.close().await;
}

#[tokio::test]
async fn after_shutdown_the_stream_ends_and_nothing_is_accepted() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let _held_up = TcpStream::connect(&site.address).await.unwrap();
    assert!(site.tasks.shutdown(DEADLINE).await.is_empty(), "an open handshake is let go");
    assert!(site.incoming.next().await.is_none());
    assert!(TcpStream::connect(&site.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_is_given_up_at_its_deadline() {
    let house = House::new();
    let site = Site::open(house.server(1)).await;
    let mut silent = TcpStream::connect(&site.address).await.unwrap();
    let begun = tokio::time::Instant::now();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0, "the server hung up");
    let waited = begun.elapsed().as_secs();
    assert_eq!(waited, holdfast_common::limits::HANDSHAKE_TIMEOUT_SECS);
    site.close().await;
}

#[tokio::test]
async fn no_session_is_resumed_even_for_a_client_that_would() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let mut eager = (*house.client(&agent(1)).config()).clone();
    eager.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let connector = TlsConnector::from(Arc::new(eager));
    for turn in 1..=2 {
        let stream = TcpStream::connect(&site.address).await.unwrap();
        let name = ServerName::try_from(COORDINATOR_NAME).unwrap();
        let mut client = connector.connect(name, stream).await.unwrap();
        let mut server = site.next().await;
        // Reading takes in whatever tickets the server sent.
        echo(&mut server, &mut client).await.unwrap();
        let kind = client.get_ref().1.handshake_kind().unwrap();
        assert_ne!(kind, rustls::HandshakeKind::Resumed, "connection {turn}");
    }
    site.close().await;
}
