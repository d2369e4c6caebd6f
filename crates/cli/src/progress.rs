//! A progress line on stderr, only where somebody watches a terminal. Elsewhere every call is a
//! no-op, so that logs hold no control characters.

use crate::output::{Output, figures};
use core::time::Duration;
use indicatif::{ProgressBar, ProgressStyle};

pub struct Bar(Option<ProgressBar>);

impl Bar {
    pub fn start(output: &Output, doing: &'static str) -> Self {
        if !output.is_watched() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner().with_message(doing);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(Some(bar))
    }

    pub fn counts(&self, entries: u64, bytes: u64, of: Option<u64>) {
        if let Some(bar) = &self.0 {
            let of = of.map(|all| format!(" of {}", figures::size(all))).unwrap_or_default();
            bar.set_message(format!("{entries} entries, {}{of}", figures::size(bytes)));
        }
    }

    pub fn step(&self, doing: &str, bytes: u64) {
        if let Some(bar) = &self.0 {
            let much =
                if bytes > 0 { format!(", {}", figures::size(bytes)) } else { String::new() };
            bar.set_message(format!("{doing}{much}"));
        }
    }

    pub fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
