//! A server that does not keep what it is sent: found out by the hash that it says, or, if it says
//! none, by reading.

use crate::credentials::KeyFile;
use bytes::Bytes;
use holdfast_common::Code;
use holdfast_storage::{CloudStore, ObjectStore};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

const SENT: &[u8] = b"what is sent";
const KEPT: &[u8] = b"what is kept";
/// MD5 of each.
const SENT_MD5: &str = "x-goog-hash: md5=5lVU6Mqclo8P4NETXQGYug==\r\n";
const KEPT_MD5: &str = "x-goog-hash: md5=FN/wu6EmNBcMGgIq2Km3XQ==\r\n";

/// Answers every put with these headers, and every get with what it kept.
fn liar(headers: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(&stream, headers));
        }
    });
    endpoint
}

fn answer(stream: &TcpStream, headers: &str) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let (mut verb, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(said) = line.strip_prefix("content-length:") {
                length = said.trim().parse().unwrap();
            }
            if verb.is_empty() {
                verb = line;
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        let is_put = verb.starts_with("put");
        let (more, body) = if is_put { (headers, &b""[..]) } else { ("", KEPT) };
        let when = "Last-Modified: Sun, 22 Nov 2026 20:00:00 GMT";
        let head = format!(
            "HTTP/1.1 200 OK\r\nETag: \"e\"\r\n{when}\r\nContent-Length: {}\r\n{more}\r\n",
            body.len()
        );
        writer.write_all(&[head.as_bytes(), body].concat()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_changed_on_their_way_are_found_out() {
    let account = KeyFile::of(crate::gcs::ACCOUNT);
    let name = "packs/aa".parse().unwrap();
    for (headers, sent, due) in [
        (SENT_MD5, SENT, Ok(())),
        (KEPT_MD5, SENT, Err(Code::ObjectDamaged)),
        ("", SENT, Err(Code::ObjectDamaged)),
        ("", KEPT, Ok(())),
        ("", &SENT[1..], Err(Code::ObjectDamaged)),
    ] {
        let endpoint = liar(headers);
        let place = format!("bucket?endpoint={endpoint}&service_account={}", account.path());
        let store = CloudStore::gcs(&place).unwrap();
        let put = store.replace(&name, Bytes::from_static(sent)).await;
        assert_eq!(put.map_err(|error| error.code), due, "{headers:?} {sent:?}");
    }
}
