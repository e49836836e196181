//! Approvals: what people are asked, who may decide, and what their decisions come to.
//!
//! Invariant: everybody counts once, and a decision counts only for what its maker saw: it carries the hash of that.
//! Who may is decided here alone, for the engine, for links and for the screens.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::RunId;
use crate::value::{Map, Value};

#[cfg(test)]
mod tests;

/// What people are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// What they see.
    pub form: Value,
    /// What they fill in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// SHA-256 of the canonical form and fields, hex: what a decision is bound to.
    pub hash: String,
    /// Accounts and roles who may decide.
    pub approvers: Vec<String>,
    /// So many must agree.
    pub quorum: u32,
    /// So many refusals end it; absent: when so many cannot agree any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<u32>,
    /// Not whoever began the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_self: bool,
    /// Whoever is asked may ask somebody else instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delegate: bool,
    /// Then others are asked too, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_ms: Option<i64>,
    /// Who.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate: Vec<String>,
}

/// Something that people fill in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it must be.
    pub kind: FieldKind,
}

/// What people may fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Words.
    Text,
    /// A number.
    Number,
    /// True or false.
    Boolean,
}

impl FieldKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Text, Self::Number, Self::Boolean];

    /// As flows write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// The kind that a flow wrote.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word)
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => matches!(value, Value::Str(_)),
            Self::Number => matches!(value, Value::Int(_) | Value::Dec(_)),
            Self::Boolean => matches!(value, Value::Bool(_)),
        }
    }

    /// What somebody typed, as a value; what does not fit stays text and is refused by [`Ask::fits`].
    #[must_use]
    pub fn typed(self, text: &str) -> Value {
        let text = text.trim();
        let read = match (self, text) {
            (Self::Text, _) => None,
            (Self::Boolean, "yes" | "on") => Some(Value::Bool(true)),
            (Self::Boolean, "no") => Some(Value::Bool(false)),
            _ => Value::from_json(text.as_bytes()).ok(),
        };
        read.filter(|value| self.fits(value)).unwrap_or_else(|| Value::from(text))
    }
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vote {
    /// The account.
    pub by: String,
    /// Yes or no.
    pub approve: bool,
    /// The hash of what they saw.
    pub hash: String,
    /// What they filled in.
    #[serde(default)]
    pub form: Value,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// How it came: empty for the socket, `link` for a signed link.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub via: String,
    /// When, in Unix milliseconds.
    #[serde(default)]
    pub at_ms: i64,
}

/// How an approval stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// What was decided, first to last.
    #[serde(default)]
    pub votes: Vec<Vote>,
    /// Who asked whom instead of themselves.
    #[serde(default)]
    pub delegations: Vec<(String, String)>,
    /// Others are asked too.
    #[serde(default)]
    pub escalated: bool,
}

impl Standing {
    fn has_delegated(&self, account: &str) -> bool {
        self.delegations.iter().any(|(by, _)| by == account)
    }

    fn has_voted(&self, account: &str) -> bool {
        self.votes.iter().any(|vote| vote.by == account)
    }
}

/// A step that asks people now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The run.
    pub run: RunId,
    /// Its flow.
    pub flow: String,
    /// The step.
    pub path: String,
    /// What is asked.
    pub ask: Ask,
    /// How it stands.
    pub standing: Standing,
    /// Nobody is asked any more then, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

/// Why somebody may not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MayNot {
    /// They are not asked.
    #[error("is not asked by this step")]
    NotAsked,
    /// They are asked only if nobody else decides in time.
    #[error("is asked only if nobody else decides in time")]
    NotYet,
    /// They began the run.
    #[error("began this run, so somebody else decides")]
    OwnRun,
    /// They have decided.
    #[error("has decided already")]
    Decided,
    /// They asked somebody else instead.
    #[error("has asked somebody else to decide")]
    Delegated,
    /// The step lets nobody ask somebody else.
    #[error("may not ask somebody else: the step has no `delegate: true`")]
    Fixed,
    /// Whom they would ask may decide anyhow, or has decided.
    #[error("cannot ask this account, which is asked already")]
    AskedAlready,
    /// Too many have asked others.
    #[error("cannot ask somebody else: this step was handed on too often")]
    TooOften,
}

/// What decisions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided.
    Pending,
    /// Enough agreed.
    Approved,
    /// Enough refused.
    Rejected,
    /// Even if all who may decide agreed, they would be too few.
    Impossible,
}

/// The names of the roles, as `approvers` may name them.
pub const ROLES: &[&str] = &["owner", "admin", "editor", "operator", "viewer", "auditor"];
/// A step is handed on at most so often.
pub const DELEGATIONS_MAX: usize = 100;

/// Whether a word of `approvers` is a role and no account.
#[must_use]
pub fn is_role(word: &str) -> bool {
    ROLES.contains(&word)
}

fn names(list: &[String], account: &str, role: &str) -> bool {
    // An account that is called like a role has that role by its name alone as little as anybody else.
    list.iter().any(|word| if is_role(word) { word == role } else { word == account })
}

