//! A line between a client and an HTTP server that goes wrong on purpose: errors that the server
//! did not say, answers that are lost after the work was done, bodies that end early, silence.
//!
//! Dice with a seed decide each request; so a run can be had again as far as real time allows.

use crate::server::free_address;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

const BODY_BYTES_MAX: usize = 64 << 20;
const HEAD_LINES_MAX: usize = 200;
/// How long silence lasts, unless the client goes first.
const SILENCE: Duration = Duration::from_secs(600);
const SLOW_STEP: usize = 16 << 10;
const SLOW_PAUSE: Duration = Duration::from_millis(2);

/// What may become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Refused without being passed on.
    Status(u16),
    /// Passed on, and never answered.
    LostAnswer,
    /// Half of the answer's body comes.
    TruncatedBody,
    /// Nothing is passed on, nothing is said.
    Hang,
    SlowBytes,
    /// Of a listing: what was answered the first time.
    StaleListing,
}

impl Fault {
    /// Those after which another try may do better at once.
    pub const PASSING: [Self; 7] = [
        Self::Status(500),
        Self::Status(503),
        Self::Status(429),
        Self::Status(408),
        Self::LostAnswer,
        Self::TruncatedBody,
        Self::SlowBytes,
    ];
}

/// Of a thousand requests so many have one of these faults.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    pub permille: u64,
    pub faults: Vec<Fault>,
}

#[derive(Debug)]
pub struct Proxy {
    pub endpoint: String,
    air: Arc<Air>,
}

#[derive(Debug)]
struct Air {
    upstream: SocketAddr,
    weather: Mutex<Weather>,
    dice: Mutex<u64>,
    is_gone: AtomicBool,
    faults: AtomicU64,
    /// The first answers to listings, by what was asked.
    listings: Mutex<Vec<(String, Answer)>>,
}

#[derive(Clone, Debug)]
struct Answer {
    head: Vec<u8>,
    body: Vec<u8>,
}

struct Request {
    /// The request line.
    line: String,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Proxy {
    /// In fair weather, before the server at `endpoint` (`http://ADDRESS`).
    pub fn before(endpoint: &str, seed: u64) -> Self {
        let upstream = endpoint.strip_prefix("http://").and_then(|address| address.parse().ok());
        let upstream = upstream.unwrap_or_else(|| panic!("{endpoint} is no http://ADDRESS"));
        let address = free_address();
        let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{error}"));
        let air = Arc::new(Air {
            upstream,
            weather: Mutex::default(),
            dice: Mutex::new(seed),
            is_gone: AtomicBool::new(false),
            faults: AtomicU64::new(0),
            listings: Mutex::default(),
        });
        let accepting = air.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let air = accepting.clone();
                thread::spawn(move || drop(air.serve(&stream)));
            }
        });
        Self { endpoint: format!("http://{address}"), air }
    }

    pub fn set(&self, weather: Weather) {
        *self.air.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// While it is gone every connection ends at once.
    pub fn be_gone(&self, is_gone: bool) {
        self.air.is_gone.store(is_gone, Ordering::SeqCst);
    }

    /// How many requests went wrong.
    pub fn faults(&self) -> u64 {
        self.air.faults.load(Ordering::SeqCst)
    }
}

