//! Which values of a run nobody is shown: the modifier `redact`.
//!
//! They stay in the journal, sealed, because the run needs them; every way out to people (screens, `run show`, tails,
//! exports) hides them by this one list. What a step gives on as its own output (a branch its arm's, a map its items',
//! the run its last step's) is hidden there too; what an expression copies elsewhere is not followed. Of an error of
//! such a step only words of our own are shown: what the other side said may hold anything.

use std::collections::BTreeMap;

use super::{Flow, Kind, Step};
use crate::run::{Awaited, ErrorClass, Point, Record, Resolution, StepError, Transition};
use crate::value::{Map, Value};

/// Stands for what is hidden.
pub const HIDDEN: &str = "[redacted]";
/// Errors that stand in a value deeper than this are not looked for: no value of ours is so deep.
const DEPTH_MAX: usize = 256;
/// Between the error that ended a run and those that its last steps added.
const THEN: &str = "; then in ";

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
pub struct Redacted {
    rules: Vec<Rule>,
    /// Steps that hide something, and whose words their errors are.
    steps: BTreeMap<String, Words>,
    /// Everything is: nobody knows what the flow would hide.
    all: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// Step id; empty for the run itself.
    step: String,
    part: Part,
    path: Vec<String>,
}

/// Whose words the errors of a step are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    /// Ours, unless a value was wrong: an `http` step, an `approval`.
    Ours,
    /// Perhaps those of a vendor or of a script.
    Others,
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

    /// What is hidden of a run whose flow nobody can read any more: everything that its steps took, gave or said.
    #[must_use]
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && !self.all
    }

    fn outputs(&mut self, step: &str, paths: &[Vec<String>]) {
        let rule = |path: &Vec<String>| Rule { step: step.to_owned(), part: Part::Output, path: path.clone() };
        self.rules.extend(paths.iter().map(rule));
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
            let ours = matches!(step.kind, Kind::Http(_) | Kind::Approval(_));
            self.steps.insert(step.id.clone(), if ours { Words::Ours } else { Words::Others });
            match part {
                Part::Input => self.rules.push(Rule { step: step.id.clone(), part, path }),
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
        self.taken(step, part, value, &mut |_| ());
    }

    /// The same; what was there is given away.
    pub fn taken(&self, step: &str, part: Part, value: &mut Value, taken: &mut dyn FnMut(Value)) {
        if self.all && !value.is_null() {
            taken(std::mem::replace(value, Value::from(HIDDEN)));
        }
        let id = id_of(step);
        for rule in self.rules.iter().filter(|rule| rule.step == id && rule.part == part) {
            hide(value, &rule.path, taken);
        }
        if !self.steps.is_empty() {
            self.errors_in(value, DEPTH_MAX);
        }
    }

    /// Errors that a value holds as expressions see them: those of items, or what a handler gave on.
    fn errors_in(&self, value: &mut Value, depth: usize) {
        if depth == 0 {
            return;
        }
        match value {
            Value::List(list) => list.iter_mut().for_each(|value| self.errors_in(value, depth - 1)),
            Value::Map(map) => {
                if ["class", "message", "step", "code", "detail"].iter().all(|name| map.contains_key(*name)) {
                    self.error_value(map);
                }
                map.values_mut().for_each(|value| self.errors_in(value, depth - 1));
            }
            _ => {}
        }
    }

    fn error_value(&self, map: &mut Map) {
        let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        // Only these two say whose words they are.
        let class = match text("class") {
            class if class == ErrorClass::Timeout.word() => ErrorClass::Timeout,
            class if class == ErrorClass::Invalid.word() => ErrorClass::Invalid,
            _ => ErrorClass::Internal,
        };
        let mut error = StepError::new(class, text("message"));
        error.step = text("step");
        error.code = map.get("code").and_then(Value::as_str).map(str::to_owned);
        error.detail = map.get("detail").filter(|detail| !detail.is_null()).cloned();
        let before = error.clone();
        self.error("", &mut error);
        if error != before {
            map.insert("message".to_owned(), Value::from(error.message));
            map.insert("detail".to_owned(), error.detail.unwrap_or_default());
        }
    }

    /// Hides what must not be shown of an error of a step, or of the run (`step` empty).
    pub fn error(&self, step: &str, error: &mut StepError) {
        if self.is_empty() {
            return;
        }
        // Of a step with steps in it the error is that of one of them.
        let words = [error.step.as_str(), step].map(|step| self.words(step));
        let words = words.into_iter().flatten().max_by_key(|words| *words == Words::Others);
        if words.is_some() {
            error.detail.iter_mut().for_each(|detail| *detail = Value::from(HIDDEN));
        }
        let mut parts = error.message.split(THEN);
        let first = parts.next().unwrap_or_default();
        let shown = words.is_none_or(|words| is_ours(words, error, first));
        let mut message = if shown { first.to_owned() } else { HIDDEN.to_owned() };
        for part in parts {
            let then = part.split(": ").next().unwrap_or_default();
            let hidden = self.words(then).is_some().then(|| format!("{then}: {HIDDEN}"));
            message.push_str(THEN);
            message.push_str(hidden.as_deref().unwrap_or(part));
        }
        error.message = message;
    }

    fn words(&self, step: &str) -> Option<Words> {
        if self.all {
            return Some(Words::Others);
        }
        self.steps.get(id_of(step)).copied()
    }

    fn hides(&self, step: &str) -> bool {
        self.words(step).is_some()
    }

    /// Hides what must not be shown of a transition.
    pub fn transition(&self, transition: &mut Transition) {
        self.transition_taken(transition, &mut |_| ());
    }

    /// The same; what was there is given away.
    pub fn transition_taken(&self, transition: &mut Transition, taken: &mut dyn FnMut(Value)) {
        if !self.is_empty() {
            transition.records.iter_mut().for_each(|record| self.record(record, taken));
        }
    }

    fn record(&self, record: &mut Record, taken: &mut dyn FnMut(Value)) {
        match record {
            Record::Scheduled { path, input, .. } => self.taken(path, Part::Input, input, taken),
            Record::Awaiting { path, what: Awaited::People(ask), .. } => {
                self.taken(path, Part::Input, &mut ask.form, taken);
            }
            Record::Awaiting { path, what: Awaited::Event { key, .. }, .. } if self.hides(path) => {
                HIDDEN.clone_into(key);
            }
            Record::Listed { path, items, .. } => {
                items.iter_mut().for_each(|item| self.taken(path, Part::Input, item, taken));
            }
            Record::Completed { path, output, .. }
            | Record::Handled { path, output }
            | Record::Signalled { path, data: output, .. }
            | Record::Resolved { path, resolution: Resolution::Done(output), .. } => {
                self.taken(path, Part::Output, output, taken);
            }
            Record::Responded { path, body, .. } if self.hides(path) => *body = HIDDEN.as_bytes().to_vec(),
            Record::Voted { path, vote } => self.form(path, &mut vote.form, taken),
            Record::Failed { path, error, .. }
            | Record::InDoubt { path, error, .. }
            | Record::TimedOut { path, error }
            | Record::Compensated { path, error: Some(error) } => self.error(path, error),
            Record::RunFinished { output, error, .. } => {
                self.taken("", Part::Output, output, taken);
                error.iter_mut().for_each(|error| self.error("", error));
            }
            Record::Copied(copied) => self.record(copied, taken),
            Record::ItemsCopied { path, items } => {
                let path = path.clone();
                items.iter_mut().for_each(|item| {
                    self.taken(&path, Part::Output, &mut item.output, taken);
                    item.error.iter_mut().for_each(|error| self.error(&path, error));
                });
            }
            Record::RunStarted(started) => {
                // The edited input of a call.
                let started = std::sync::Arc::make_mut(started);
                if let Some(origin) = &mut started.origin
                    && let (Point::Step(path) | Point::Item { map: path, .. }, Some(input)) =
                        (&origin.point, &mut origin.input)
                {
                    self.taken(path, Part::Input, input, taken);
                }
            }
            _ => {}
        }
    }

    /// What somebody filled in: `form` of the step's output.
    pub fn form(&self, step: &str, form: &mut Value, taken: &mut dyn FnMut(Value)) {
        let mut output = Value::object([("form", std::mem::take(form))]);
        self.taken(step, Part::Output, &mut output, taken);
        *form = match output {
            Value::Map(mut output) => output.swap_remove("form").unwrap_or_default(),
            hidden => hidden,
        };
    }
}

