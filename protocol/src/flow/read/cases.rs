//! Reading of case files ([`crate::flow::cases`]), with every finding at its line and column.

use std::collections::{BTreeSet, HashMap};

use super::super::cases::{
    CASES_MAX, Case, CaseEffect, CaseEvent, CaseFile, CaseSignal, Expect, Fault, PATH_STATES, Pin, RUN_STATES, Says,
};
use super::super::path::Path;
use super::super::tree::{self, Mark, Shape, Tree};
use super::super::{Finding, Span};
use super::Reader;
use super::scan::Fields;
use crate::run::{ErrorClass, Reach, Resolution};
use crate::value::{Map, Value};

const FILE: &[&str] = &["aura", "flow", "cases"];
const CASE: &[&str] =
    &["name", "note", "trigger", "input", "vars", "kv", "clock", "pins", "signals", "resolve", "faults", "expect"];
const EVENT: &[&str] = &["id", "body", "headers", "query"];
const PIN: &[&str] =
    &["output", "error", "status", "headers", "body", "lost", "after", "class", "reach", "code", "retry_after"];
const SIGNAL: &[&str] = &["step", "at", "data", "taken"];
const FAULT: &[&str] = &["crash", "cancel"];
const EXPECT: &[&str] = &["run", "error", "path", "passes", "effects", "calls", "outputs", "reply", "kv", "takes"];
const EFFECT: &[&str] = &["step", "action", "input", "times"];

/// Reads a file of cases.
///
/// # Errors
/// What is wrong, each with line, column and usually a hint.
pub fn read_cases(text: &str) -> Result<CaseFile, Vec<Finding>> {
    let tree = tree::parse(text).map_err(|finding| vec![finding])?;
    let mut reader = Reader { findings: Vec::new() };
    let mut file = reader.case_file(&tree);
    if !reader.findings.is_empty() {
        return Err(reader.findings);
    }
    collect(&tree, tree.mark, &Path::root(), &mut file.places);
    Ok(file)
}

fn collect(tree: &Tree, key: Mark, path: &Path, places: &mut HashMap<String, (u32, u32)>) {
    places.insert(path.as_str().to_owned(), (key.line, key.column));
    match &tree.shape {
        Shape::Scalar { .. } => {}
        Shape::List(items) => {
            items.iter().enumerate().for_each(|(index, item)| collect(item, item.mark, &path.item(index), places));
        }
        Shape::Map(entries) => {
            entries.iter().for_each(|entry| collect(&entry.tree, entry.mark, &path.field(&entry.key), places));
        }
    }
}

impl Reader {
    fn case_file(&mut self, tree: &Tree) -> CaseFile {
        let mut file = CaseFile::default();
        let Some(fields) = self.fields(tree, &Path::root(), "a file of cases", FILE) else { return file };
        match fields.get("aura").map(|(tree, path)| (self.value(tree, &path), tree.mark, path)) {
            None => self.fail(tree.mark, &Path::root(), "the key `aura` is missing", "begin the file with `aura: 1`"),
            Some((Value::Int(1), ..)) => {}
            Some((_, mark, path)) => self.fail(mark, &path, "this format is not known", "write `aura: 1`"),
        }
        file.flow = self.given(&fields, "flow", Self::text);
        if !fields.has("cases") {
            let hint = "write `cases:` and under it a list; each case has a `name` and what to `expect`";
            self.fail(tree.mark, &Path::root(), "the key `cases` is missing", hint);
        }
        file.cases = self.list_of(&fields, "cases", Self::case);
        let Some((tree, path)) = fields.get("cases") else { return file };
        if file.cases.len() > CASES_MAX {
            let message = format!("there are {} cases, a file may have {CASES_MAX}", file.cases.len());
            self.fail(tree.mark, &path, message, "make several files; `flow:` names the flow of each");
        }
        let mut seen = BTreeSet::new();
        for (index, case) in file.cases.iter().enumerate() {
            if !seen.insert(case.name.as_str()) {
                let mark = self.mark_of(tree, index);
                self.fail(mark, &path.item(index), format!("two cases are called `{}`", case.name), "");
            }
        }
        file
    }

    /// Where an item of a list begins.
    fn mark_of(&self, tree: &Tree, index: usize) -> Mark {
        match &tree.shape {
            Shape::List(items) => items.get(index).map_or(tree.mark, |item| item.mark),
            _ => tree.mark,
        }
    }

