//! What is done to many runs at once: the filter's words, the question before, the pace.
//!
//! Invariant: what would be done is said before it is done, and a script must say `--yes`.

use std::io::IsTerminal;
use std::str::FromStr;
use std::time::Duration;

use aura_protocol::filter::{Columns, Filter, Key};
use aura_protocol::rpc::RunQuery;
use aura_protocol::run::{RunHead, RunState};
use aura_protocol::{Code, WireError};
use clap::Args;

use super::output::note;
use super::prompt;
use crate::client::Session;

/// Most runs of one command.
const RUNS_MAX: usize = 100_000;

/// How many runs are dealt with.
#[derive(Args, Debug)]
pub struct How {
    /// Only say what would be done
    #[arg(long)]
    pub plan: bool,
    /// Do not ask (with --filter)
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// At most so many at a time, as 10/s or 30/m (with --filter)
    #[arg(long, value_name = "N/s")]
    pub rate: Option<Rate>,
}

impl How {
    /// Somebody agreed.
    ///
    /// # Errors
    /// Nobody did.
    pub fn agreed(&self, sentence: &str, what: &str) -> Result<(), WireError> {
        if self.yes {
            return Ok(());
        }
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            return Err(
                WireError::new(Code::Invalid, sentence.to_owned()).hint("agree with --yes, or look first with --plan")
            );
        }
        note(sentence);
        let answer = prompt::ask(&format!("{what}? write yes"), false)?;
        if answer.trim() != "yes" {
            return Err(WireError::new(Code::Invalid, "not agreed; nothing was done"));
        }
        Ok(())
    }
}

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Duration);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || "write a rate as 10/s or 30/m".to_owned();
        let (count, unit) = text.split_once('/').ok_or_else(refuse)?;
        let count: u32 = count.trim().parse().ok().filter(|count| (1..=10_000).contains(count)).ok_or_else(refuse)?;
        let unit = match unit.trim() {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            _ => return Err(refuse()),
        };
        Ok(Self(unit / count))
    }
}

impl Rate {
    /// Ticks at this rate, the first at once.
    #[must_use]
    pub fn pace(self) -> tokio::time::Interval {
        let mut pace = tokio::time::interval(self.0);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        pace
    }
}

/// Every run of a flow (or of all) in these states (or all), newest first.
///
/// # Errors
/// What the daemon or the way to it says, or that they are too many.
pub async fn each(
    flow: Option<String>,
    states: Vec<RunState>,
    session: &mut Session,
    mut visit: impl FnMut(RunHead),
) -> Result<(), WireError> {
    let mut query = RunQuery { flow, states, limit: 500, ..RunQuery::default() };
    let mut seen = 0;
    loop {
        let page = session
            .call(|rpc, context, call| {
                let query = query.clone();
                async move { rpc.run_page(context, call, query).await }
            })
            .await?;
        seen += page.runs.len();
        page.runs.into_iter().for_each(&mut visit);
        match page.next {
            Some(next) if seen < RUNS_MAX => query.before = Some(next),
            Some(_) => {
                let message = format!("more than {RUNS_MAX} runs would have to be looked at");
                return Err(WireError::new(Code::Invalid, message).hint("narrow the filter: flow=NAME"));
            }
            None => return Ok(()),
        }
    }
}

/// A filter that the row of a list can answer.
///
/// # Errors
/// A word is none of a filter, there is none, or one asks for more than a row.
pub fn read(text: &str) -> Result<Filter, WireError> {
    let refuse = |message: String| {
        WireError::new(Code::Invalid, message).hint("write for example --filter 'flow=cart state=failed older=30d'")
    };
    if text.trim().is_empty() {
        return Err(refuse("the filter is empty; `all` takes every run".to_owned()));
    }
    let filter = Filter::read(text).map_err(|error| refuse(error.to_string()))?;
    let labelled = filter.terms.iter().any(|term| matches!(term.key, Key::Label(_)));
    if filter.needs_payload() || labelled {
        return Err(refuse("words about labels, payloads and subjects cannot be used here".to_owned()));
    }
    Ok(filter)
}

/// Whether a run fits.
#[must_use]
pub fn fits(filter: &Filter, head: &RunHead, now_ms: i64) -> bool {
    filter.row(&Columns::of(head, None), now_ms)
}

/// The one flow that a filter is about, if it says so: the daemon then looks through its runs only.
#[must_use]
pub fn flow(filter: &Filter) -> Option<String> {
    filter.flows().and_then(|names| if let [one] = names { Some(one.clone()) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_or_refused_with_their_word() {
        let filter = read("flow=cart state=failed,cancelled older=2d").unwrap();
        assert_eq!(flow(&filter).as_deref(), Some("cart"));
        assert_eq!(filter.states(), [RunState::Failed, RunState::Cancelled]);
        assert_eq!(flow(&read("flow=a,b").unwrap()), None, "of several none alone");
        assert!(read("all").unwrap().terms.is_empty());
        for (text, part) in [
            (" ", "empty"),
            ("state=odd", "`odd` is no state"),
            ("older=soon", "`soon` is no time"),
            ("colour=red", "`colour=red`"),
            ("trigger.body.id=1", "payloads"),
            ("label.team=x", "labels"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(part), "{text}: {}", error.message);
        }
    }

    #[test]
    fn rates_are_read_or_refused() {
        let check = |text: &str, ms: Option<u64>| {
            let read = text.parse::<Rate>().ok().map(|rate| rate.0);
            assert_eq!(read, ms.map(Duration::from_millis), "{text}");
        };
        check("10/s", Some(100));
        check("30/m", Some(2000));
        check("0/s", None);
        check("10", None);
        check("10/h", None);
        check("x/s", None);
    }
}
