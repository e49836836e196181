//! Reading of steps: exactly one kind key, its settings, and the modifiers beside it.
//!
//! What is read here is what the format knows; what this build executes is a check's business.

use super::super::path::Path;
use super::super::suggest::one_of;
use super::super::tree::{Shape, Tree};
use super::super::{Arm, Effect, Http, InDoubtPolicy, Kind, Need, Respond, Retry, Sleep, Step, Stop, keys};
use super::Reader;
use super::scan::Fields;
use crate::value::{Map, Value};

impl Reader {
    /// The steps under a key; an absent key is no steps.
    pub(super) fn steps_of(&mut self, fields: &Fields<'_>, key: &str) -> Vec<Step> {
        self.list_of(fields, key, Self::step)
    }

    fn step(&mut self, tree: &Tree, path: &Path) -> Option<Step> {
        let fields = self.fields(tree, path, "a step", &keys::step())?;
        let id: String = self.needed(&fields, "id", Self::text);
        let kind = self.kind(&fields)?;
        Some(Step {
            id,
            kind,
            rules: self.given(&fields, "rules", Self::any),
            when: self.given(&fields, "if", Self::condition),
            needs: fields.has("needs").then(|| self.list_of(&fields, "needs", Self::need)),
            join: self.given(&fields, "join", Self::join),
            losers: self.given(&fields, "losers", |reader, tree, path| {
                reader.word(tree, path, &[("cancel", "cancel")]).map(str::to_owned)
            }),
            each: self.given(&fields, "each", Self::any),
            retry: self.given(&fields, "retry", Self::retry),
            timeout: self.given(&fields, "timeout", Self::span),
            on_error: self.steps_of(&fields, "on_error"),
            compensate: self.steps_of(&fields, "compensate"),
            effect: self.given(&fields, "effect", |reader, tree, path| {
                let words = [
                    ("read", Effect::Read),
                    ("idempotent", Effect::Idempotent),
                    ("keyed", Effect::Keyed),
                    ("lookup", Effect::Lookup),
                    ("once", Effect::Once),
                ];
                reader.word(tree, path, &words)
            }),
            in_doubt: self.given(&fields, "in_doubt", |reader, tree, path| {
                let words = [
                    ("ask", InDoubtPolicy::Ask),
                    ("probe", InDoubtPolicy::Probe),
                    ("fail", InDoubtPolicy::Fail),
                    ("retry", InDoubtPolicy::Retry),
                ];
                reader.word(tree, path, &words)
            }),
            i_accept_duplicates: self.given(&fields, "i_accept_duplicates", Self::yes_or_no).unwrap_or_default(),
            limit: self.given(&fields, "limit", Self::limit),
            redact: self.list_of(&fields, "redact", Self::text),
            note: self.given(&fields, "note", Self::text),
        })
    }

    fn kind(&mut self, fields: &Fields<'_>) -> Option<Kind> {
        let written = fields.written(keys::KINDS);
        let name = match written.as_slice() {
            [one] => one.key.as_str(),
            [] => {
                if fields.written(keys::KINDS_LATER).is_empty() {
                    let hint = one_of(keys::KINDS.iter().copied());
                    self.fail(fields.mark, &fields.path, "the step has no kind: write exactly one", hint);
                }
                return None;
            }
            [first, second, ..] => {
                let message = format!("the step has two kinds, `{}` and `{}`", first.key, second.key);
                self.fail(second.mark, &fields.path.field(&second.key), message, "make it two steps");
                return None;
            }
        };
        if name != "uses" {
            for entry in fields.written(keys::BESIDE_USES) {
                let message = format!("`{}` stands only beside `uses`, this is a `{name}` step", entry.key);
                self.fail(entry.mark, &fields.path.field(&entry.key), message, "");
            }
        }
        if !keys::WITH_RULES.contains(&name) {
            for entry in fields.written(keys::BESIDE_RULES) {
                let message = format!("`rules` stand beside `set` or `branch`, this is a `{name}` step");
                let hint = "decide in a `set` step before this one, and read its output";
                self.fail(entry.mark, &fields.path.field(&entry.key), message, hint);
            }
        }
        let (tree, path) = fields.get(name)?;
        match name {
            "uses" => Some(Kind::Uses {
                action: self.text(tree, &path)?,
                connection: self.given(fields, "connection", Self::text),
                with: self.given(fields, "with", Self::map).unwrap_or_default(),
            }),
            "http" => self.http(tree, &path).map(Kind::Http),
            "set" => self.map(tree, &path).map(Kind::Set),
            "code" => self.closed(tree, &path, "`code`", keys::CODE).map(Kind::Code),
            "branch" => {
                let items = self.items(tree, &path)?;
                let arms = items.iter().enumerate().filter_map(|(index, item)| self.arm(item, &path.item(index)));
                Some(Kind::Branch(arms.collect()))
            }
            "map" => {
                let (with, steps) = self.body(tree, &path, "`map`", keys::MAP)?;
                self.must(tree, &path, &with, &["over"]);
                Some(Kind::Map { with, steps })
            }
            "loop" => self.repeat(tree, &path),
            "try" => {
                let fields = self.fields(tree, &path, "`try`", keys::TRY)?;
                Some(Kind::Try { steps: self.steps_of(&fields, "steps"), catch: self.steps_of(&fields, "catch") })
            }
            "sleep" => self.sleep(tree, &path).map(Kind::Sleep),
            "wait" => self.closed(tree, &path, "`wait`", keys::WAIT).map(Kind::Wait),
            "approval" => self.closed(tree, &path, "`approval`", keys::APPROVAL).map(Kind::Approval),
            "call" => self.closed(tree, &path, "`call`", keys::CALL).map(Kind::Call),
            "emit" => self.closed(tree, &path, "`emit`", keys::EMIT).map(Kind::Emit),
            "kv" => Some(Kind::Kv(self.value(tree, &path))),
            "respond" => {
                let fields = self.fields(tree, &path, "`respond`", keys::RESPOND)?;
                Some(Kind::Respond(Respond {
                    status: self.given(&fields, "status", Self::any),
                    headers: self.given(&fields, "headers", Self::map).unwrap_or_default(),
                    body: self.given(&fields, "body", Self::any),
                }))
            }
            _ => self.stop(tree, &path).map(Kind::Stop),
        }
    }

