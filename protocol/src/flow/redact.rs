//! Which values of a run nobody is shown: the modifier `redact`.
//!
//! They stay in the journal, sealed, because the run needs them; every way out to people (screens, `run show`, tails,
//! exports) hides them by this one list. What a step gives on as its own output (a branch its arm's, a map its items',
//! the run its last step's) is hidden there too; what an expression copies elsewhere is not followed.

use super::{Flow, Kind, Step};
use crate::run::{Awaited, Point, Record, Resolution, StepError, Transition};
use crate::value::Value;

/// Stands for what is hidden.
pub const HIDDEN: &str = "[redacted]";

/// Input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What a call is given, or people are shown.
    Input,
    /// What a step gives.
    Output,
}

/// What of a run is hidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redacted(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// Step id; empty for the run itself.
    step: String,
    part: Part,
    path: Vec<String>,
}

/// Reads an entry of `redact`: `input` or `output`, and a path in it whose names are told apart by dots. Lists on the
/// way are gone through.
///
/// # Errors
/// One sentence.
pub fn read(text: &str) -> Result<(Part, Vec<String>), String> {
    let mut words = text.split('.').map(str::to_owned);
    let part = match words.next().as_deref() {
        Some("input") => Part::Input,
        Some("output") => Part::Output,
        _ => return Err(format!("`{}` begins with neither `input` nor `output`", crate::text::display(text))),
    };
    let path: Vec<String> = words.collect();
    if path.iter().any(|word| word.is_empty() || word.contains(['[', ']', '{', '}'])) {
        return Err(format!("`{}` is no path of names and dots", crate::text::display(text)));
    }
    Ok((part, path))
}

impl Redacted {
    /// What a flow hides.
    #[must_use]
    pub fn of(flow: &Flow) -> Self {
        let mut found = Self::default();
        let last = found.scope(&flow.steps);
        found.outputs("", &last);
        found.scope(&flow.on_error);
        found.scope(&flow.finally);
        found
    }

    /// Nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn outputs(&mut self, step: &str, paths: &[Vec<String>]) {
        let rule = |path: &Vec<String>| Rule { step: step.to_owned(), part: Part::Output, path: path.clone() };
        self.0.extend(paths.iter().map(rule));
    }

    /// Takes down the rules of these steps; gives what is hidden of the last one's output.
    fn scope(&mut self, steps: &[Step]) -> Vec<Vec<String>> {
        let mut last = Vec::new();
        for step in steps {
            last = self.step(step);
        }
        last
    }

    fn step(&mut self, step: &Step) -> Vec<Vec<String>> {
        let mut outputs = Vec::new();
        for (part, path) in step.redact.iter().filter_map(|text| read(text).ok()) {
            match part {
                Part::Input => self.0.push(Rule { step: step.id.clone(), part, path }),
                Part::Output => outputs.push(path),
            }
        }
        match &step.kind {
            Kind::Branch(arms) => arms.iter().for_each(|arm| outputs.extend(self.scope(&arm.steps))),
            Kind::Map { steps, .. } => outputs.extend(self.scope(steps)),
            Kind::Loop { steps, .. } => outputs.extend(self.scope(steps)),
            Kind::Try { steps, catch } => {
                outputs.extend(self.scope(steps));
                outputs.extend(self.scope(catch));
            }
            _ => {}
        }
        if step.each.is_some() || matches!(step.kind, Kind::Map { .. }) {
            // With `on_item_error: continue` what an item gave stands one level deeper.
            let deeper = |path: &Vec<String>| std::iter::once("output".to_owned()).chain(path.clone()).collect();
            let deeper: Vec<Vec<String>> = outputs.iter().map(deeper).collect();
            outputs.extend(deeper);
        }
        outputs.extend(self.scope(&step.on_error));
        self.scope(&step.compensate);
        self.outputs(&step.id, &outputs);
        outputs
    }

    /// Hides what must not be shown of a part of a step, or of the run (`step` empty).
    pub fn hide(&self, step: &str, part: Part, value: &mut Value) {
        let id = step.split('[').next().unwrap_or_default();
        for rule in self.0.iter().filter(|rule| rule.step == id && rule.part == part) {
            hide(value, &rule.path);
        }
    }

    fn hide_error(&self, step: &str, error: &mut StepError) {
        if let Some(detail) = &mut error.detail {
            self.hide(step, Part::Output, detail);
        }
    }

    /// Hides what must not be shown of a transition.
    pub fn transition(&self, transition: &mut Transition) {
        if !self.is_empty() {
            transition.records.iter_mut().for_each(|record| self.record(record));
        }
    }

    fn record(&self, record: &mut Record) {
        match record {
            Record::Scheduled { path, input, .. } => self.hide(path, Part::Input, input),
            Record::Awaiting { path, what: Awaited::People(ask), .. } => self.hide(path, Part::Input, &mut ask.form),
            Record::Listed { path, items, .. } => items.iter_mut().for_each(|item| self.hide(path, Part::Input, item)),
            Record::Completed { path, output, .. }
            | Record::Handled { path, output }
            | Record::Signalled { path, data: output, .. }
            | Record::Resolved { path, resolution: Resolution::Done(output), .. } => {
                self.hide(path, Part::Output, output);
            }
            Record::Voted { path, vote } => {
                let mut output = Value::object([("form", std::mem::take(&mut vote.form))]);
                self.hide(path, Part::Output, &mut output);
                vote.form = match output {
                    Value::Map(mut output) => output.swap_remove("form").unwrap_or_default(),
                    hidden => hidden,
                };
            }
            Record::Failed { path, error, .. } | Record::InDoubt { path, error, .. } => self.hide_error(path, error),
            Record::RunFinished { output, .. } => self.hide("", Part::Output, output),
            Record::Copied(copied) => self.record(copied),
            Record::ItemsCopied { path, items } => {
                let path = path.clone();
                items.iter_mut().for_each(|item| {
                    self.hide(&path, Part::Output, &mut item.output);
                    item.error.iter_mut().for_each(|error| self.hide_error(&path, error));
                });
            }
            Record::RunStarted(started) => {
                // The edited input of a call.
                let started = std::sync::Arc::make_mut(started);
                if let Some(origin) = &mut started.origin
                    && let (Point::Step(path), Some(input)) = (&origin.point, &mut origin.input)
                {
                    self.hide(path, Part::Input, input);
                }
            }
            _ => {}
        }
    }
}

