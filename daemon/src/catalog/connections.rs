//! Connections and named secrets: fields checked against the connector's own description.
//!
//! A secret goes in and never comes out: the store seals it, replies and logs name it only. What a connection
//! has and is not given again stays, so that changing one field never loses another.

use std::sync::Arc;

use aura_protocol::descriptor::Field;
use aura_protocol::flow::Rate;
use aura_protocol::rpc::{Actor, Connection, ConnectionAdd};
use aura_protocol::text::display;
use aura_protocol::{Code, ConnectionId, WireError};
use aura_storage::rows::{ConnectionRecord, PreviousSecret};
use aura_storage::{Key, Table, TailEntry, Txn};

use crate::catalog::edit::uncommitted;
use crate::catalog::{CONNECTIONS_MAX, Catalog, State, unreadable};

/// Connector of a bare named secret.
pub const SECRET: &str = "secret";
/// Largest field of a connection, in bytes.
const FIELD_MAX: usize = 16 * 1024;
/// Longest time for which a replaced secret goes on counting: 7 days.
pub const KEEP_MAX_MS: u64 = 7 * 86_400_000;
/// Largest settings of a connection (names and values, without its secrets): lists carry them.
const SETTINGS_MAX: usize = 1024;

pub(super) fn shown(record: &ConnectionRecord) -> Connection {
    Connection {
        id: record.id,
        name: record.name.clone(),
        connector: record.connector.clone(),
        settings: record.settings.clone(),
        secrets: record.secrets.iter().map(|(name, _)| name.clone()).collect(),
        changed_ms: record.changed_ms,
    }
}

fn wrong(message: String) -> WireError {
    WireError::new(Code::Invalid, message)
}

impl Catalog {
    /// All connections, never a secret value.
    #[must_use]
    pub fn connection_list(&self) -> Vec<Connection> {
        self.now().connections.values().map(|record| shown(record)).collect()
    }

    /// Adds a connection, or changes it: fields that it has under the same connector and that are not given stay.
    /// An empty value takes a field away.
    ///
    /// # Errors
    /// A field is missing, unknown, empty or too long; or not stored.
    pub async fn connection_add(&self, actor: &Actor, add: ConnectionAdd) -> Result<Connection, WireError> {
        let _one = self.editing().await?;
        let fields = self.fields_of(&add.connector)?;
        let now_ms = self.0.clock.now_ms();
        let state = self.now();
        let old = state.connection(&add.name);
        let (settings, secrets) = sort_fields(&add, &fields, old.map(Arc::as_ref))?;
        if old.is_none() && state.connections.len() >= CONNECTIONS_MAX {
            let message = format!(
                "there are {CONNECTIONS_MAX} connections already and no more fit in a list; nothing was stored"
            );
            return Err(WireError::new(Code::Conflict, message).hint("change one that is no longer used"));
        }
        let record = ConnectionRecord {
            id: old.map_or_else(ConnectionId::now, |record| record.id),
            name: add.name.clone(),
            connector: add.connector.clone(),
            settings,
            previous: previous(old.map(Arc::as_ref), &add, &secrets, now_ms),
            secrets,
            deleted: None,
            changed_ms: now_ms,
        };
        let key = Key::tenant(actor.tenant).id(record.id.bytes());
        let mut txn = Txn::new();
        self.0
            .store
            .put(&mut txn, actor.tenant, Table::Connections, key, &record)
            .map_err(|error| unreadable(&error))?;
        txn.tell(TailEntry::Connection(actor.tenant, record.id));
        self.0.store.commit(txn).await.map_err(|error| uncommitted(&error))?;
        let reply = shown(&record);
        let mut state = State::clone(&self.now());
        state.connections.insert(record.name.clone(), Arc::new(record));
        self.swap(state);
        Ok(reply)
    }

    fn fields_of(&self, connector: &str) -> Result<Vec<Field>, WireError> {
        if connector == SECRET {
            let field = |name: &str, required, help: &str| Field {
                name: name.to_owned(),
                required,
                secret: true,
                kind: "text".to_owned(),
                default: None,
                help: help.to_owned(),
                example: String::new(),
            };
            return Ok(vec![
                field("value", true, "The secret itself"),
                field("verify_token", false, "The word agreed with Meta for its handshake"),
            ]);
        }
        match self.registry().connectors().iter().find(|known| known.id == connector) {
            Some(known) => Ok(known.fields.iter().cloned().chain(known.budget()).collect()),
            None => Err(wrong(format!("there is no connector named {}", display(connector)))
                .hint("`aura connection add --help` lists connectors; `secret` stores a bare secret")),
        }
    }
}