fn id_of(step: &str) -> &str {
    step.split('[').next().unwrap_or_default()
}

/// Whether a sentence is one of ours, with nothing in it that a peer said or an expression read.
fn is_ours(words: Words, error: &StepError, message: &str) -> bool {
    let status = error.code.as_ref().is_some_and(|code| message == format!("the answer has status {code}"));
    let late = error.class == ErrorClass::Timeout && message.starts_with("no answer within ");
    let wrong = error.class == ErrorClass::Invalid && error.code.is_none();
    status || late || (words == Words::Ours && !wrong)
}

fn hide(value: &mut Value, path: &[String], taken: &mut dyn FnMut(Value)) {
    match (path.split_first(), value) {
        (_, Value::List(list)) => list.iter_mut().for_each(|item| hide(item, path, taken)),
        (None, Value::Null) => {}
        (None, value) if value.as_str() == Some(HIDDEN) => {}
        (None, value) => taken(std::mem::replace(value, Value::from(HIDDEN))),
        (Some((first, rest)), Value::Map(map)) => {
            if let Some(value) = map.get_mut(first) {
                hide(value, rest, taken);
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

    fn shown(redacted: &Redacted, records: &str) -> String {
        let text = format!(r#"{{"number":1,"at_ms":0,"records":[{records}]}}"#);
        let mut transition: Transition = serde_json::from_str(&text).unwrap();
        redacted.transition(&mut transition);
        serde_json::to_string(&transition).unwrap()
    }

    const ERRORS: &[&str] = &[
        r#"{"failed":{"path":"card","attempt":1,"error":ERROR}}"#,
        r#"{"in_doubt":{"path":"card","attempt":1,"error":ERROR}}"#,
        r#"{"timed_out":{"path":"all","error":ERROR}}"#,
        r#"{"compensated":{"path":"card","error":ERROR}}"#,
        r#"{"items_copied":{"path":"all","items":[{"index":0,"output":null,"error":ERROR}]}}"#,
        r#"{"copied":{"failed":{"path":"card[7]","attempt":1,"error":ERROR}}}"#,
        r#"{"run_finished":{"state":"failed","output":null,"error":ERROR}}"#,
        r#"{"completed":{"path":"all","attempt":0,"output":[{"key":0,"ok":false,"error":ERROR}]}}"#,
        r#"{"scheduled":{"path":"tell","input":{"body":{"why":ERROR}},"input_hash":"","key":"","effect":"once"}}"#,
        r#"{"run_finished":{"state":"failed","output":{"why":ERROR}}}"#,
    ];

    #[test]
    fn an_error_of_such_a_step_says_nothing_that_its_peer_said() {
        let redacted = redacted(
            "  - id: all\n    map:\n      over: [1]\n      on_item_error: continue\n      steps:\n\
             \x20       - { id: card, http: { url: \"http://e.org\" }, redact: [output.number] }\n\
             \x20 - { id: script, code: { js: \"return 1\" }, redact: [output] }\n\
             \x20 - { id: plain, http: { url: \"http://e.org\" } }\n",
        );
        let error = |step: &str, class: &str, code: &str, message: &str| {
            format!(
                r#"{{"class":"{class}","message":"{message}","step":"{step}","code":{code},"detail":{{"number":"S3CRET"}}}}"#
            )
        };
        let check = |error: &str, expected: &str| {
            for record in ERRORS {
                let shown = shown(&redacted, &record.replace("ERROR", error));
                assert!(!shown.contains("S3CRET") && shown.contains(expected), "{record}: {shown}");
            }
        };
        check(&error("card[7]", "invalid", r#""422""#, "the answer has status 422"), "the answer has status 422");
        check(&error("card", "timeout", "null", "no answer within 30 ms"), "no answer within 30 ms");
        check(&error("card", "invalid", "null", "S3CRET is no date"), r#""message":"[redacted]""#);
        check(&error("script", "invalid", "null", "S3CRET thrown"), r#""message":"[redacted]""#);
        let added = "the run broke; then in card[7]: S3CRET; then in plain: it is late";
        let error = error("script", "timeout", "null", added);
        check(&error, "[redacted]; then in card[7]: [redacted]; then in plain: it is late");
        let other =
            ERRORS[0].replace("card", "plain").replace("ERROR", r#"{"class":"invalid","message":"m","detail":1}"#);
        assert!(shown(&redacted, &other).contains(r#""detail":1"#), "of other steps it is shown");
    }

    #[test]
    fn nothing_of_steps_that_nobody_knows_any_more_is_shown() {
        let error = r#"{"class":"invalid","message":"S3CRET","detail":"S3CRET"}"#;
        let records: Vec<String> = ERRORS
            .iter()
            .map(|record| record.replace("ERROR", error))
            .chain(
                [
                    r#"{"completed":{"path":"a","attempt":1,"output":{"x":["S3CRET"]}}}"#,
                    r#"{"scheduled":{"path":"a","input":"S3CRET","input_hash":"","key":"","effect":"once"}}"#,
                    r#"{"listed":{"path":"a","items":["S3CRET"],"parallel":1}}"#,
                    r#"{"voted":{"path":"a","vote":{"by":"b","approve":true,"hash":"","form":{"x":"S3CRET"}}}}"#,
                    r#"{"awaiting":{"path":"a","what":{"event":{"trigger":"t","key":"S3CRET"}}}}"#,
                ]
                .map(str::to_owned),
            )
            .collect();
        for record in records {
            let text = shown(&Redacted::everything(), &record);
            assert!(!text.contains("S3CRET") && text.contains(HIDDEN), "{text}");
            assert!(shown(&Redacted::default(), &record).contains("S3CRET"), "{record}");
        }
        let answer = Record::Responded { path: "a".into(), status: 200, headers: Vec::new(), body: b"S3CRET".to_vec() };
        let mut transition = Transition { number: 1, at_ms: 0, records: vec![answer] };
        Redacted::everything().transition(&mut transition);
        assert!(matches!(&transition.records[0], Record::Responded { body, .. } if body == HIDDEN.as_bytes()));
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
