//! Which steps of two versions of a flow are the same step, and which steps a step reads.
//!
//! Invariant: whoever doubts says *not the same*: then the step runs again, which is never wrong, only more.

use std::collections::{BTreeMap, BTreeSet};

use aura_protocol::Value;
use aura_protocol::flow::diff::without_steps;
use aura_protocol::flow::{Flow, Kind, Step, canonical_step};

use super::super::plan::{Plan, StepIx};

/// How a step of one version stands to that of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// The same, with all that is in it.
    Whole,
    /// The same, but something in it is not.
    Shell,
    /// Another one, and why.
    Not(&'static str),
}

/// What is known of a step of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    /// Its canonical form.
    whole: String,
    /// The same without notes and without the steps in it.
    shell: String,
    /// Where it stands.
    place: String,
    /// Steps that its own expressions read.
    reads: BTreeSet<String>,
    /// Those of all that is in it, too.
    reads_inside: BTreeSet<String>,
    /// Steps whose addresses its own expressions read.
    gives: BTreeSet<String>,
    /// Those of all that is in it, too.
    gives_inside: BTreeSet<String>,
    /// Its own expressions read variables.
    variables: bool,
    /// Steps that it needs, with how.
    needs: Vec<(String, String)>,
}

/// Two versions side by side; often they are one.
#[derive(Debug)]
pub struct Same {
    old: Option<BTreeMap<String, Facts>>,
    new: BTreeMap<String, Facts>,
    variables_differ: bool,
}

impl Same {
    /// Compares; `old` is `None` if both are one version.
    #[must_use]
    pub fn of(old: Option<(&Flow, &Plan)>, new: (&Flow, &Plan), variables_differ: bool) -> Self {
        let old = old.map(|(flow, plan)| facts(flow, plan));
        let variables_differ = variables_differ && old.is_some();
        Self { old, new: facts(new.0, new.1), variables_differ }
    }

    /// Whether a step is the same in both.
    #[must_use]
    pub fn step(&self, id: &str) -> Sameness {
        let Some(old) = &self.old else { return Sameness::Whole };
        let (Some(old), Some(new)) = (old.get(id), self.new.get(id)) else {
            return Sameness::Not("it is not in both versions");
        };
        if old.place != new.place {
            Sameness::Not("it stands elsewhere in this version")
        } else if old.needs != new.needs {
            Sameness::Not("it needs other steps in this version")
        } else if self.variables_differ && new.variables {
            Sameness::Not("a variable that it reads has another value")
        } else if old.whole == new.whole {
            Sameness::Whole
        } else if old.shell == new.shell {
            Sameness::Shell
        } else {
            Sameness::Not("it is another step in this version")
        }
    }

    /// Which of these steps the expressions of a step read.
    #[must_use]
    pub fn reads(&self, id: &str, some: &BTreeSet<String>) -> Option<&str> {
        let reads = &self.new.get(id)?.reads;
        reads.iter().find(|read| some.contains(*read)).map(String::as_str)
    }

    /// Whether anything in a step reads one of these.
    #[must_use]
    pub fn reads_inside(&self, id: &str, some: &BTreeSet<String>) -> bool {
        self.new.get(id).is_some_and(|facts| !facts.reads_inside.is_disjoint(some))
    }

    /// Of these steps the one whose address the expressions of a step read.
    #[must_use]
    pub fn gives<'s>(&self, id: &str, some: &'s BTreeSet<String>) -> Option<&'s str> {
        let own = &self.new.get(id)?.gives;
        some.iter().find(|of| gives(own, of)).map(String::as_str)
    }

    /// Whether anything in a step reads the address of one of these.
    #[must_use]
    pub fn gives_inside(&self, id: &str, some: &BTreeSet<String>) -> bool {
        let inside = self.new.get(id).map(|facts| &facts.gives_inside);
        inside.is_some_and(|inside| some.iter().any(|of| gives(inside, of)))
    }
}

fn facts(flow: &Flow, plan: &Plan) -> BTreeMap<String, Facts> {
    let mut found = BTreeMap::new();
    walk(&flow.steps, "steps", plan, &mut found);
    walk(&flow.on_error, "on_error", plan, &mut found);
    walk(&flow.finally, "finally", plan, &mut found);
    found
}

fn walk(steps: &[Step], place: &str, plan: &Plan, found: &mut BTreeMap<String, Facts>) {
    for step in steps {
        let whole = canonical_step(step);
        let bare = canonical_step(&bare(step));
        let mut facts = Facts {
            whole: whole.to_canonical_json(),
            shell: bare.to_canonical_json(),
            place: place.to_owned(),
            needs: plan.with_id(&step.id).first().map(|ix| needs(plan, *ix)).unwrap_or_default(),
            ..Facts::default()
        };
        reads(&bare, &mut facts.reads, &mut facts.variables);
        let mut inside = false;
        reads(&whole, &mut facts.reads_inside, &mut inside);
        addresses(&bare, &mut facts.gives);
        addresses(&whole, &mut facts.gives_inside);
        found.insert(step.id.clone(), facts);
        for (scope, steps) in scopes(step) {
            walk(steps, &format!("{}.{scope}", step.id), plan, found);
        }
    }
}

/// The lists of steps in a step, by name.
fn scopes(step: &Step) -> Vec<(String, &[Step])> {
    let mut found: Vec<(String, &[Step])> =
        vec![("on_error".to_owned(), &step.on_error), ("compensate".to_owned(), &step.compensate)];
    match &step.kind {
        Kind::Branch(arms) => {
            found.extend(arms.iter().enumerate().map(|(at, arm)| (format!("arm {at}"), arm.steps.as_slice())));
        }
        Kind::Map { steps, .. } | Kind::Loop { steps, .. } => found.push(("steps".to_owned(), steps)),
        Kind::Try { steps, catch } => {
            found.push(("steps".to_owned(), steps));
            found.push(("catch".to_owned(), catch));
        }
        _ => {}
    }
    found
}