fn hide(value: &mut Value, path: &[String]) {
    match (path.split_first(), value) {
        (_, Value::List(list)) => list.iter_mut().for_each(|item| hide(item, path)),
        (None, Value::Null) => {}
        (None, value) => *value = Value::from(HIDDEN),
        (Some((first, rest)), Value::Map(map)) => {
            if let Some(value) = map.get_mut(first) {
                hide(value, rest);
            }
        }
        // A value that stands elsewhere is not shown here, and hidden where it is.
        (Some(_), _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(steps: &str) -> Redacted {
        let document = super::super::read(&format!("aura: 1\nflow: f\nsteps:\n{steps}")).unwrap();
        Redacted::of(&document.flow)
    }

    #[test]
    fn values_are_hidden_by_their_path_and_where_they_are_given_on() {
        let redacted = redacted(
            "  - { id: card, http: { url: \"http://e.org\" }, redact: [input.headers.x, output.body.number] }\n  \
             - id: all\n    map: { over: [1], on_item_error: continue, steps: [{ id: one, set: { pin: 1 }, redact: [output.pin] }] }\n",
        );
        let check = |step: &str, part: Part, given: &str, expected: &str| {
            let mut value = Value::from_json(given.as_bytes()).unwrap();
            redacted.hide(step, part, &mut value);
            assert_eq!(value.to_json(), expected, "{step}");
        };
        check("card", Part::Input, r#"{"headers":{"x":"k","y":1}}"#, r#"{"headers":{"x":"[redacted]","y":1}}"#);
        check(
            "card",
            Part::Output,
            r#"{"body":{"number":42,"name":"a"}}"#,
            r#"{"body":{"number":"[redacted]","name":"a"}}"#,
        );
        check(
            "card",
            Part::Output,
            r#"{"body":[{"number":1},{"number":null}]}"#,
            r#"{"body":[{"number":"[redacted]"},{"number":null}]}"#,
        );
        check("one[7]", Part::Output, r#"{"pin":1}"#, r#"{"pin":"[redacted]"}"#);
        let items = r#"[{"key":0,"ok":true,"output":{"pin":1}}]"#;
        check("all", Part::Output, items, r#"[{"key":0,"ok":true,"output":{"pin":"[redacted]"}}]"#);
        check("", Part::Output, items, r#"[{"key":0,"ok":true,"output":{"pin":"[redacted]"}}]"#);
        check("other", Part::Output, r#"{"pin":1}"#, r#"{"pin":1}"#);
    }

    #[test]
    fn every_record_of_a_step_is_shown_without_it() {
        let redacted = redacted(
            "  - { id: ask, approval: { form: { iban: \"{{ input.iban }}\", pin: { ask: text } }, approvers: [a], deadline: 1d }, redact: [input.iban, output.form.pin] }\n",
        );
        let text = r#"{"number":1,"at_ms":0,"records":[
            {"voted":{"path":"ask","vote":{"by":"a","approve":true,"hash":"h","form":{"pin":"S3CRET"}}}},
            {"completed":{"path":"ask","attempt":0,"output":{"form":{"pin":"S3CRET"}}}},
            {"run_finished":{"state":"succeeded","output":{"form":{"pin":"S3CRET"}}}}]}"#;
        let mut transition: Transition = serde_json::from_str(text).unwrap();
        redacted.transition(&mut transition);
        let shown = serde_json::to_string(&transition).unwrap();
        assert!(!shown.contains("S3CRET") && shown.matches(HIDDEN).count() == 3, "{shown}");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (text, part) in [("output", Part::Output), ("input.a.b", Part::Input)] {
            assert_eq!(read(text).unwrap().0, part);
        }
        for text in ["token", "", "output.", "output.a[0]", "{{ output }}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
