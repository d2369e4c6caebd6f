//! The passphrase of a bundle: from a file, from `HOLDFAST_PASSPHRASE`, from a pipe, or typed
//! unseen on a terminal. Never from an argument, which every process of the host can read.

use holdfast_common::{Code, Error, Result};
use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
};

const VARIABLE: &str = "HOLDFAST_PASSPHRASE";

#[derive(Clone, Debug, Default, clap::Args)]
pub struct PassphraseArguments {
    /// Read the bundle's passphrase from the first line of this file; `-` is stdin
    /// [env: HOLDFAST_PASSPHRASE holds the passphrase itself]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArguments {
    /// `twice` asks a person to repeat what cannot be seen: for a new bundle.
    pub fn read(&self, twice: bool) -> Result<String> {
        let text = match &self.passphrase_file {
            Some(path) if path.as_os_str() == "-" => first_line_of_stdin()?,
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Error::io(format!("{} cannot be read", path.display()), &error)
                })?;
                text.lines().next().unwrap_or_default().to_owned()
            }
            None => match std::env::var_os(VARIABLE) {
                Some(text) => text.into_string().map_err(|_| missing("it is not UTF-8"))?,
                None if std::io::stdin().is_terminal() => typed(twice)?,
                None => first_line_of_stdin()?,
            },
        };
        if text.is_empty() {
            return Err(missing("it is empty"));
        }
        Ok(text)
    }
}

fn missing(why: &str) -> Error {
    Error::new(Code::UsageMalformed, "the bundle needs a passphrase")
        .cause(why)
        .next("set HOLDFAST_PASSPHRASE or name a file with --passphrase-file")
}

fn first_line_of_stdin() -> Result<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Error::io("stdin cannot be read", &error))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn typed(twice: bool) -> Result<String> {
    let first = unseen("passphrase: ")?;
    if twice && unseen("and again: ")? != first {
        return Err(missing("the two were not the same"));
    }
    Ok(first)
}

fn unseen(prompt: &str) -> Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let refused = |error: rustix::io::Errno| Error::io("the terminal cannot be set", &error.into());
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).map_err(refused)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    let _nobody_reads = write!(std::io::stderr().lock(), "{prompt}");
    tcsetattr(&stdin, OptionalActions::Flush, &quiet).map_err(refused)?;
    let line = first_line_of_stdin();
    tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(refused)?;
    let _nobody_reads = writeln!(std::io::stderr().lock());
    line
}
