//! Decisions of people: who may, what they saw, and when it is decided.
//!
//! Invariant: a decision counts once, of whom is asked, about exactly what the journal says was asked. A refusal fails
//! the step, so that nothing goes on by accident. Who may is decided by [`Ask`], here it is only recorded.

use std::collections::BTreeSet;

use aura_protocol::Value;
use aura_protocol::approval::{Ask, MayNot, Standing, Verdict, Vote};
use aura_protocol::event::timestamp;
use aura_protocol::run::{ErrorClass, Record, RunStarted, StepError};

use super::bugs::{Bug, has};
use super::{Place, Refused, Work};

/// A comment and what is filled in have at most so many bytes.
const BYTES_MAX: usize = 16 * 1024;

/// Deliveries of our own that say in a header who began what led to them.
const OWN: &[&str] = &["CALL", "EMIT", "FAILED"];

/// The people who began a run, each once: by hand, by a run that they began, or by having it done again.
#[must_use]
pub fn starters(started: &RunStarted) -> Vec<&str> {
    let event = &started.event;
    let header = match event.method.as_str() {
        "MANUAL" => Some("by"),
        own if OWN.contains(&own) => Some("starter"),
        // Whatever somebody outside sends is no account.
        _ => None,
    };
    let said = event.headers.iter().filter(|(name, _)| Some(name.as_str()) == header).map(|(_, by)| by);
    let again = started.origin.iter().flat_map(|origin| origin.before.iter().chain([&origin.by]));
    let people: BTreeSet<&str> = said.chain(again).map(String::as_str).collect();
    people.into_iter().collect()
}

/// What a record changes of how a decision stands.
pub(super) fn apply(standing: &mut Standing, record: &Record) {
    match record {
        Record::Voted { vote, .. } => standing.votes.push(vote.clone()),
        Record::Delegated { by, to, .. } => standing.delegations.push((by.clone(), to.clone())),
        Record::Escalated { .. } => standing.escalated = true,
        _ => {}
    }
}

impl Work<'_> {
    pub(super) fn vote(&mut self, path: String, role: &str, vote: Vote) -> Result<(), Refused> {
        let at = self.asking(&path)?;
        let (ask, standing) = self.question(at).ok_or(Refused::Stale)?;
        if ask.hash != vote.hash && !has(Bug::AnyHashCounts) {
            return Err(Refused::Changed);
        }
        match ask.may(standing, &self.starters(), &vote.by, role) {
            Ok(()) => {}
            Err(MayNot::OwnRun) if has(Bug::OwnVoteCounts) => {}
            Err(why) => return Err(Refused::MayNot(vote.by, why)),
        }
        if vote.comment.len().saturating_add(vote.form.weight()) > BYTES_MAX {
            return Err(Refused::TooMuch(format!("comment and form have at most {} KiB", BYTES_MAX / 1024)));
        }
        // Whoever refuses need not fill in anything.
        if vote.approve || vote.form.as_map().is_some_and(|given| !given.is_empty()) {
            ask.fits(&vote.form).map_err(Refused::TooMuch)?;
        }
        let vote = Vote { at_ms: self.moment.now_ms, ..vote };
        self.emit(Record::Voted { path, vote });
        self.decide_votes(at);
        Ok(())
    }

    pub(super) fn delegate(&mut self, path: String, by: (String, String), to: (String, String)) -> Result<(), Refused> {
        let at = self.asking(&path)?;
        let (ask, standing) = self.question(at).ok_or(Refused::Stale)?;
        let who = [&by, &to].map(|(account, role)| (account.as_str(), role.as_str()));
        let [from, instead] = who;
        if let Err(why) = ask.may_delegate(standing, &self.starters(), from, instead) {
            return Err(Refused::MayNot(by.0, why));
        }
        self.emit(Record::Delegated { path, by: by.0, to: to.0 });
        self.decide_votes(at);
        Ok(())
    }

    /// The place of a step that asks people now.
    fn asking(&self, path: &str) -> Result<Place, Refused> {
        let at = match self.place(path) {
            // It may lie in an item or an arm that has not begun.
            Err(Refused::Stale) if self.state.has_ended(self.plan, path) => {
                return Err(Refused::Over(path.to_owned()));
            }
            Err(Refused::Stale) => return Err(Refused::NotYet(path.to_owned())),
            found => found?,
        };
        let cell = self.state.cell(at).ok_or(Refused::Stale)?;
        if cell.asks().is_some() {
            return Ok(at);
        }
        let path = path.to_owned();
        Err(match self.step_at(at).is_some_and(|step| step.kind.asks()) {
            false => Refused::AsksNobody(path),
            true if cell.state.is_none() && !cell.over => Refused::NotYet(path),
            true => Refused::Over(path),
        })
    }

    fn question(&self, at: Place) -> Option<(&Ask, &Standing)> {
        self.state.cell(at)?.asks()
    }

    fn starters(&self) -> Vec<&str> {
        self.state.started.as_deref().map(starters).unwrap_or_default()
    }

    /// Ends the step as soon as it is decided.
    pub(super) fn decide_votes(&mut self, at: Place) {
        let Some((ask, standing)) = self.question(at) else { return };
        let mut verdict = ask.verdict(standing, &self.starters());
        if has(Bug::QuorumIsOne) && standing.votes.iter().any(|vote| vote.approve) {
            verdict = Verdict::Approved;
        }
        let message = match verdict {
            Verdict::Pending => return,
            Verdict::Approved => {
                let output = output(&standing.votes);
                let path = self.path(at);
                return self.emit(Record::Completed { path, attempt: 0, output });
            }
            Verdict::Rejected => {
                let refused = standing.votes.iter().filter(|vote| !vote.approve);
                let said = refused.map(|vote| match vote.comment.as_str() {
                    "" => vote.by.clone(),
                    comment => format!("{} ({comment})", vote.by),
                });
                format!("rejected by {}", said.collect::<Vec<_>>().join(", "))
            }
            Verdict::Impossible => {
                format!("{} must agree, and fewer than that may: whoever began the run does not decide", ask.quorum)
            }
        };
        let mut error = StepError::new(ErrorClass::Conflict, message);
        error.code = Some("rejected".to_owned());
        self.fail(at, 0, error);
    }

    /// Others are asked too.
    pub(super) fn escalate(&mut self, at: Place) {
        self.emit(Record::Escalated { path: self.path(at) });
        self.decide_votes(at);
    }
}

