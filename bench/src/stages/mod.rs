//! The plain cost of each stage of a byte's way, one core, over a data set.
//!
//! The same crates as the product, each in a loop of its own with nothing around it: what a backup
//! cannot be cheaper than. Small files are one chunk; content-defined cuts everywhere else, with
//! the product's sizes. The TLS loop is both ends of one connection, with no socket between them.

mod tls;

use crate::{files, tool::Holdfast};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, aead::AeadInOut};
use fastcdc::v2020::FastCDC;
use holdfast_common::{Clock, Code, Error, Result, SystemClock, limits};
use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    time::Duration,
};

/// A Markdown table.
pub fn measure(dir: &Path) -> Result<String> {
    let mut stages = Stages::new(dir)?;
    files::warm(dir)?;
    for file in files::list(dir)? {
        stages.file(&file.path)?;
    }
    stages.finish()?;
    Ok(format!("{}\n\n{}", stages.table(), spent(dir)?))
}

/// The same data in a real backup: CPU seconds by thread of the agent, and of the others.
fn spent(dir: &Path) -> Result<String> {
    let house_dir = dir.with_extension("house");
    let mut house = Holdfast::beside_this_program()?.found(&house_dir)?;
    house.rouse()?;
    files::warm(dir)?;
    let (usage, spent) = house.profile(dir)?;
    house.rest()?;
    files::remove_dir(&house_dir)?;
    let mut lines = vec![String::from("| where in a backup | CPU s |"), String::from("|---|---:|")];
    for (name, what) in THREADS {
        let seconds = spent.get(name).copied().unwrap_or_default();
        lines.push(format!("| agent: {what} (`{name}`) | {seconds:.2} |"));
    }
    let named: f64 = THREADS.iter().filter_map(|(name, _)| spent.get(*name)).sum();
    for part in &usage.parts {
        let (who, rest) = match part.process {
            "agent" => ("agent: TLS, HTTP/2, everything else", part.cpu_seconds - named),
            other => (other, part.cpu_seconds),
        };
        lines.push(format!("| {who} | {rest:.2} |"));
    }
    let (cpu, wall) = (usage.cpu_seconds, usage.wall_seconds);
    lines.push(format!("| all, in {wall:.2} s of wall time | {cpu:.2} |"));
    Ok(lines.join("\n"))
}

/// The agent's stages, in a byte's order.
const THREADS: [(&str, &str); 6] = [
    ("walk", "listing, looking at files, comparing with the last run"),
    ("cut", "reading, cutting, naming"),
    ("offer", "asking what is known"),
    ("seal", "compressing, encrypting, opening again 1 in 64"),
    ("pack", "packing, hashing the pack"),
    ("put", "handing packs to the connection"),
];

#[derive(Clone, Copy, Default)]
struct Cost {
    bytes: u64,
    spent: Duration,
}

struct Stages {
    clock: SystemClock,
    read: Cost,
    cut: Cost,
    name: Cost,
    compress: Cost,
    encrypt: Cost,
    send: Cost,
    receive: Cost,
    write: Cost,
    connection: tls::Connection,
    zstd: zstd::bulk::Compressor<'static>,
    cipher: Aes256Gcm,
    pack: Vec<u8>,
    out: File,
}

impl Stages {
    fn new(dir: &Path) -> Result<Self> {
        // Beside the data, on the same disk; unlinked while open, so that nothing is left behind.
        let path = dir.with_extension("stages");
        let out = File::create_new(&path).map_err(|e| files::failed("create", &path, &e))?;
        std::fs::remove_file(&path).map_err(|error| files::failed("unlink", &path, &error))?;
        let zstd = zstd::bulk::Compressor::new(LEVEL)
            .map_err(|error| Error::io("zstd has no context", &error))?;
        Ok(Self {
            clock: SystemClock::start(),
            read: Cost::default(),
            cut: Cost::default(),
            name: Cost::default(),
            compress: Cost::default(),
            encrypt: Cost::default(),
            send: Cost::default(),
            receive: Cost::default(),
            write: Cost::default(),
            connection: tls::Connection::new()?,
            zstd,
            cipher: Aes256Gcm::new(&[7; 32].into()),
            pack: Vec::with_capacity(limits::PACK_BYTES_MAX + limits::CHUNK_BYTES_MAX),
            out,
        })
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let start = self.clock.elapsed();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(|error| files::failed("read", path, &error))?;
        self.read.add(bytes.len(), self.clock.elapsed() - start);

        let start = self.clock.elapsed();
        let cuts = cut(&bytes);
        self.cut.add(bytes.len(), self.clock.elapsed() - start);
        for (from, length) in cuts {
            self.chunk(&bytes[from..from + length])?;
        }
        Ok(())
    }