    fn case(&mut self, tree: &Tree, path: &Path) -> Option<Case> {
        let fields = self.fields(tree, path, "a case", CASE)?;
        if let (Some(trigger), Some(_)) = (fields.entry("trigger"), fields.entry("input")) {
            let message = "`input` is for a run by hand, `trigger` for one that an event begins: write one of them";
            self.fail(trigger.mark, &path.field("trigger"), message, "");
        }
        Some(Case {
            name: self.needed(&fields, "name", Self::text),
            note: self.given(&fields, "note", Self::text),
            trigger: self.given(&fields, "trigger", Self::event),
            input: self.given(&fields, "input", Self::any),
            vars: self.given(&fields, "vars", Self::map).unwrap_or_default(),
            kv: self.given(&fields, "kv", Self::map).unwrap_or_default(),
            clock_ms: self.given(&fields, "clock", Self::instant),
            pins: self.by_step(&fields, "pins", Self::pins),
            signals: self.list_of(&fields, "signals", Self::signal),
            resolve: self.by_step(&fields, "resolve", Self::resolution),
            faults: self.list_of(&fields, "faults", Self::fault),
            expect: self.given(&fields, "expect", Self::expect).unwrap_or_default(),
        })
    }

    fn event(&mut self, tree: &Tree, path: &Path) -> Option<CaseEvent> {
        let fields = self.fields(tree, path, "`trigger`", EVENT)?;
        Some(CaseEvent {
            id: self.given(&fields, "id", Self::text),
            body: self.given(&fields, "body", Self::any),
            headers: self.given(&fields, "headers", Self::map).unwrap_or_default(),
            query: self.given(&fields, "query", Self::map).unwrap_or_default(),
        })
    }

