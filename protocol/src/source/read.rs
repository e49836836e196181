//! Reading of a source's settings: closed, every expression parsed, every name in its place.

use super::{
    Ask, Count, EVERY_MAX, EVERY_MIN, HTTP_KEYS, NAMES, Order, PAGES, PAGES_MAX, POLL_KEYS, Poll, SOURCE_KEYS, Source,
    Start, WINDOW, WINDOW_MAX, WINDOW_MIN,
};
use crate::expr::Template;
use crate::flow::Span;
use crate::schedule::Wrong;
use crate::text::display;
use crate::value::{Map, Value};

/// Names that what is asked reads.
const ASKS: &[&str] = &["cursor", "page", "since", "until"];
/// Names that what came is read with.
const CAME: &[&str] = &["output", "cursor", "page", "since", "until"];
/// Names that an object is read with.
const OBJECT: &[&str] = &["item", "index", "output"];

struct Reading {
    wrong: Vec<Wrong>,
}

impl Reading {
    fn fail(&mut self, key: &str, message: impl Into<String>, hint: &str) {
        self.wrong.push(Wrong::new(key, message, hint));
    }

    fn template(&mut self, key: &str, value: &Value, names: &[&str]) -> Option<Template> {
        let template = match Template::parse_with(value, NAMES) {
            Ok(template) => template,
            Err(error) => {
                self.fail(key, error.message, error.hint.as_deref().unwrap_or_default());
                return None;
            }
        };
        let strange = template.references().into_iter().find(|it| !names.contains(&it.root.as_str()));
        if let Some(strange) = strange {
            let message = format!("`{}` is not known here", strange.root);
            self.fail(key, message, &format!("known here: {}", names.join(", ")));
            return None;
        }
        Some(template)
    }

    /// A text with an expression in it.
    fn expression(&mut self, map: &Map, key: &str, names: &[&str]) -> Option<Template> {
        match map.get(key)? {
            value @ Value::Str(text) if text.contains("{{") => self.template(key, value, names),
            _ => {
                self.fail(key, format!("`{key}` is an expression"), "write it as in `\"{{ item.id }}\"`");
                None
            }
        }
    }

    fn word(&mut self, map: &Map, key: &str) -> Option<String> {
        match map.get(key)? {
            Value::Str(word) if !word.contains("{{") && !word.is_empty() => Some(word.clone()),
            _ => {
                self.fail(key, format!("`{key}` is a plain text"), "");
                None
            }
        }
    }

    fn span(&mut self, map: &Map, key: &str, least: Span, most: Span) -> Option<Span> {
        let text = self.word(map, key)?;
        match text.parse::<Span>() {
            Ok(span) if span >= least && span <= most => Some(span),
            Ok(span) => {
                self.fail(key, format!("`{key}: {span}` must be between {least} and {most}"), "");
                None
            }
            Err(why) => {
                self.fail(key, why, "");
                None
            }
        }
    }

    fn ask(&mut self, map: &Map, connection: Option<&str>) -> Option<(Ask, Template)> {
        match (map.get("uses"), map.get("http")) {
            (Some(_), None) => {
                let action = self.word(map, "uses")?;
                if !action.contains('.') {
                    self.fail("uses", "`uses` names an action as `connector.action`", "as in `shopify.list_orders`");
                    return None;
                }
                let own = self.word(map, "connection");
                let connection = own.or_else(|| connection.map(str::to_owned));
                let input = match map.get("input") {
                    None => Value::Map(Map::new()),
                    Some(input @ Value::Map(_)) => input.clone(),
                    Some(_) => {
                        self.fail("input", "`input` is an object: the action's inputs by name", "");
                        return None;
                    }
                };
                let input = self.template("input", &input, ASKS)?;
                Some((Ask::Uses { action, connection }, input))
            }
            (None, Some(Value::Map(http))) => {
                for key in ["input", "connection"].into_iter().filter(|key| map.contains_key(*key)) {
                    self.fail(key, format!("`{key}` goes with `uses`"), "a request has `url`, `query` and `headers`");
                }
                for key in http.keys().filter(|key| !HTTP_KEYS.contains(&key.as_str())) {
                    let message = format!("a request that reads has no setting `{}`", display(key));
                    self.fail(&format!("http.{key}"), message, &format!("known are: {}", HTTP_KEYS.join(", ")));
                }
                let method = http.get("method").map_or("GET", |method| method.as_str().unwrap_or(""));
                if !matches!(method, "GET" | "HEAD") {
                    let hint = "leave it out; whatever changes something is a step's work";
                    self.fail("http.method", "a source only reads: the method is GET or HEAD", hint);
                    return None;
                }
                if http.get("url").and_then(Value::as_str).is_none_or(str::is_empty) {
                    self.fail("http", "the request has no `url`", "write `http: { url: \"https://…\" }`");
                    return None;
                }
                let mut request = http.clone();
                request.insert("method".to_owned(), Value::from(method));
                let input = self.template("http", &Value::Map(request), ASKS)?;
                Some((Ask::Http, input))
            }
            (Some(_), Some(_)) => {
                self.fail("http", "a source has `uses` or `http`, not both", "leave one out");
                None
            }
            (None, Some(_)) => {
                self.fail("http", "`http` is an object", "write `http: { url: \"https://…\" }`");
                None
            }
            (None, None) => {
                let hint = "write `uses: shopify.list_orders` or `http: { url: \"https://…\" }`";
                self.fail("", "the source does not say what is read", hint);
                None
            }
        }
    }