/// A step without notes and without the steps in it.
fn bare(step: &Step) -> Step {
    Step { note: None, ..without_steps(step) }
}

/// What a step needs, by id: also the step before it, which it need not name.
fn needs(plan: &Plan, ix: StepIx) -> Vec<(String, String)> {
    let Some(step) = plan.step(ix) else { return Vec::new() };
    let id = |position: usize| {
        let ix = plan.scope_steps(step.scope).get(position).copied();
        ix.and_then(|ix| plan.step(ix)).map(|step| step.id.clone()).unwrap_or_default()
    };
    step.needs.iter().map(|need| (id(need.position), format!("{:?}", need.when))).collect()
}

/// Ids behind every `steps` in the texts of a value, and whether `vars` stands in one.
fn reads(value: &Value, ids: &mut BTreeSet<String>, variables: &mut bool) {
    match value {
        Value::Str(text) if text.contains("{{") => {
            *variables |= text.contains("vars");
            for rest in text.split("steps").skip(1) {
                let (id, _) = field(rest);
                if !id.is_empty() {
                    ids.insert(id.to_owned());
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| reads(item, ids, variables)),
        Value::Map(map) => map.values().for_each(|item| reads(item, ids, variables)),
        _ => {}
    }
}

/// The name behind a name, as in `.id`, `?.id` and `['id']`, and what follows.
fn field(rest: &str) -> (&str, &str) {
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || "?.['\"`".contains(c));
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
    rest.split_at(end.unwrap_or(rest.len()))
}

/// The same; `None` if the whole is meant, or a field that is computed.
fn named(rest: &str) -> Option<(&str, &str)> {
    // What is left of `['callbacks']` when its name was read.
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || "'\"`]".contains(c));
    let behind = rest.trim_start_matches(|c: char| c.is_whitespace() || "?.".contains(c));
    let computed = behind.strip_prefix('[').is_some_and(|key| !key.trim_start().starts_with(['\'', '"', '`']));
    let (name, after) = field(rest);
    (rest.starts_with(['?', '.', '[']) && !computed && !name.is_empty()).then_some((name, after))
}

/// Stands for every step: which one is known only when it runs.
const ANY: &str = "*";

fn gives(ids: &BTreeSet<String>, id: &str) -> bool {
    ids.contains(id) || ids.contains(ANY)
}

/// Ids of the steps whose addresses the texts of a value read: those behind `run.callbacks` and `run.approvals`.
fn addresses(value: &Value, ids: &mut BTreeSet<String>) {
    match value {
        Value::Str(text) => {
            for expression in text.split("{{").skip(1) {
                let expression = expression.split("}}").next().unwrap_or_default();
                for (at, word) in expression.match_indices("run") {
                    let before = expression.get(..at).and_then(|before| before.trim_end().chars().next_back());
                    let rest = expression.get(at + word.len()..).unwrap_or_default();
                    let inside = |c: char| c.is_alphanumeric() || c == '_';
                    if before.is_some_and(|c| inside(c) || c == '.') || rest.starts_with(inside) {
                        continue;
                    }
                    match named(rest) {
                        Some(("callbacks" | "approvals", rest)) => {
                            ids.insert(named(rest).map_or(ANY, |(id, _)| id).to_owned());
                        }
                        Some(_) => {}
                        None => drop(ids.insert(ANY.to_owned())),
                    }
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| addresses(item, ids)),
        Value::Map(map) => map.values().for_each(|item| addresses(item, ids)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_texts_read_is_found() {
        let check = |text: &str, expected: &[&str], variables: bool| {
            let (mut ids, mut read) = (BTreeSet::new(), false);
            reads(&Value::from(text), &mut ids, &mut read);
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            assert_eq!((ids.as_slice(), read), (expected, variables), "{text}");
        };
        check("steps.a", &[], false);
        check("{{ steps.a.output + steps?.b?.output }}", &["a", "b"], false);
        check("{{ steps['c'].output }} and {{ vars.x }}", &["c"], true);
        check("{{ trigger.body.id }}", &[], false);
        for between in [" ", "\t", "\n  ", "\u{a0}"] {
            check(&format!("{{{{ steps{between}.a.output ?? steps[{between}'b'].output }}}}"), &["a", "b"], false);
        }
    }

    #[test]
    fn whose_address_a_text_gives_out_is_found() {
        let check = |text: &str, expected: &[&str]| {
            let mut ids = BTreeSet::new();
            addresses(&Value::from(text), &mut ids);
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            assert_eq!(ids, expected, "{text}");
        };
        check("see {{ run.approvals.release['anna'] }} and {{ run.callbacks.paid }}", &["paid", "release"]);
        check("{{ run\n .callbacks?.paid }}", &["paid"]);
        check("{{ run['approvals'][\"release-2\"].carl }}", &["release-2"]);
        check("{{ json(run.approvals) }}", &["*"]);
        check("{{ json(run) }}", &["*"]);
        check("{{ run[input.x] }}", &["*"]);
        check("{{ run.approvals[item].anna }}", &["*"]);
        check("{{ run.id }} {{ steps.run.output.callbacks }} {{ trigger.body.run }} {{ runs }}", &[]);
        check("run.approvals.release and run", &[]);
    }
}
