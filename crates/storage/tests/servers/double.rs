//! A server that answers as it is told to, where no real one can be brought to say it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// Answers each request by its head, in lower case, for as long as the process lives. Where it is.
pub(crate) fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> String {
    serve_with_bodies(move |head, _| answer(head))
}

/// The same, by its head and its body.
pub(crate) fn serve_with_bodies(
    answer: impl Fn(&str, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || talk(&stream, &*answer));
        }
    });
    address
}

/// An answer with its length.
pub(crate) fn said(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n", body.len());
    format!("HTTP/1.1 {status}\r\n{headers}{length}\r\n{body}").into_bytes()
}

fn talk(stream: &TcpStream, answer: &dyn Fn(&str, Vec<u8>) -> Vec<u8>) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
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
            head += &line;
        }
        let mut body = vec![0; length];
        let read = reader.read_exact(&mut body);
        if read.is_err() || writer.write_all(&answer(&head, body)).is_err() {
            return;
        }
    }
}
