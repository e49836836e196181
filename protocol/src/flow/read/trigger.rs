//! Reading of triggers: what starts a run, how a delivery proves itself, and the policies at the door.
//!
//! A `reply` that names no `wait` gets the longest its sender waits, so that a file without numbers is right.

use super::super::path::Path;
use super::super::tree::{Shape, Tree};
use super::super::{Auth, Batch, Debounce, Dedupe, Hmac, OnExcess, Reply, Span, Throttle, Trigger, keys, support};
use super::Reader;

/// How long a dedupe key counts if the file does not say.
pub(in super::super) const DEDUPE_WINDOW: Span = Span::from_secs(7 * 86_400);
/// What is said where a batch has no time.
const BATCH_FOR: &str = "say how long it waits for more, counted from its first event, as in `for: 5m`";
/// How long the sender of a webhook is kept waiting if the file does not say.
const REPLY_WAIT: Span = Span::from_secs(10);

impl Reader {
    pub(super) fn trigger(&mut self, tree: &Tree, path: &Path) -> Option<Trigger> {
        let fields = self.fields(tree, path, "a trigger", keys::TRIGGER)?;
        let on: String = self.needed(&fields, "on", Self::text);
        let auth = self.given(&fields, "auth", Self::auth);
        let patience = support::patience(&on, auth.as_ref()).map_or(REPLY_WAIT, |(_, cap)| cap.min(REPLY_WAIT));
        Some(Trigger {
            id: self.needed(&fields, "id", Self::text),
            connection: self.given(&fields, "connection", Self::text),
            with: self.given(&fields, "with", Self::map).unwrap_or_default(),
            dedupe: self.given(&fields, "dedupe", Self::dedupe),
            debounce: self.given(&fields, "debounce", Self::debounce),
            batch: self.given(&fields, "batch", Self::batch),
            throttle: self.given(&fields, "throttle", Self::throttle),
            filter: self.given(&fields, "filter", Self::condition),
            allow: self.list_of(&fields, "allow", Self::text),
            reply: self
                .given(&fields, "reply", |reader, tree, path| reader.reply(tree, path, patience))
                .unwrap_or_default(),
            on,
            auth,
        })
    }

    fn auth(&mut self, tree: &Tree, path: &Path) -> Option<Auth> {
        if let Shape::Scalar { text, .. } = &tree.shape {
            if text == "none" {
                return Some(Auth::None);
            }
            let hint = "write `auth: { scheme: github, secret: NAME }`, `auth: { bearer: NAME }` or `auth: none`";
            self.fail(tree.mark, path, "`auth` names neither a scheme nor a secret", hint);
            return None;
        }
        let fields = self.fields(tree, path, "`auth`", keys::AUTH)?;
        const WAYS: [&str; 4] = ["bearer", "basic", "header", "hmac"];
        for key in WAYS {
            if !fields.has(key) {
                continue;
            }
            let others: Vec<&str> = keys::AUTH.iter().copied().filter(|other| *other != key).collect();
            if let Some(entry) = fields.written(&others).first() {
                let message = format!("`{}` does not go with `{key}`", entry.key);
                let hint = "write either a scheme with its secret, or `bearer`, `basic`, `header` or `hmac`";
                self.fail(entry.mark, &path.field(&entry.key), message, hint);
            }
            return match key {
                "bearer" => self.given(&fields, key, Self::text).map(Auth::Bearer),
                "basic" => self.given(&fields, key, Self::basic),
                "header" => self.given(&fields, key, Self::auth_header),
                _ => self.given(&fields, key, Self::hmac).map(|hmac| Auth::Hmac(Box::new(hmac))),
            };
        }
        let scheme = self.needed(&fields, "scheme", Self::text);
        let secret = self.needed(&fields, "secret", Self::text);
        Some(Auth::Scheme { scheme, secret })
    }

    fn basic(&mut self, tree: &Tree, path: &Path) -> Option<Auth> {
        let fields = self.fields(tree, path, "`basic`", keys::BASIC)?;
        let (user, secret) = (self.needed(&fields, "user", Self::text), self.needed(&fields, "secret", Self::text));
        Some(Auth::Basic { user, secret })
    }

    fn auth_header(&mut self, tree: &Tree, path: &Path) -> Option<Auth> {
        let fields = self.fields(tree, path, "`header`", keys::AUTH_HEADER)?;
        let (name, secret) = (self.needed(&fields, "name", Self::text), self.needed(&fields, "secret", Self::text));
        Some(Auth::Header { name, secret })
    }