/// What is wrong with a budget.
fn wrong_budget(name: &str, value: &str) -> Option<String> {
    match name {
        "rate" => Rate::read(value).err(),
        "concurrency" => {
            let fits = value.parse::<u32>().is_ok_and(|number| number > 0);
            (!fits).then(|| format!("`concurrency` is a number from 1, this is `{}`", display(value)))
        }
        _ => None,
    }
}

type Pairs = Vec<(String, String)>;

/// The secrets that still count beside those of now: of each field one at most, and none for ever.
fn previous(old: Option<&ConnectionRecord>, add: &ConnectionAdd, now: &Pairs, now_ms: i64) -> Vec<PreviousSecret> {
    let Some(old) = old.filter(|old| old.connector == add.connector) else { return Vec::new() };
    let mut out: Vec<PreviousSecret> = Vec::new();
    for (field, value) in now {
        let before = old.secrets.iter().find(|(name, before)| name == field && before != value && !before.is_empty());
        match (before, add.keep_ms) {
            (Some((_, before)), Some(keep)) => {
                let until_ms = now_ms.saturating_add(i64::try_from(keep.min(KEEP_MAX_MS)).unwrap_or(0));
                out.push(PreviousSecret { field: field.clone(), value: before.clone(), until_ms });
            }
            // Replaced for good, the one before with it.
            (Some(_), None) => {}
            (None, _) => {
                out.extend(old.previous.iter().filter(|kept| kept.field == *field && kept.until_ms > now_ms).cloned());
            }
        }
    }
    out
}

