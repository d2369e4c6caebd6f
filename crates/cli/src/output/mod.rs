//! Answers. A command hands over data once, as a JSON object or as a table; this folder decides
//! nothing but form.
//!
//! `figures` writes sizes, times and spans for people, `path` writes names that need not be UTF-8,
//! `table` aligns columns, `fault` is for what went wrong. Only this folder touches stdout.

pub mod fault;
pub mod figures;
pub mod path;
pub mod table;

use holdfast_common::{Error, Result};
use serde_json::{Map, Value};
use std::{
    io::{ErrorKind, IsTerminal, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

const SCHEMA: &str = "holdfast/v1";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One object with a stable schema
    Json,
    /// Aligned columns, local times, human sizes
    #[default]
    Table,
}

#[derive(Debug)]
pub struct Output {
    format: Format,
    closed: AtomicBool,
    /// Answers are kept here instead of being written, for a command that runs others.
    kept: Option<Mutex<Vec<u8>>>,
}

impl Output {
    pub const fn new(format: Format) -> Self {
        Self { format, closed: AtomicBool::new(false), kept: None }
    }

    /// Keeps answers, and swallows remarks.
    pub const fn kept(format: Format) -> Self {
        Self { format, closed: AtomicBool::new(false), kept: Some(Mutex::new(Vec::new())) }
    }

    /// What was kept since the last time.
    pub fn take(&self) -> Vec<u8> {
        let Some(kept) = &self.kept else { return Vec::new() };
        core::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// True when whoever read stdout went away (`holdfast ls … | head`): not a failure.
    pub fn was_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// One JSON object on one line, with the schema it follows.
    pub fn object(&self, fields: Value) -> Result<()> {
        let mut object = Map::new();
        object.insert("schema".into(), SCHEMA.into());
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        self.line(&Value::Object(object).to_string())
    }

    /// The object in JSON mode, else the text, line by line.
    pub fn answer(
        &self,
        fields: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.is_json() {
            return self.object(fields());
        }
        let text = text();
        if text.is_empty() { Ok(()) } else { self.line(&text) }
    }

    pub fn line(&self, text: &str) -> Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        if let Some(kept) = &self.kept {
            kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            return Ok(());
        }
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| {
            if error.kind() == ErrorKind::BrokenPipe {
                self.closed.store(true, Ordering::Relaxed);
            }
            Error::io("the answer cannot be written to stdout", &error)
        })
    }

    /// A remark for whoever watches; never data.
    pub fn remark(&self, text: &str) {
        if self.kept.is_none() {
            let _nobody_reads = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// True where a progress bar helps and does not end up in a file.
    pub fn is_watched(&self) -> bool {
        !self.is_json() && self.kept.is_none() && std::io::stderr().is_terminal()
    }
}