impl Air {
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        while let Some(request) = Request::read(&mut reader)? {
            if self.is_gone.load(Ordering::SeqCst) || !self.answer(&request, client)? {
                return client.shutdown(Shutdown::Both);
            }
        }
        Ok(())
    }

    /// Whether the connection goes on.
    fn answer(&self, request: &Request, mut client: &TcpStream) -> io::Result<bool> {
        let is_listing = request.line.contains("list-type=2");
        let fault = self.fault().filter(|fault| *fault != Fault::StaleListing || is_listing);
        if fault.is_some() {
            self.faults.fetch_add(1, Ordering::SeqCst);
        }
        match fault {
            Some(Fault::Hang) => {
                client.set_read_timeout(Some(SILENCE))?;
                let _gone = client.read(&mut [0]);
                return Ok(false);
            }
            Some(Fault::Status(code)) => {
                let head = format!("HTTP/1.1 {code} Trouble\r\nContent-Length: 0\r\n\r\n");
                return client.write_all(head.as_bytes()).map(|()| true);
            }
            _ => {}
        }
        let mut answer = request.pass_on(self.upstream)?;
        if is_listing {
            answer = self.remember(&request.line, answer, fault == Some(Fault::StaleListing));
        }
        if fault == Some(Fault::LostAnswer) {
            return Ok(false);
        }
        client.write_all(&answer.head)?;
        match fault {
            Some(Fault::TruncatedBody) => {
                client.write_all(&answer.body[..answer.body.len() / 2])?;
                return Ok(false);
            }
            Some(Fault::SlowBytes) => {
                for part in answer.body.chunks(SLOW_STEP) {
                    client.write_all(part)?;
                    thread::sleep(SLOW_PAUSE);
                }
            }
            _ => client.write_all(&answer.body)?,
        }
        Ok(true)
    }

    fn fault(&self) -> Option<Fault> {
        let weather = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        let mut below = |bound: u64| {
            *dice = dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let word = (*dice ^ (*dice >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (word ^ (word >> 31)) % bound.max(1)
        };
        let at = below(weather.faults.len() as u64);
        (below(1000) < weather.permille).then(|| weather.faults.get(at as usize).copied())?
    }

    fn remember(&self, line: &str, answer: Answer, is_stale: bool) -> Answer {
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        match listings.iter().find(|(asked, _)| asked == line) {
            Some((_, first)) if is_stale => first.clone(),
            Some(_) => answer,
            None => {
                listings.push((line.to_owned(), answer.clone()));
                answer
            }
        }
    }
}

impl Request {
    /// None when the client has gone.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some((head, line)) = read_head(reader)? else { return Ok(None) };
        let length = length_of(&head).unwrap_or(0);
        Ok(Some(Self { line, head, body: read_body(reader, length)? }))
    }

    fn pass_on(&self, upstream: SocketAddr) -> io::Result<Answer> {
        let mut server = TcpStream::connect(upstream)?;
        server.write_all(&self.head)?;
        server.write_all(&self.body)?;
        let mut reader = BufReader::new(server);
        loop {
            let read = read_head(&mut reader)?;
            let (head, line) = read.ok_or(io::ErrorKind::UnexpectedEof)?;
            if line.contains(" 100 ") {
                continue;
            }
            let is_empty = self.line.starts_with("HEAD ")
                || line.contains(" 204 ")
                || line.contains(" 304 ");
            return match length_of(&head) {
                _ if is_empty => Ok(Answer { head, body: Vec::new() }),
                Some(length) => Ok(Answer { body: read_body(&mut reader, length)?, head }),
                None => Ok(unchunked(head, &read_chunks(&mut reader)?)),
            };
        }
    }
}

/// A head up to its empty line, and its first line.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(Vec<u8>, String)>> {
    let (mut head, mut first) = (Vec::new(), None);
    for _ in 0..HEAD_LINES_MAX {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&line);
        if line == b"\r\n" {
            return Ok(first.map(|line| (head, line)));
        }
        first.get_or_insert_with(|| String::from_utf8_lossy(&line).into_owned());
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = head.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    let mut named = lines.filter_map(|line| line.split_once(':'));
    named.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn length_of(head: &[u8]) -> Option<usize> {
    header(head, "content-length")?.parse().ok()
}

fn read_body(reader: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    if length > BODY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

/// The body of an answer that came in chunks.
fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16);
        let length = length.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        body.extend(read_body(reader, length)?);
        reader.read_line(&mut String::new())?;
        if length == 0 {
            return Ok(body);
        }
    }
}

/// The same answer with its length said.
fn unchunked(head: Vec<u8>, body: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(&head).into_owned();
    let kept = text.trim_end().split("\r\n").filter(|line| {
        !line.to_ascii_lowercase().starts_with("transfer-encoding:")
    });
    let mut head = kept.collect::<Vec<_>>().join("\r\n");
    head.push_str(&format!("\r\nContent-Length: {}\r\n\r\n", body.len()));
    Answer { head: head.into_bytes(), body: body.to_vec() }
}