fn sort_fields(
    add: &ConnectionAdd,
    fields: &[Field],
    old: Option<&ConnectionRecord>,
) -> Result<(Pairs, Pairs), WireError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if add.name.is_empty() || add.name.len() > 64 || !add.name.chars().all(fits) {
        return Err(wrong(format!(
            "`{}` is no name of a connection: use 1 to 64 of a-z, 0-9, - and _",
            display(&add.name)
        )));
    }
    let known = || fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
    for (place, (name, value)) in add.fields.iter().enumerate() {
        let Some(field) = fields.iter().find(|field| field.name == *name) else {
            return Err(wrong(format!("{} has no field `{}`; it has {}", add.connector, display(name), known())));
        };
        if add.fields.iter().take(place).any(|(before, _)| before == name) {
            return Err(wrong(format!("the field `{name}` is given twice")));
        }
        if value.len() > FIELD_MAX || value.contains(['\0', '\r', '\n']) {
            return Err(wrong(format!("the field `{name}` must be one line of at most {FIELD_MAX} bytes")));
        }
        if !value.is_empty()
            && !field.secret
            && let Some(message) = wrong_budget(name, value)
        {
            return Err(wrong(message));
        }
        if !value.is_empty() && field.kind == "integer" && value.parse::<i64>().is_err() {
            return Err(wrong(format!("the field `{name}` must be a whole number")));
        }
    }
    let old = old.filter(|record| record.connector == add.connector);
    let of = |pairs: &Pairs, name: &str| pairs.iter().find(|(have, _)| have == name).map(|(_, value)| value.clone());
    let (mut settings, mut secrets) = (Pairs::new(), Pairs::new());
    for field in fields {
        let default = field.default.clone().filter(|_| !field.secret);
        let before =
            || of(old.map(|record| if field.secret { &record.secrets } else { &record.settings })?, &field.name);
        let value = match of(&add.fields, &field.name) {
            None => before().or(default),
            Some(empty) if empty.is_empty() => default,
            given => given,
        };
        match value {
            Some(value) if field.secret => secrets.push((field.name.clone(), value)),
            Some(value) => settings.push((field.name.clone(), value)),
            None if field.required => {
                return Err(wrong(format!("the field `{}` of {} is missing", field.name, add.connector)));
            }
            None => {}
        }
    }
    let size: usize = settings.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > SETTINGS_MAX {
        return Err(wrong(format!(
            "the settings of {} have {size} bytes together and may have {SETTINGS_MAX} (its secrets are not counted)",
            add.name
        )));
    }
    Ok((settings, secrets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, required: bool, secret: bool) -> Field {
        Field {
            name: name.to_owned(),
            required,
            secret,
            kind: "text".to_owned(),
            default: None,
            help: String::new(),
            example: String::new(),
        }
    }

    fn add(name: &str, fields: &[(&str, &str)]) -> ConnectionAdd {
        ConnectionAdd {
            name: name.to_owned(),
            connector: "shopify".to_owned(),
            fields: fields.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            keep_ms: None,
        }
    }

    #[test]
    fn fields_are_those_of_the_connector() {
        let fields = [field("shop", true, false), field("token", true, true), field("note", false, false)];
        let (settings, secrets) = sort_fields(&add("shop", &[("shop", "a"), ("token", "t")]), &fields, None).unwrap();
        assert_eq!((settings.len(), secrets.len()), (1, 1));
        for (given, part) in [
            (add("Shop", &[]), "no name of a connection"),
            (add("shop", &[("shop", "a")]), "`token` of shopify is missing"),
            (add("shop", &[("shop", "a"), ("token", "t"), ("x", "y")]), "has no field `x`"),
            (add("shop", &[("shop", "a"), ("shop", "b"), ("token", "t")]), "given twice"),
            (add("shop", &[("shop", ""), ("token", "t")]), "`shop` of shopify is missing"),
            (add("shop", &[("shop", &"a".repeat(1021)), ("token", "t")]), "have 1025 bytes together"),
            (add("shop", &[("shop", "a\nb"), ("token", "t")]), "one line"),
        ] {
            let error = sort_fields(&given, &fields, None).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn a_rotation_keeps_the_secret_before_for_its_time_and_no_other() {
        let pair = |value: &str| vec![("value".to_owned(), value.to_owned())];
        let kept = |old: &ConnectionRecord, value: &str, keep_ms: Option<u64>, now_ms: i64| {
            let given = ConnectionAdd { connector: "secret".to_owned(), keep_ms, ..add("hook", &[("value", value)]) };
            let found = previous(Some(old), &given, &pair(value), now_ms);
            found.iter().map(|old| (old.value.clone(), old.until_ms)).collect::<Vec<_>>()
        };
        let mut record = ConnectionRecord {
            id: ConnectionId::now(),
            name: "hook".to_owned(),
            connector: "secret".to_owned(),
            settings: Vec::new(),
            secrets: pair("one"),
            previous: Vec::new(),
            deleted: None,
            changed_ms: 0,
        };
        assert_eq!(kept(&record, "two", Some(1000), 50), [("one".to_owned(), 1050)]);
        assert_eq!(kept(&record, "two", None, 50), [], "without a rotation the old one is gone at once");
        assert_eq!(kept(&record, "two", Some(u64::MAX), 0), [("one".to_owned(), 604_800_000)]);
        assert_eq!(kept(&record, "one", Some(1000), 50), [], "the same secret is no rotation");
        record.secrets = pair("two");
        record.previous = vec![PreviousSecret { field: "value".to_owned(), value: "one".to_owned(), until_ms: 1050 }];
        assert_eq!(kept(&record, "three", Some(1000), 60), [("two".to_owned(), 1060)], "two are active, never three");
        assert_eq!(kept(&record, "two", None, 60), [("one".to_owned(), 1050)], "another change leaves it");
        assert_eq!(kept(&record, "two", None, 1050), [], "its time is over");
    }

    #[test]
    fn what_is_not_given_again_stays_and_an_empty_value_takes_away() {
        let fields = [
            field("shop", true, false),
            field("token", true, true),
            field("hook", false, true),
            Field { default: Some("7".to_owned()), ..field("version", false, false) },
        ];
        let pairs =
            |list: &[(&str, &str)]| -> Pairs { list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect() };
        let old = ConnectionRecord {
            id: ConnectionId::now(),
            name: "shop".to_owned(),
            connector: "shopify".to_owned(),
            settings: pairs(&[("shop", "a"), ("version", "8"), ("gone", "x")]),
            secrets: pairs(&[("token", "t"), ("hook", "h")]),
            previous: Vec::new(),
            deleted: None,
            changed_ms: 0,
        };
        let check = |given: &[(&str, &str)], settings: &[(&str, &str)], secrets: &[(&str, &str)]| {
            let got = sort_fields(&add("shop", given), &fields, Some(&old)).unwrap();
            assert_eq!(got, (pairs(settings), pairs(secrets)), "{given:?}");
        };
        let (place, both) = ([("shop", "a"), ("version", "8")], [("token", "t"), ("hook", "h")]);
        check(&[], &place, &both);
        check(&[("shop", "b")], &[("shop", "b"), ("version", "8")], &both);
        check(&[("token", "new")], &place, &[("token", "new"), ("hook", "h")]);
        check(&[("hook", "")], &place, &[("token", "t")]);
        check(&[("version", "")], &[("shop", "a"), ("version", "7")], &both);
        let error = sort_fields(&add("shop", &[("token", "")]), &fields, Some(&old)).unwrap_err();
        assert!(error.message.contains("`token` of shopify is missing"), "a required one cannot go: {error}");
        let other = ConnectionRecord { connector: "slack".to_owned(), ..old.clone() };
        assert!(sort_fields(&add("shop", &[]), &fields, Some(&other)).is_err(), "another connector starts anew");
    }
}