    fn chunk(&mut self, plain: &[u8]) -> Result<()> {
        let start = self.clock.elapsed();
        let name = blake3::keyed_hash(&[9; 32], plain);
        let named = self.clock.elapsed();
        self.name.add(plain.len(), named - start);

        let packed = self.zstd.compress(plain);
        let mut frame = packed.map_err(|error| Error::io("zstd failed", &error))?;
        let compressed = self.clock.elapsed();
        self.compress.add(plain.len(), compressed - named);

        let nonce = Nonce::from([3; 12]); // one key for all: only the cost is wanted
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce, name.as_bytes(), frame.as_mut_slice().into())
            .map_err(|_| Error::new(Code::InternalBug, "a chunk could not be encrypted"))?;
        self.encrypt.add(frame.len(), self.clock.elapsed() - compressed);

        self.pack.extend_from_slice(&frame);
        self.pack.extend_from_slice(&tag);
        if self.pack.len() >= limits::PACK_BYTES_MAX { self.finish() } else { Ok(()) }
    }

    /// One pack through a connection, and to the disk.
    fn finish(&mut self) -> Result<()> {
        for part in self.pack.chunks(SENT_AT_ONCE) {
            let start = self.clock.elapsed();
            let records = self.connection.send(part)?;
            let sent = self.clock.elapsed();
            self.send.add(part.len(), sent - start);
            self.connection.receive(&records)?;
            self.receive.add(part.len(), self.clock.elapsed() - sent);
        }
        let start = self.clock.elapsed();
        self.out
            .write_all(&self.pack)
            .and_then(|()| self.out.sync_data())
            .map_err(|error| Error::io("a pack cannot be written", &error))?;
        self.write.add(self.pack.len(), self.clock.elapsed() - start);
        self.pack.clear();
        Ok(())
    }

    fn table(&self) -> String {
        let mut lines =
            vec![String::from("| stage | MB | s | MB/s |"), String::from("|---|---:|---:|---:|")];
        for (name, cost) in [
            ("read, from memory", self.read),
            ("cut, FastCDC", self.cut),
            ("name, keyed BLAKE3", self.name),
            ("compress, zstd 3", self.compress),
            ("encrypt, AES-256-GCM", self.encrypt),
            ("TLS 1.3, sending", self.send),
            ("TLS 1.3, receiving", self.receive),
            ("write and fsync, by the pack", self.write),
        ] {
            let (megabytes, seconds) = (cost.bytes as f64 / 1e6, cost.spent.as_secs_f64());
            let speed = if seconds > 0.0 { megabytes / seconds } else { 0.0 };
            lines.push(format!("| {name} | {megabytes:.0} | {seconds:.2} | {speed:.0} |"));
        }
        lines.join("\n")
    }
}

impl Cost {
    fn add(&mut self, bytes: usize, spent: Duration) {
        self.bytes += bytes as u64;
        self.spent += spent;
    }
}

/// Where chunks begin and how long they are.
fn cut(bytes: &[u8]) -> Vec<(usize, usize)> {
    if bytes.len() <= limits::CDC_BYTES_MIN {
        return vec![(0, bytes.len())];
    }
    let (min, average, max) = (limits::CDC_BYTES_MIN, limits::CDC_BYTES_AVG, limits::CDC_BYTES_MAX);
    FastCDC::new(bytes, min, average, max).map(|chunk| (chunk.offset, chunk.length)).collect()
}

const LEVEL: i32 = 3;
/// What goes into the connection before the other end takes it out.
const SENT_AT_ONCE: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_cover_everything_once() {
        let mut bytes = vec![0; 9 << 20];
        crate::chance::Chance::new(1, "cuts", 0).fill(&mut bytes);
        for length in [0, 1, limits::CDC_BYTES_MIN, limits::CDC_BYTES_MIN + 1, bytes.len()] {
            let mut at = 0;
            for (from, chunk) in cut(&bytes[..length]) {
                assert_eq!(from, at);
                at += chunk;
            }
            assert_eq!(at, length);
        }
        assert!(cut(&bytes).len() > 2);
    }
}
