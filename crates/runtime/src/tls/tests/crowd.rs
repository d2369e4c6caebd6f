//! Many at the door: nobody gets more than a share of it, and nobody keeps what it does not use.

use super::*;
use holdfast_common::limits;
use tokio::io::AsyncReadExt;

/// Hung up by the server, without a word.
async fn is_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    let read = tokio::time::timeout(DEADLINE, stream.read_u8()).await;
    read.expect("closed within the deadline").is_err()
}

#[tokio::test]
async fn one_agent_stands_so_often_and_no_more_and_others_are_spared() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let greedy = house.client(&agent(1));
    let mut standing = Vec::new();
    for _ in 0..limits::CONNECTIONS_PER_AGENT_MAX {
        standing.push((dial(&site, &greedy).await.unwrap(), site.next().await));
    }
    // A fresh certificate of the same agent is no way around.
    let again = house.client(&agent(1));
    assert!(is_closed(&mut dial(&site, &again).await.unwrap()).await);
    let _other = dial(&site, &house.client(&agent(2))).await.unwrap();
    assert_eq!(site.next().await.info().peer.as_ref().unwrap().identity, agent(2));
    standing.pop();
    let _again = dial(&site, &again).await.unwrap();
    assert_eq!(site.next().await.info().peer.as_ref().unwrap().identity, agent(1));
    site.close().await;
}

#[tokio::test]
async fn a_stranger_is_closed_when_its_time_is_over_and_a_member_is_not() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let _stranger = dial(&site, &house.anonymous()).await.unwrap();
    let mut stranger = site.next().await;
    let _member = dial(&site, &house.client(&agent(1))).await.unwrap();
    let mut member = site.next().await;
    tokio::time::pause();
    let soon = Duration::from_secs(limits::STRANGER_SECS_MAX - 1);
    assert!(tokio::time::timeout(soon, stranger.read_u8()).await.is_err(), "too early");
    let late = Duration::from_secs(2);
    let error = tokio::time::timeout(late, stranger.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    assert!(tokio::time::timeout(10 * soon, member.read_u8()).await.is_err(), "it stands");
    tokio::time::resume();
    drop((stranger, member));
    site.close().await;
}

#[tokio::test]
async fn a_connection_is_closed_from_within_a_call() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let mut client = dial(&site, &house.client(&agent(1))).await.unwrap();
    let mut server = site.next().await;
    let info = server.info().clone();
    let (read, ()) = tokio::join!(server.read_u8(), async { info.close() });
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    drop(server);
    assert!(is_closed(&mut client).await);
    site.close().await;
}

#[tokio::test]
async fn slow_handshakes_make_room_for_whoever_comes() {
    let house = House::new();
    let mut site = Site::open(house.server(1)).await;
    let mut slow = Vec::new();
    for _ in 0..limits::HANDSHAKES_PER_ADDRESS_MAX {
        slow.push(TcpStream::connect(&site.address).await.unwrap());
    }
    // While the places of the others are safe it is turned away; then it gets in, long before
    // their time is over.
    let begun = tokio::time::Instant::now();
    let tls = house.client(&agent(1));
    let _client = loop {
        match dial(&site, &tls).await {
            Ok(client) => break client,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let safe = Duration::from_secs(limits::HANDSHAKE_SAFE_SECS);
    assert!((safe / 2..3 * safe).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(site.next().await.info().peer.as_ref().unwrap().identity, agent(1));
    assert!(is_closed(&mut slow[0]).await, "the oldest made room");
    site.close().await;
}