    fn hmac(&mut self, tree: &Tree, path: &Path) -> Option<Hmac> {
        let fields = self.fields(tree, path, "`hmac`", keys::HMAC)?;
        let usual = Hmac::default();
        Some(Hmac {
            secret: self.needed(&fields, "secret", Self::text),
            header: self.needed(&fields, "header", Self::text),
            prefix: self.given(&fields, "prefix", Self::text).unwrap_or(usual.prefix),
            encoding: self.given(&fields, "encoding", Self::text).unwrap_or(usual.encoding),
            algorithm: self.given(&fields, "algorithm", Self::text).unwrap_or(usual.algorithm),
            timestamp: self.given(&fields, "timestamp", Self::text),
            tolerance: self.given(&fields, "tolerance", Self::span),
            signed: self.given(&fields, "signed", Self::text),
            id: self.given(&fields, "id", Self::text),
        })
    }

    fn dedupe(&mut self, tree: &Tree, path: &Path) -> Option<Dedupe> {
        let fields = self.fields(tree, path, "`dedupe`", keys::DEDUPE)?;
        let key = self.needed(&fields, "key", Self::expression);
        let window = self.given(&fields, "window", Self::span).unwrap_or(DEDUPE_WINDOW);
        Some(Dedupe { key, window })
    }

    fn debounce(&mut self, tree: &Tree, path: &Path) -> Option<Debounce> {
        let fields = self.fields(tree, path, "`debounce`", keys::DEBOUNCE)?;
        let key = self.needed(&fields, "key", Self::expression);
        if !fields.has("for") {
            let hint = "say how long it must be quiet, as in `for: 1h`";
            self.fail(tree.mark, path, "the key `for` is missing", hint);
        }
        let quiet = self.given(&fields, "for", Self::span).unwrap_or(Span::from_secs(1));
        Some(Debounce { key, quiet, max: self.given(&fields, "max", Self::span) })
    }

    fn batch(&mut self, tree: &Tree, path: &Path) -> Option<Batch> {
        let fields = self.fields(tree, path, "`batch`", keys::BATCH)?;
        for (key, hint) in [("max", "say how many make it full, as in `max: 100`"), ("for", BATCH_FOR)] {
            if !fields.has(key) {
                self.fail(tree.mark, path, format!("the key `{key}` is missing"), hint);
            }
        }
        Some(Batch {
            key: self.given(&fields, "key", Self::expression),
            max: self.given(&fields, "max", Self::count).unwrap_or(2),
            within: self.given(&fields, "for", Self::span).unwrap_or(Span::from_secs(1)),
        })
    }

    fn throttle(&mut self, tree: &Tree, path: &Path) -> Option<Throttle> {
        let fields = self.fields(tree, path, "`throttle`", keys::THROTTLE)?;
        let words = [("queue", OnExcess::Queue), ("drop", OnExcess::Drop)];
        Some(Throttle {
            key: self.given(&fields, "key", Self::expression),
            limit: self.needed(&fields, "limit", Self::count),
            per: self.needed(&fields, "per", Self::span),
            on_excess: self
                .given(&fields, "on_excess", |reader, tree, path| reader.word(tree, path, &words))
                .unwrap_or_default(),
        })
    }

    fn reply(&mut self, tree: &Tree, path: &Path, patience: Span) -> Option<Reply> {
        if let Shape::Scalar { text, .. } = &tree.shape {
            if text == "ack" {
                return Some(Reply::Ack);
            }
            let hint = "write `reply: ack` or `reply: { respond: { wait: 10s } }`";
            self.fail(tree.mark, path, "`reply` is neither `ack` nor `respond`", hint);
            return None;
        }
        let fields = self.fields(tree, path, "`reply`", keys::REPLY)?;
        let Some((tree, path)) = fields.get("respond") else {
            self.fail(tree.mark, path, "the key `respond` is missing", "write `reply: { respond: { wait: 10s } }`");
            return None;
        };
        let fields = self.fields(tree, &path, "`respond`", keys::REPLY_RESPOND)?;
        self.given(&fields, "on_timeout", |reader, tree, path| reader.word(tree, path, &[("ack", ())]));
        Some(Reply::Respond { wait: self.given(&fields, "wait", Self::span).unwrap_or(patience) })
    }
}