    /// An object whose keys are steps.
    fn by_step<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        read: impl Fn(&mut Self, &Tree, &Path) -> Option<T>,
    ) -> Vec<(String, T)> {
        let Some((tree, path)) = fields.get(key) else { return Vec::new() };
        let Some(entries) = self.entries(tree, &path, &format!("`{key}`")) else { return Vec::new() };
        let each = entries.iter();
        each.filter_map(|entry| Some((entry.key.clone(), read(self, &entry.tree, &path.field(&entry.key))?))).collect()
    }

    fn instant(&mut self, tree: &Tree, path: &Path) -> Option<i64> {
        let text = match &tree.shape {
            Shape::Scalar { text, .. } => text.as_str(),
            _ => "",
        };
        let parsed = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
        if parsed.is_none() {
            let hint = "write it with its zone, as 2026-03-01T09:00:00Z";
            self.fail(tree.mark, path, "`clock` is no instant", hint);
        }
        parsed
    }

    fn pins(&mut self, tree: &Tree, path: &Path) -> Option<Vec<Pin>> {
        match &tree.shape {
            Shape::List(items) if items.is_empty() => {
                self.fail(tree.mark, path, "a pin has at least one answer", "");
                None
            }
            Shape::List(items) => {
                let each = items.iter().enumerate();
                Some(each.filter_map(|(index, item)| self.pin(item, &path.item(index))).collect())
            }
            _ => self.pin(tree, path).map(|pin| vec![pin]),
        }
    }

    fn pin(&mut self, tree: &Tree, path: &Path) -> Option<Pin> {
        let fields = self.fields(tree, path, "a pin", PIN)?;
        let after = self.given(&fields, "after", Self::span).unwrap_or(Span::from_ms(0));
        let kinds = fields.written(&["output", "error", "status", "lost"]);
        let kind = match kinds.as_slice() {
            [one] => one.key.as_str(),
            _ => {
                let hint = "as in { output: { id: 7 } }, { status: 503 }, { error: \"too heavy\" } or { lost: answer }";
                let message = "a pin says exactly one of `output`, `status`, `error` and `lost`";
                self.fail(tree.mark, path, message, hint);
                return None;
            }
        };
        let beside: &[&'static str] = match kind {
            "status" => &["headers", "body"],
            "error" => &["class", "reach", "code", "retry_after"],
            _ => &[],
        };
        for entry in fields.written(&["headers", "body", "class", "reach", "code", "retry_after"]) {
            if !beside.contains(&entry.key.as_str()) {
                let message = format!("`{}` does not stand beside `{kind}`", entry.key);
                self.fail(entry.mark, &path.field(&entry.key), message, "");
            }
        }
        let says = match kind {
            "output" => Says::Output(self.given(&fields, "output", Self::any)?),
            "status" => {
                let status = self.given(&fields, "status", Self::count)?;
                let Some(status) = u16::try_from(status).ok().filter(|status| (100..600).contains(status)) else {
                    self.fail(tree.mark, &path.field("status"), "a status is a number from 100 to 599", "");
                    return None;
                };
                Says::Status {
                    status,
                    headers: self.given(&fields, "headers", Self::map).unwrap_or_default(),
                    body: self.given(&fields, "body", Self::any).unwrap_or_default(),
                }
            }
            "lost" => {
                let words = [("answer", true), ("request", false)];
                Says::Lost {
                    arrived: self.given(&fields, "lost", |reader, tree, path| reader.word(tree, path, &words))?,
                }
            }
            _ => self.error(&fields)?,
        };
        Some(Pin { after, says })
    }

    fn error(&mut self, fields: &Fields<'_>) -> Option<Says> {
        const CLASSES: &[ErrorClass] = &[
            ErrorClass::Transient,
            ErrorClass::RateLimited,
            ErrorClass::Timeout,
            ErrorClass::Auth,
            ErrorClass::Invalid,
            ErrorClass::NotFound,
            ErrorClass::Conflict,
            ErrorClass::Internal,
        ];
        let classes: Vec<(&'static str, ErrorClass)> = CLASSES.iter().map(|class| (class.word(), *class)).collect();
        let reaches = [("unsent", Reach::Unsent), ("refused", Reach::Refused), ("unknown", Reach::Unknown)];
        Some(Says::Error {
            message: self.given(fields, "error", Self::text)?,
            class: self
                .given(fields, "class", |reader, tree, path| reader.word(tree, path, &classes))
                .unwrap_or(ErrorClass::Invalid),
            reach: self
                .given(fields, "reach", |reader, tree, path| reader.word(tree, path, &reaches))
                .unwrap_or(Reach::Refused),
            code: self.given(fields, "code", Self::text),
            retry_after: self.given(fields, "retry_after", Self::span),
        })
    }

    fn signal(&mut self, tree: &Tree, path: &Path) -> Option<CaseSignal> {
        let fields = self.fields(tree, path, "a signal", SIGNAL)?;
        Some(CaseSignal {
            step: self.needed(&fields, "step", Self::text),
            at: self.given(&fields, "at", Self::span).unwrap_or(Span::from_ms(0)),
            data: self.given(&fields, "data", Self::any).unwrap_or_default(),
            taken: self.given(&fields, "taken", Self::yes_or_no),
        })
    }

    fn resolution(&mut self, tree: &Tree, path: &Path) -> Option<Resolution> {
        if let Shape::Map(_) = &tree.shape {
            let fields = self.fields(tree, path, "what is decided", &["done"])?;
            return self.given(&fields, "done", Self::any).map(Resolution::Done);
        }
        let words = [("done", 0), ("retry", 1), ("fail", 2)];
        self.word(tree, path, &words).map(|word| match word {
            0 => Resolution::Done(Value::Null),
            1 => Resolution::Retry,
            _ => Resolution::Fail,
        })
    }

    fn fault(&mut self, tree: &Tree, path: &Path) -> Option<Fault> {
        let fields = self.fields(tree, path, "a fault", FAULT)?;
        match fields.written(FAULT).as_slice() {
            [one] if one.key == "crash" => self.given(&fields, "crash", Self::count).map(Fault::Crash),
            [_] => self.given(&fields, "cancel", Self::span).map(Fault::Cancel),
            _ => {
                let hint = "as in { crash: 12 } or { cancel: 2h }";
                self.fail(tree.mark, path, "a fault says exactly one of `crash` and `cancel`", hint);
                None
            }
        }
    }

    fn expect(&mut self, tree: &Tree, path: &Path) -> Option<Expect> {
        let fields = self.fields(tree, path, "`expect`", EXPECT)?;
        let states: Vec<(&'static str, &'static str)> = RUN_STATES.iter().map(|word| (*word, *word)).collect();
        let way = |reader: &mut Self, key: &str| fields.has(key).then(|| reader.list_of(&fields, key, Self::settled));
        let (path, passes) = (way(self, "path"), way(self, "passes"));
        Some(Expect {
            run: self.given(&fields, "run", |reader, tree, path| reader.word(tree, path, &states)).map(str::to_owned),
            error: self.given(&fields, "error", Self::any),
            path,
            passes,
            effects: fields.has("effects").then(|| self.list_of(&fields, "effects", Self::effect)),
            calls: self.given(&fields, "calls", Self::map_of_any),
            outputs: self.given(&fields, "outputs", Self::map_of_any),
            reply: self.given(&fields, "reply", Self::any),
            kv: self.given(&fields, "kv", Self::map_of_any),
            takes: self.given(&fields, "takes", Self::span),
        })
    }

    fn map_of_any(&mut self, tree: &Tree, path: &Path) -> Option<Map> {
        self.map(tree, path)
    }

    /// `step`, or `step: state`.
    fn settled(&mut self, tree: &Tree, path: &Path) -> Option<(String, String)> {
        let Shape::Map(entries) = &tree.shape else {
            return self.text(tree, path).map(|step| (step, "succeeded".to_owned()));
        };
        let [entry] = entries.as_slice() else {
            self.fail(tree.mark, path, "write one step and how it settled, as in `mail: failed`", "");
            return None;
        };
        let states: Vec<(&'static str, &'static str)> = PATH_STATES.iter().map(|word| (*word, *word)).collect();
        let state = self.word(&entry.tree, &path.field(&entry.key), &states)?;
        Some((entry.key.clone(), state.to_owned()))
    }

    fn effect(&mut self, tree: &Tree, path: &Path) -> Option<CaseEffect> {
        if let Shape::Scalar { .. } = &tree.shape {
            return self.text(tree, path).map(|step| CaseEffect { step, ..CaseEffect::default() });
        }
        let fields = self.fields(tree, path, "an effect", EFFECT)?;
        Some(CaseEffect {
            step: self.needed(&fields, "step", Self::text),
            action: self.given(&fields, "action", Self::text),
            input: self.given(&fields, "input", Self::any),
            times: self.given(&fields, "times", Self::count),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE_TEXT: &str = r##"aura: 1
flow: cart.yaml
cases:
  - name: bought meanwhile
    trigger: { id: abandoned, body: { id: 7 }, headers: { x-topic: checkouts/update } }
    clock: 2026-03-01T09:00:00Z
    vars: { shop: https://shop.example }
    pins:
      checkout: { output: { completedAt: null } }
      "ship[A]":
        - { status: 503 }
        - { output: 1, after: 2m }
      pay: { lost: answer }
      tell: { error: too heavy, class: conflict, reach: unknown }
    signals: [{ step: paid, at: 2h, data: 1, taken: false }]
    resolve: { pay: retry, ship: { done: { id: 7 } } }
    faults: [{ crash: 3 }, { cancel: 1h }]
    expect:
      run: failed
      error: { class: timeout }
      path: [checkout, { tell: failed }]
      effects: [pay, { step: tell, action: slack.post_message, input: { channel: "#x" }, times: 2 }]
      outputs: { checkout: null }
      takes: 23h
"##;

    #[test]
    fn everything_is_read_and_keeps_its_place() {
        let file = read_cases(FILE_TEXT).unwrap();
        let case = &file.cases[0];
        assert_eq!((case.name.as_str(), case.clock_ms), ("bought meanwhile", Some(1_772_355_600_000)));
        assert_eq!(case.pins[1].1.len(), 2);
        assert_eq!(case.pins[2].1[0].says, Says::Lost { arrived: true });
        assert_eq!(case.resolve[1].1, Resolution::Done(Value::object([("id", 7_i64)])));
        assert_eq!(case.faults, [Fault::Crash(3), Fault::Cancel(Span::from_secs(3600))]);
        let expect = &case.expect;
        assert_eq!(expect.path.as_ref().unwrap()[1], ("tell".to_owned(), "failed".to_owned()));
        assert_eq!(expect.effects.as_ref().unwrap()[1].times, Some(2));
        assert_eq!(file.place("cases[0].expect.takes"), (24, 7));
        assert_eq!(file.place("cases[0].expect.outputs.nobody"), (23, 7));
    }

    #[test]
    fn what_is_wrong_has_its_line_and_a_hint() {
        let check = |case: &str, line: u32, message: &str| {
            let text = format!("aura: 1\ncases:\n  - name: a\n{case}\n");
            let findings = read_cases(&text).unwrap_err();
            let all: Vec<String> = findings.iter().map(|it| format!("{}: {}", it.line, it.message)).collect();
            assert!(findings.iter().any(|it| it.line == line && it.message.contains(message)), "{all:?}");
        };
        check("    pin: {}", 4, "the key `pin` is not known in a case");
        check("    pins: { a: { output: 1, status: 2 } }", 4, "exactly one of");
        check("    pins: { a: { output: 1, reach: unsent } }", 4, "does not stand beside");
        check("    pins: { a: { status: 99 } }", 4, "from 100 to 599");
        check("    pins: { a: [] }", 4, "at least one answer");
        check("    clock: tomorrow", 4, "no instant");
        check("    expect:\n      run: green", 5, "cannot be `green`");
        check("    expect:\n      path: [{ a: gone }]", 5, "cannot be `gone`");
        check("    trigger: {}\n    input: 1", 4, "write one of them");
        check("    faults: [{}]", 4, "exactly one of");
        check("  - name: a", 4, "two cases are called `a`");
        assert_eq!(read_cases("aura: 1").unwrap_err()[0].message, "the key `cases` is missing");
        assert_eq!(read_cases("cases: []").unwrap_err()[0].message, "the key `aura` is missing");
    }
}
