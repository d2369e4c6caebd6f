//! Servers that lie, hang, or send whoever asks elsewhere: a transit engine of this test's own.
//!
//! Time is paused where a server hangs, so that it is given up at once or waited for for ever.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use base64::{Engine, engine::general_purpose::STANDARD};
use core::time::Duration;
use holdfast_common::{ClusterId, Code, Error, Secret};
use holdfast_kek::{load, renew};
use holdfast_keyring::{Derivation, Kek, KekSource, RemoteKek, SealedKek, kek::Provider};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

const TOKEN: &str = "a-token-of-a-test";
const PATIENCE: Duration = Duration::from_secs(30);
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Nothing is sent when there is no answer, and the connection stays open.
struct Server {
    address: SocketAddr,
    /// Who came.
    asked: mpsc::Receiver<()>,
}

impl Server {
    fn answering(answer: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, (tell, asked)) = (listener.local_addr().unwrap(), mpsc::sync_channel(64));
        thread::spawn(move || {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept() {
                if tell.send(()).is_err() {
                    return;
                }
                let _some_of_it = stream.read(&mut [0; 4096]);
                answer(&mut stream);
                held.push(stream);
            }
        });
        Self { address, asked }
    }

    fn saying(head: &str, body: &str) -> Self {
        let length = body.len();
        let said = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}");
        Self::answering(move |stream| stream.write_all(said.as_bytes()).unwrap())
    }

    /// How often, once somebody came.
    fn was_asked(&self) -> usize {
        usize::from(self.asked.recv_timeout(PATIENCE).is_ok()) + self.asked.try_iter().count()
    }

    fn remote(&self) -> RemoteKek {
        let token = "token=env:THE_TOKEN";
        let text = format!("transit:http://{}/transit/kek?{token}", self.address);
        let Ok(KekSource::Remote(remote)) = text.parse() else { panic!("{text}") };
        remote
    }

    async fn open(&self) -> Error {
        let derivation = Derivation::Sealed(sealed());
        let source = KekSource::Remote(self.remote());
        let answer = load(&source, environment, Some(&derivation)).await.unwrap_err();
        assert!(!format!("{answer:?}").contains(TOKEN), "{answer:?}");
        answer
    }
}

fn environment(name: &str) -> Option<String> {
    (name == "THE_TOKEN").then(|| TOKEN.to_owned())
}

fn key(byte: u8) -> Secret<32> {
    Secret::take(&mut [byte; 32])
}

fn sealed() -> SealedKek {
    SealedKek {
        provider: Provider::Transit,
        key: "transit/kek".to_owned(),
        version: "1".to_owned(),
        cluster: ClusterId::from_bytes([7; 16]),
        kek: Kek::from_secret(key(1)).id,
        sealed: b"vault:v1:abcd".to_vec(),
    }
}

fn opening_to(key: &Secret<32>) -> Server {
    let plaintext = STANDARD.encode(key.expose());
    Server::saying("200 OK", &format!("{{\"data\":{{\"plaintext\":\"{plaintext}\"}}}}"))
}

#[tokio::test]
async fn the_bytes_of_another_key_are_not_taken_for_the_kek() {
    let right = opening_to(&key(1));
    let derivation = Derivation::Sealed(sealed());
    let source = KekSource::Remote(right.remote());
    let kek = load(&source, environment, Some(&derivation)).await.unwrap();
    assert_eq!(kek.id, sealed().kek);
    let error = opening_to(&key(2)).open().await;
    assert_eq!(error.code, Code::KeyWrong, "{error}");
    let shown = STANDARD.encode(key(2).expose());
    assert!(!format!("{error:?}").contains(&shown), "{error:?}");
    for (head, body) in [
        ("200 OK", "{}"),
        ("200 OK", "<html>"),
        ("404 Not Found", "<html>"),
        ("404 Not Found", "{}"),
        ("403 Forbidden", ""),
    ] {
        let error = Server::saying(head, body).open().await;
        assert_eq!(error.code, Code::KekUnreachable, "{head}: {body}");
    }
    let gone = Server::saying("404 Not Found", "{\"errors\":[]}").open().await;
    assert_eq!(gone.code, Code::KekGone);
}

#[tokio::test]
async fn a_token_does_not_go_where_a_server_sends_it() {
    let other = opening_to(&key(1));
    let head = format!("307 Elsewhere\r\nlocation: http://{}/v1/x", other.address);
    let error = Server::saying(&head, "").open().await;
    assert_eq!(error.code, Code::KekUnreachable, "{error}");
    assert_eq!(other.asked.try_iter().count(), 0, "it went there");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let server = Server::answering(|stream| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let part = [b"8000\r\n".as_slice(), &[b' '; 0x8000], b"\r\n"].concat();
        let _closed = stream.write_all(head);
        while stream.write_all(&part).is_ok() {}
    });
    let error = server.open().await;
    assert!(format!("{error:?}").contains("too long"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up() {
    let server = Server::answering(|_| {});
    let opened = tokio::time::timeout(FOR_EVER, server.open()).await;
    let error = opened.expect("an end");
    assert_eq!(error.code, Code::KekUnreachable, "{error}");
    assert!(server.was_asked() > 0, "nobody came");
}

#[tokio::test(start_paused = true)]
async fn a_new_version_is_asked_for_once_and_not_waited_for_for_ever() {
    let server = Server::answering(|_| {});
    let made = tokio::time::timeout(FOR_EVER, renew(&server.remote(), environment)).await;
    let error = made.expect("an end").unwrap_err();
    assert_eq!(error.code, Code::KekUnreachable, "{error}");
    assert_eq!(server.was_asked(), 1);
}