impl Ask {
    /// Whether an account with a role may decide now. An account without a role has the empty one; `starters` are
    /// the people who began the run, or had it done again.
    ///
    /// # Errors
    /// Why not.
    pub fn may(&self, standing: &Standing, starters: &[&str], account: &str, role: &str) -> Result<(), MayNot> {
        let handed = standing.delegations.iter().any(|(_, to)| to == account);
        if standing.has_voted(account) {
            return Err(MayNot::Decided);
        }
        if standing.has_delegated(account) {
            return Err(MayNot::Delegated);
        }
        if !handed && !names(&self.approvers, account, role) {
            match names(&self.escalate, account, role) {
                false => return Err(MayNot::NotAsked),
                true if !standing.escalated => return Err(MayNot::NotYet),
                true => {}
            }
        }
        if self.no_self && starters.contains(&account) {
            return Err(MayNot::OwnRun);
        }
        Ok(())
    }

    /// Whether somebody who is asked may ask somebody else instead.
    ///
    /// # Errors
    /// Why not.
    pub fn may_delegate(
        &self,
        standing: &Standing,
        starters: &[&str],
        (by, role): (&str, &str),
        (to, to_role): (&str, &str),
    ) -> Result<(), MayNot> {
        if !self.delegate {
            return Err(MayNot::Fixed);
        }
        if standing.delegations.len() >= DELEGATIONS_MAX {
            return Err(MayNot::TooOften);
        }
        // Whoever began the run may hand on what they may not decide themselves.
        match self.may(standing, starters, by, role) {
            Ok(()) | Err(MayNot::OwnRun) => {}
            Err(why) => return Err(why),
        }
        match self.may(standing, starters, to, to_role) {
            Err(MayNot::NotAsked | MayNot::NotYet) if self.no_self && starters.contains(&to) => Err(MayNot::OwnRun),
            Err(MayNot::NotAsked | MayNot::NotYet) => Ok(()),
            Err(MayNot::OwnRun) => Err(MayNot::OwnRun),
            Ok(()) | Err(_) => Err(MayNot::AskedAlready),
        }
    }

    /// Why what somebody filled in does not fit.
    ///
    /// # Errors
    /// One sentence.
    pub fn fits(&self, form: &Value) -> Result<(), String> {
        let empty = Map::new();
        let given = match form {
            Value::Null => &empty,
            Value::Map(given) => given,
            other => return Err(format!("the form must be an object, this is {}", other.kind())),
        };
        for Field { name, kind } in &self.fields {
            let shown = crate::text::display(name);
            match given.get(name) {
                None => return Err(format!("the form asks for `{shown}` ({})", kind.word())),
                Some(value) if !kind.fits(value) => {
                    return Err(format!("`{shown}` must be a {}", kind.word()));
                }
                Some(_) => {}
            }
        }
        match given.keys().find(|name| !self.fields.iter().any(|field| field.name == **name)) {
            Some(other) => Err(format!("the form does not ask for `{}`", crate::text::display(other))),
            None => Ok(()),
        }
    }

    /// How many people may decide, if that is known: how many have a role is not.
    fn people(&self, standing: &Standing, escalated: bool, starters: &[&str]) -> Option<u32> {
        let asked = self.approvers.iter().chain(self.escalate.iter().filter(|_| escalated));
        let mut people: BTreeSet<&str> = asked.map(String::as_str).collect();
        if people.iter().any(|word| is_role(word)) {
            return None;
        }
        for (by, to) in &standing.delegations {
            people.remove(by.as_str());
            people.insert(to);
        }
        // Whoever began the run may still have somebody else decide.
        if self.no_self && !self.delegate {
            people.retain(|name| !starters.contains(name));
        }
        Some(count(people.len()))
    }

    /// What decisions come to. Everybody counts once, by their first one.
    #[must_use]
    pub fn verdict(&self, standing: &Standing, starters: &[&str]) -> Verdict {
        let (mut agreed, mut refused) = (BTreeSet::new(), BTreeSet::new());
        for vote in &standing.votes {
            let by = vote.by.as_str();
            if !agreed.contains(by) && !refused.contains(by) {
                if vote.approve {
                    agreed.insert(by)
                } else {
                    refused.insert(by)
                };
            }
        }
        let (agreed, refused) = (count(agreed.len()), count(refused.len()));
        if agreed >= self.quorum {
            return Verdict::Approved;
        }
        let most = match (self.reject, self.people(standing, standing.escalated, starters)) {
            (Some(most), _) => most,
            (None, Some(people)) => people.saturating_sub(self.quorum).saturating_add(1),
            // Then as many refusals end it as agreements would have.
            (None, None) => self.quorum,
        };
        if refused >= most.max(1) {
            return Verdict::Rejected;
        }
        match self.people(standing, true, starters) {
            Some(people) if people < self.quorum => Verdict::Impossible,
            _ => Verdict::Pending,
        }
    }

    /// Who is asked, in a few words: `anna, ben or 2 more (1 of 2 agreed)`.
    #[must_use]
    pub fn who(&self, standing: &Standing) -> String {
        const NAMES_MAX: usize = 4;
        let mut people: Vec<&str> = self.approvers.iter().map(String::as_str).collect();
        if standing.escalated {
            people.extend(self.escalate.iter().map(String::as_str));
        }
        for (by, to) in &standing.delegations {
            people.retain(|name| name != by);
            people.push(to);
        }
        people.retain(|name| !standing.has_voted(name));
        let more = people.len().saturating_sub(NAMES_MAX);
        people.truncate(NAMES_MAX);
        let mut text = people.join(", ");
        if more > 0 {
            text.push_str(&format!(" or {more} more"));
        }
        let agreed = standing.votes.iter().filter(|vote| vote.approve).count();
        format!("{text} ({agreed} of {} agreed)", self.quorum)
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