/// Who decided, and what they filled in; of several the last one's.
fn output(votes: &[Vote]) -> Value {
    let mut form = aura_protocol::Map::new();
    for vote in votes.iter().filter(|vote| vote.approve) {
        form.extend(vote.form.as_map().cloned().unwrap_or_default());
    }
    let vote = |vote: &Vote| {
        Value::object([
            ("by", Value::from(vote.by.as_str())),
            ("approve", Value::Bool(vote.approve)),
            ("comment", Value::from(vote.comment.as_str())),
            ("form", vote.form.clone()),
            ("at", Value::from(timestamp(vote.at_ms))),
        ])
    };
    Value::object([
        ("approved", Value::Bool(true)),
        ("form", Value::Map(form)),
        ("votes", Value::List(votes.iter().map(vote).collect())),
    ])
}

#[cfg(test)]
mod tests {
    use aura_protocol::RunId;
    use aura_protocol::run::{Origin, Point};

    use super::super::fixtures::started;
    use super::*;

    #[test]
    fn everybody_who_began_a_run_or_had_it_done_again_is_known() {
        let check = |method: &str, headers: &[(&str, &str)], replays: &[&str], expected: &[&str]| {
            let mut started = started("t", Value::Null);
            started.event.method = method.to_owned();
            started.event.headers = headers.iter().map(|(name, by)| ((*name).into(), (*by).into())).collect();
            for by in replays {
                let before = started.origin.as_ref().map(|origin| origin.wanted_by()).unwrap_or_default();
                let (by, point) = ((*by).to_owned(), Point::Start);
                let origin =
                    Origin { run: RunId::now(), point, by, before, edited: false, input: None, keys: Vec::new() };
                started.origin = Some(Box::new(origin));
            }
            assert_eq!(starters(&started), expected, "{method} {headers:?} {replays:?}");
        };
        check("MANUAL", &[("by", "anna")], &[], &["anna"]);
        check("MANUAL", &[("by", "anna")], &["ben"], &["anna", "ben"]);
        check("MANUAL", &[("by", "anna")], &["ben", "carl"], &["anna", "ben", "carl"]);
        check("MANUAL", &[("by", "anna")], &["ben", "carl", "ben", "anna"], &["anna", "ben", "carl"]);
        for own in OWN {
            let headers = [("by", "a run"), ("starter", "anna"), ("starter", "ben")];
            check(own, &headers, &["carl"], &["anna", "ben", "carl"]);
        }
        check("POST", &[("by", "anna"), ("starter", "ben")], &[], &[]);
        check("POST", &[("by", "anna"), ("starter", "ben")], &["carl"], &["carl"]);
    }
}