    /// An object with closed keys whose values nobody looks into yet.
    fn closed(&mut self, tree: &Tree, path: &Path, what: &str, known: &[&'static str]) -> Option<Value> {
        self.fields(tree, path, what, known)?;
        Some(self.value(tree, path))
    }

    /// Settings and `steps` of a kind with a body.
    fn body(&mut self, tree: &Tree, path: &Path, what: &str, known: &[&'static str]) -> Option<(Map, Vec<Step>)> {
        let fields = self.fields(tree, path, what, known)?;
        let settings: Vec<&'static str> = known.iter().copied().filter(|key| *key != "steps").collect();
        let with = fields
            .written(&settings)
            .into_iter()
            .map(|entry| (entry.key.clone(), self.value(&entry.tree, &path.field(&entry.key))))
            .collect();
        if !fields.has("steps") {
            self.fail(tree.mark, path, "the key `steps` is missing", "");
        }
        Some((with, self.steps_of(&fields, "steps")))
    }

    fn must(&mut self, tree: &Tree, path: &Path, with: &Map, needed: &[&str]) {
        for key in needed.iter().filter(|key| !with.contains_key(**key)) {
            self.fail(tree.mark, path, format!("the key `{key}` is missing"), "");
        }
    }

    fn repeat(&mut self, tree: &Tree, path: &Path) -> Option<Kind> {
        let (with, steps) = self.body(tree, path, "`loop`", keys::LOOP)?;
        if with.contains_key("while") == with.contains_key("until") {
            self.fail(tree.mark, path, "a loop has exactly one of `while` and `until`", "");
        }
        for cap in ["max_iterations", "max_duration"] {
            if !with.contains_key(cap) {
                let hint = "every loop has a limit: write `max_iterations` and `max_duration`";
                self.fail(tree.mark, path, format!("the key `{cap}` is missing"), hint);
            }
        }
        Some(Kind::Loop { with, steps })
    }

    fn arm(&mut self, tree: &Tree, path: &Path) -> Option<Arm> {
        let fields = self.fields(tree, path, "an arm of `branch`", keys::ARM)?;
        if !fields.has("steps") {
            self.fail(tree.mark, path, "the key `steps` is missing", "an arm that does nothing has `steps: []`");
        }
        match (fields.entry("when"), fields.entry("else")) {
            (Some(_), None) => {}
            (None, Some(entry)) => {
                let path = path.field("else");
                if self.yes_or_no(&entry.tree, &path) == Some(false) {
                    self.fail(entry.tree.mark, &path, "`else` can only be true", "write `else: true`");
                }
            }
            (Some(_), Some(entry)) => {
                let hint = "the arm for everything else is its own, last one";
                self.fail(entry.mark, &path.field("else"), "an arm has either `when` or `else: true`", hint);
            }
            (None, None) => {
                let hint = "write `when: \"{{ … }}\"`, or `else: true` in the last arm";
                self.fail(tree.mark, path, "the arm has neither `when` nor `else`", hint);
            }
        }
        let when = self.given(&fields, "when", Self::condition);
        Some(Arm { when, steps: self.steps_of(&fields, "steps") })
    }

    fn http(&mut self, tree: &Tree, path: &Path) -> Option<Http> {
        let fields = self.fields(tree, path, "`http`", keys::HTTP)?;
        let methods: Vec<(&'static str, &'static str)> = keys::METHODS.iter().map(|name| (*name, *name)).collect();
        let method = self.given(&fields, "method", |reader, tree, path| reader.word(tree, path, &methods));
        Some(Http {
            method: method.unwrap_or("GET").to_owned(),
            url: self.needed(&fields, "url", Self::text),
            query: self.given(&fields, "query", Self::map).unwrap_or_default(),
            headers: self.given(&fields, "headers", Self::map).unwrap_or_default(),
            body: self.given(&fields, "body", Self::any),
            form: self.given(&fields, "form", Self::map),
        })
    }

    fn sleep(&mut self, tree: &Tree, path: &Path) -> Option<Sleep> {
        let fields = self.fields(tree, path, "`sleep`", keys::SLEEP)?;
        match (fields.get("for"), fields.get("until")) {
            (Some((tree, path)), None) => {
                if let Shape::Scalar { text, .. } = &tree.shape
                    && text.contains("{{")
                {
                    return self.condition(tree, &path).map(Sleep::For);
                }
                self.span(tree, &path).map(|span| Sleep::For(span.to_string()))
            }
            (None, Some((tree, path))) => {
                let text = self.text(tree, &path)?;
                let is_time = text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::Zoned>().is_ok();
                if is_time {
                    return Some(Sleep::Until(text));
                }
                if text.contains("{{") {
                    return self.condition(tree, &path).map(Sleep::Until);
                }
                let hint = "write a time like 2026-11-27T08:00:00Z, or an expression that gives one: \"{{ … }}\"";
                self.fail(tree.mark, &path, format!("`{text}` is not a time"), hint);
                None
            }
            (None, None) | (Some(_), Some(_)) => {
                let hint = "write `sleep: { for: 23h }` or `sleep: { until: \"{{ … }}\" }`";
                self.fail(tree.mark, path, "a sleep has exactly one of `for` and `until`", hint);
                None
            }
        }
    }

    fn stop(&mut self, tree: &Tree, path: &Path) -> Option<Stop> {
        const HINT: &str = "write `stop: { ok: reason }` or `stop: { fail: reason }`";
        if !matches!(tree.shape, Shape::Map(_)) {
            self.fail(tree.mark, path, "`stop` says neither `ok` nor `fail`", HINT);
            return None;
        }
        let fields = self.fields(tree, path, "`stop`", keys::STOP)?;
        match (fields.get("ok"), fields.get("fail")) {
            (Some((tree, path)), None) => Some(Stop::Ok(self.value(tree, &path))),
            (None, Some((tree, path))) => Some(Stop::Fail(self.value(tree, &path))),
            (None, None) | (Some(_), Some(_)) => {
                self.fail(tree.mark, path, "a stop has exactly one of `ok` and `fail`", HINT);
                None
            }
        }
    }

    fn need(&mut self, tree: &Tree, path: &Path) -> Option<Need> {
        if matches!(tree.shape, Shape::Scalar { .. }) {
            return self.text(tree, path).map(|step| Need { step, when: "settled".to_owned() });
        }
        let fields = self.fields(tree, path, "a need", keys::NEED)?;
        let words = [("settled", "settled"), ("succeeded", "succeeded"), ("failed", "failed")];
        let step = self.needed(&fields, "step", Self::text);
        let when = self.given(&fields, "when", |reader, tree, path| reader.word(tree, path, &words));
        Some(Need { step, when: when.unwrap_or("settled").to_owned() })
    }

    fn join(&mut self, tree: &Tree, path: &Path) -> Option<Value> {
        if matches!(tree.shape, Shape::Scalar { .. }) {
            return self.word(tree, path, &[("all", "all"), ("any", "any")]).map(Value::from);
        }
        let fields = self.fields(tree, path, "`join`", keys::JOIN)?;
        let n: u32 = self.needed(&fields, "n_of", Self::count);
        Some(Value::object([("n_of", i64::from(n))]))
    }

    fn retry(&mut self, tree: &Tree, path: &Path) -> Option<Retry> {
        let fields = self.fields(tree, path, "`retry`", keys::RETRY)?;
        let usual = Retry::default();
        Some(Retry {
            attempts: self.given(&fields, "attempts", Self::count).unwrap_or(usual.attempts),
            base: self.given(&fields, "base", Self::span).unwrap_or(usual.base),
            factor_milli: self.given(&fields, "factor", Self::thousandths).unwrap_or(usual.factor_milli),
            cap: self.given(&fields, "cap", Self::span).unwrap_or(usual.cap),
            max_elapsed: self.given(&fields, "max_elapsed", Self::span),
        })
    }

    /// A number with at most three decimals, in thousandths.
    fn thousandths(&mut self, tree: &Tree, path: &Path) -> Option<u32> {
        let text = match self.value(tree, path) {
            Value::Int(number) => number.to_string(),
            Value::Dec(text) => text,
            _ => String::new(),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let milli = fraction.trim_end_matches('0');
        let parsed = (milli.len() <= 3).then(|| format!("{whole}{milli:0<3}").parse::<u32>().ok()).flatten();
        if parsed.is_none() || whole.is_empty() {
            self.fail(tree.mark, path, "`factor` must be a number like 2 or 1.5", "");
            return None;
        }
        parsed
    }
}
