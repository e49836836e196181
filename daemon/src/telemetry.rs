//! Logs on standard error: one record, one line, nothing in it that a terminal would act on.
//!
//! The library writes fields given with `%` unescaped, so every line passes [`aura_protocol::text::display`]
//! before it leaves, in both formats. Payloads are never logged; what a library says of one passes the sink before it is
//! cut, so no secret is; see `docs/operating.md`. What a panic says is a record too.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::OnceLock;

use aura_integrations::redact::Sink;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::stop::Stop;

/// Starts the log behind a sink; once per process (a second call changes nothing).
///
/// # Errors
/// The filter is not one.
pub fn start(filter: &str, json: bool, sink: &Sink) -> Result<(), Stop> {
    let filter: EnvFilter =
        filter.parse().map_err(|error| Stop::Config(format!("`{filter}` is not a log filter: {error}")))?;
    let _ = SINK.set(sink.clone());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(Lines);
    if json {
        let builder = builder.json().with_filter_reloading();
        let handle = builder.reload_handle();
        let _ = FILTER.set(Box::new(move |filter| handle.reload(filter).is_ok()));
        let _ = builder.try_init();
    } else {
        let builder = builder.compact().with_filter_reloading();
        let handle = builder.reload_handle();
        let _ = FILTER.set(Box::new(move |filter| handle.reload(filter).is_ok()));
        let _ = builder.try_init();
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!("a fault of the daemon: {panic}")));
    Ok(())
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// Puts another filter in the place of the one that is there.
type Reload = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;
static FILTER: OnceLock<Reload> = OnceLock::new();

/// Another filter from now on; false if it is none or the log was never started.
#[must_use]
pub fn refilter(filter: &str) -> bool {
    let Ok(filter) = filter.parse() else { return false };
    FILTER.get().is_some_and(|reload| reload(filter))
}

struct Lines;

impl MakeWriter<'_> for Lines {
    type Writer = Line;
    fn make_writer(&self) -> Line {
        Line(Vec::with_capacity(256))
    }
}

/// Gathers one record and writes it when dropped.
struct Line(Vec<u8>);

/// Longest log line in bytes; what is longer ends with `…`.
const LINE_MAX: usize = 16 * 1024;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() < LINE_MAX {
            self.0.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            let line = line(&self.0, SINK.get());
            crate::recent::keep(&line);
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }
}

fn line(record: &[u8], sink: Option<&Sink>) -> String {
    let text = String::from_utf8_lossy(record);
    let text = sink.map_or(Cow::Borrowed(text.as_ref()), |sink| sink.text(&text));
    let text = text.trim_end_matches('\n');
    let cut = text.char_indices().nth(LINE_MAX).map(|(at, _)| at);
    let shown = match cut.and_then(|at| text.get(..at)) {
        Some(head) => format!("{head}…"),
        None => text.to_owned(),
    };
    let mut shown = aura_protocol::text::display(&shown);
    shown.push('\n');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line() {
        assert_eq!(line(b"all well\n", None), "all well\n");
        let long = line(&vec![b'x'; 40_000], None);
        assert!(long.ends_with("…\n") && long.len() < 17_000, "{}", long.len());
    }

    #[test]
    fn a_secret_is_out_of_a_record_before_it_is_cut() {
        let sink = Sink::default();
        sink.replace(["sk_live_0123456789"].into_iter());
        for before in LINE_MAX - 20..LINE_MAX {
            let said = line(format!("{}sk_live_0123456789", "-".repeat(before)).as_bytes(), Some(&sink));
            let left = said.trim_start_matches('-').trim_end_matches(['\n', '…']);
            assert!("[secret]".starts_with(left), "{before}: {left}");
        }
    }
}