    fn count(&mut self, map: &Map) -> Option<Count> {
        let count = match map.get("count")? {
            Value::Map(count) => count,
            _ => {
                self.fail("count", "`count` is an object", "write `count: { uses, input, value }`");
                return None;
            }
        };
        for key in count.keys().filter(|key| !matches!(key.as_str(), "uses" | "input" | "value")) {
            self.fail(&format!("count.{key}"), format!("`count` has no setting `{}`", display(key)), "");
        }
        let (Some(Value::Str(action)), Some(value)) = (count.get("uses"), count.get("value")) else {
            self.fail("count", "`count` needs `uses` and `value`", "as in `value: \"{{ output.count }}\"`");
            return None;
        };
        let input = count.get("input").cloned().unwrap_or_else(|| Value::Map(Map::new()));
        let input = self.template("count.input", &input, &["since", "until"]);
        let value = self.template("count.value", value, &["output"]);
        Some(Count { action: action.clone(), input: input?, value: value? })
    }

    fn source(&mut self, map: &Map, connection: Option<&str>) -> Option<Source> {
        let asked = self.ask(map, connection);
        let items = self.expression(map, "items", CAME);
        let key = self.expression(map, "key", OBJECT);
        if !map.contains_key("key") {
            self.fail("", "the source does not say what tells its objects apart", "write `key: \"{{ item.id }}\"`");
        }
        let cursor = self.expression(map, "cursor", OBJECT);
        let next = self.expression(map, "next", CAME);
        let body = map.get("body").and_then(|body| self.template("body", body, OBJECT));
        let order = match map.get("order") {
            None => Order::Oldest,
            Some(Value::Str(word)) if word == "oldest" => Order::Oldest,
            Some(Value::Str(word)) if word == "newest" => Order::Newest,
            Some(_) => {
                self.fail("order", "`order` is oldest or newest: what the provider gives first", "");
                Order::Oldest
            }
        };
        let pages = match map.get("pages") {
            None => PAGES,
            Some(value) => {
                let number = value.as_int().and_then(|number| u32::try_from(number).ok());
                number.filter(|number| (1..=PAGES_MAX).contains(number)).unwrap_or_else(|| {
                    self.fail("pages", format!("`pages` is a number from 1 to {PAGES_MAX}"), "");
                    PAGES
                })
            }
        };
        let count = self.count(map);
        let (ask, input) = asked?;
        let roots = |template: &Template| template.references().into_iter().map(|it| it.root).collect::<Vec<_>>();
        let cursor_of_item = cursor.as_ref().is_some_and(|cursor| roots(cursor).iter().any(|root| root != "output"));
        let written = |key: &str| map.get(key).map(Value::to_canonical_json).unwrap_or_default();
        let what = match &ask {
            Ask::Uses { action, connection } => format!("{action} {}", connection.as_deref().unwrap_or_default()),
            Ask::Http => map.get("http").and_then(|http| http.get("url")).map(Value::to_canonical_json)?,
        };
        let identity = format!("{what}\n{}\n{}\n{}", written("key"), written("cursor"), written("order"));
        let reads = roots(&input);
        let key = key?;
        Some(Source {
            ask,
            input,
            items,
            key,
            cursor,
            cursor_of_item,
            next,
            order,
            body,
            count,
            pages,
            identity,
            reads,
        })
    }
}

impl Source {
    /// Reads a source, as it stands under `with.backfill` or in a connector's own description.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its key.
    pub fn read(map: &Map, connection: Option<&str>) -> Result<Self, Vec<Wrong>> {
        let mut reading = Reading { wrong: Vec::new() };
        for key in map.keys().filter(|key| !SOURCE_KEYS.contains(&key.as_str())) {
            let message = format!("a source has no setting `{}`", display(key));
            reading.fail(key, message, &format!("known are: {}", SOURCE_KEYS.join(", ")));
        }
        let source = reading.source(map, connection);
        source.filter(|_| reading.wrong.is_empty()).ok_or(reading.wrong)
    }
}

impl Poll {
    /// Reads the `with` of a poll trigger.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its key.
    pub fn read(with: &Map, connection: Option<&str>) -> Result<Self, Vec<Wrong>> {
        let mut reading = Reading { wrong: Vec::new() };
        let is_known = |key: &str| SOURCE_KEYS.contains(&key) || POLL_KEYS.contains(&key);
        for key in with.keys().filter(|key| !is_known(key)) {
            let message = format!("a poll has no setting `{}`", display(key));
            let known: Vec<&str> = POLL_KEYS.iter().chain(SOURCE_KEYS).copied().collect();
            reading.fail(key, message, &format!("known are: {}", known.join(", ")));
        }
        let every = reading.span(with, "every", EVERY_MIN, EVERY_MAX);
        if !with.contains_key("every") {
            reading.fail("", "the poll does not say how often", "write `every: 5m`");
        }
        let window = match with.contains_key("window") {
            true => reading.span(with, "window", WINDOW_MIN, WINDOW_MAX),
            false => Some(WINDOW),
        };
        let start = match with.get("start") {
            None => Start::Now,
            Some(Value::Str(word)) if word == "now" => Start::Now,
            Some(Value::Str(word)) if word == "all" => Start::All,
            Some(value @ (Value::Str(_) | Value::Int(_) | Value::Dec(_))) => {
                let plain = value.as_str().is_none_or(|text| !text.contains("{{") && !text.is_empty());
                if !plain || !with.contains_key("cursor") {
                    let hint = "write `now`, `all`, or with `cursor` the value with which it begins";
                    reading.fail("start", "`start` says where the poll begins", hint);
                }
                Start::At(value.clone())
            }
            Some(_) => {
                reading.fail("start", "`start` is now, all, or the first cursor", "");
                Start::Now
            }
        };
        let source = reading.source(with, connection);
        match (every, window, source) {
            (Some(every), Some(window), Some(source)) if reading.wrong.is_empty() => {
                Ok(Self { every, start, window, source })
            }
            _ => Err(reading.wrong),
        }
    }
}
