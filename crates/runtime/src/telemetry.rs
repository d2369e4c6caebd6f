//! Logs: to stderr, for people or for machines.
//!
//! Nothing secret is ever logged. The rule is kept where values are made, not here: keys, tokens
//! and passphrases have types that print as `…`; paths, file names and content of backups are no
//! fields of any event (a run's own report quotes paths, sealed to the vault); ids, counts, sizes,
//! codes, names of agents and policies may be logged. Headers and messages of calls are never
//! logged whole. An error is logged once, where it is handled. Crates of others do not keep that
//! rule: at `trace` some of them log all that they send, keys and tokens too. So they are heard
//! down to `debug` and no further, whatever the filter says.

use core::{fmt, str::FromStr};
use holdfast_common::{Code, Error, Result};
use std::io::IsTerminal;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt, registry,
};

pub const DEFAULT_FILTER: &str = "info,openraft=warn";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    #[default]
    Text,
}

impl FromStr for LogFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            other => {
                let message = format!("`{}` is no format of logs", other.escape_debug());
                Err(Error::new(Code::UsageMalformed, message).next("choose text or json"))
            }
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// As in `info,holdfast_agent=debug`.
    pub filter: String,
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { filter: DEFAULT_FILTER.to_owned(), format: LogFormat::default() }
    }
}

/// Starts logging to stderr for the whole process; a second call is refused.
pub fn init(options: &LogOptions) -> Result<()> {
    let colour = std::io::stderr().is_terminal();
    let subscriber = subscriber(options, std::io::stderr, colour)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Error::new(Code::InternalBug, "logging was started twice").cause(error))
}

fn subscriber<W>(
    options: &LogOptions,
    writer: W,
    colour: bool,
) -> Result<impl Subscriber + Send + Sync + use<W>>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(&options.filter).map_err(|error| {
        let message = format!("`{}` is no filter for logs", options.filter.escape_debug());
        Error::new(Code::ConfigMalformed, message)
            .cause(error)
            .next("write it as info or info,holdfast_agent=debug")
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = match options.format {
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
        LogFormat::Text => lines.with_ansi(colour).boxed(),
    };
    Ok(registry().with(layer).with(filter).with(filter_fn(is_ours_or_no_trace)))
}

fn is_ours_or_no_trace(event: &Metadata<'_>) -> bool {
    *event.level() <= Level::DEBUG || event.target().starts_with("holdfast")
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::Secret;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str) -> String {
        captured(format, filter, || {
            let key = Secret::<9>::from_slice(b"swordfish");
            tracing::info!(count = 3, ?key, "stored");
            tracing::debug!("detail");
        })
    }

    fn captured(format: LogFormat, filter: &str, work: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let options = LogOptions { filter: filter.to_owned(), format };
        let subscriber = subscriber(&options, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn text_has_no_colour_codes_away_from_a_terminal_and_no_secret() {
        let text = logged(LogFormat::Text, "info");
        assert!(text.contains("stored") && text.contains("count=3"), "{text}");
        assert!(!text.contains('\x1b') && !text.contains("swordfish"), "{text}");
        assert!(!text.contains("detail"), "{text}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = logged(LogFormat::Json, "info,holdfast_runtime=debug");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with('{') && lines[0].ends_with('}'), "{text}");
        assert!(lines[0].contains("\"message\":\"stored\"") && lines[0].contains("\"count\":3"));
        assert!(lines[1].contains("detail"));
    }

    #[test]
    fn what_others_send_is_not_logged_whatever_the_filter_says() {
        for filter in ["trace", "info,aws_smithy_runtime=trace", "info,[transmit]=trace"] {
            let text = captured(LogFormat::Text, filter, || {
                let span = tracing::info_span!(target: "aws_smithy_runtime", "transmit");
                let _entered = span.enter();
                let request = "swordfish";
                tracing::trace!(target: "aws_smithy_runtime::client", request, "transmitting");
                tracing::debug!(target: "aws_smithy_runtime::client", "again");
                tracing::trace!("ours");
            });
            assert!(!text.contains("swordfish"), "{filter}: {text}");
            assert!(text.contains("again"), "{filter}: {text}");
            assert_eq!(text.contains("ours"), filter != "info,aws_smithy_runtime=trace", "{text}");
        }
    }

    #[test]
    fn a_filter_or_format_that_is_none_is_refused() {
        let options = LogOptions { filter: "info,=!".to_owned(), format: LogFormat::Text };
        let error = subscriber(&options, std::io::sink, false).err().unwrap();
        assert_eq!(error.code, Code::ConfigMalformed);
        assert_eq!("xml".parse::<LogFormat>().unwrap_err().code, Code::UsageMalformed);
        for format in [LogFormat::Json, LogFormat::Text] {
            assert_eq!(format.to_string().parse::<LogFormat>().unwrap(), format);
        }
    }
}
