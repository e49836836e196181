//! The schema and the reader know the same keys, and the examples fit the schema.

use super::super::{keys, read};
use super::*;

/// The keys of one definition, sorted.
fn keys_of(schema: &Json, definition: Option<&str>) -> Vec<String> {
    let object = definition.map_or(schema, |name| &schema["$defs"][name]);
    let mut keys: Vec<String> = object["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(object["additionalProperties"], Json::Bool(false), "{definition:?} is closed");
    keys.sort();
    keys
}

#[test]
fn the_schema_has_the_keys_that_the_reader_takes_and_no_others() {
    let schema = schema();
    let step = keys::step();
    let each: Vec<&str> = keys::MAP.iter().copied().filter(|key| *key != "steps").collect();
    let pairs: &[(Option<&str>, &[&str])] = &[
        (None, keys::FLOW),
        (Some("Trigger"), keys::TRIGGER),
        (Some("Step"), &step),
        (Some("Hmac"), keys::HMAC),
        (Some("Dedupe"), keys::DEDUPE),
        (Some("Debounce"), keys::DEBOUNCE),
        (Some("Batch"), keys::BATCH),
        (Some("Throttle"), keys::THROTTLE),
        (Some("ReplyRespond"), keys::REPLY),
        (Some("ReplyWait"), keys::REPLY_RESPOND),
        (Some("Concurrency"), keys::CONCURRENCY),
        (Some("Rate"), keys::RATE),
        (Some("CallRate"), keys::LIMIT_RATE),
        (Some("Limit"), keys::LIMIT),
        (Some("NeedWhen"), keys::NEED),
        (Some("JoinSome"), keys::JOIN),
        (Some("Retry"), keys::RETRY),
        (Some("Arm"), keys::ARM),
        (Some("Http"), keys::HTTP),
        (Some("Map"), keys::MAP),
        (Some("EachSettings"), &each),
        (Some("Loop"), keys::LOOP),
        (Some("Try"), keys::TRY),
        (Some("Sleep"), keys::SLEEP),
        (Some("Wait"), keys::WAIT),
        (Some("Match"), keys::MATCH),
        (Some("Approval"), keys::APPROVAL),
        (Some("Escalate"), keys::ESCALATE),
        (Some("Call"), keys::CALL),
        (Some("Code"), keys::CODE),
        (Some("Emit"), keys::EMIT),
        (Some("Kv"), keys::KV),
        (Some("Respond"), keys::RESPOND),
        (Some("Stop"), keys::STOP),
        (Some("Rules"), keys::RULES),
        (Some("RulesRow"), keys::RULES_ROW),
        (Some("Bearer"), &["bearer"]),
        (Some("BasicAuth"), &["basic"]),
        (Some("Basic"), keys::BASIC),
        (Some("HeaderAuth"), &["header"]),
        (Some("Header"), keys::AUTH_HEADER),
        (Some("Scheme"), &["scheme", "secret"]),
        (Some("HmacAuth"), &["hmac"]),
    ];
    for (definition, known) in pairs {
        let mut known: Vec<String> = known.iter().map(|key| (*key).to_owned()).collect();
        known.sort();
        assert_eq!(keys_of(&schema, *definition), known, "{definition:?}");
    }
    let closed = schema["$defs"].as_object().unwrap().iter().filter(|(_, it)| it.get("properties").is_some());
    assert_eq!(closed.count() + 1, pairs.len(), "every object of the schema is compared");
    let mut methods: Vec<&str> =
        schema["$defs"]["Method"]["oneOf"].as_array().unwrap().iter().map(|it| it["const"].as_str().unwrap()).collect();
    let mut known = keys::METHODS.to_vec();
    methods.sort_unstable();
    known.sort_unstable();
    assert_eq!(methods, known);
}

/// Whether a value fits a schema, as far as our schema goes; the path of the first misfit.
fn misfit(root: &Json, schema: &Json, value: &Json, path: &str) -> Result<(), String> {
    let fail = |why: String| Err(format!("{path}: {why}"));
    let Some(rules) = schema.as_object() else { return Ok(()) };
    for (rule, wanted) in rules {
        match rule.as_str() {
            "$ref" => {
                let name = wanted.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                misfit(root, &root["$defs"][name], value, path)?;
            }
            "type" => {
                let types: Vec<&str> = match wanted {
                    Json::String(one) => vec![one],
                    many => many.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect(),
                };
                let is = match value {
                    Json::Null => "null",
                    Json::Bool(_) => "boolean",
                    Json::Number(number) if number.is_u64() || number.is_i64() => "integer",
                    Json::Number(_) => "number",
                    Json::String(_) => "string",
                    Json::Array(_) => "array",
                    Json::Object(_) => "object",
                };
                let fits = types.contains(&is) || (is == "integer" && types.contains(&"number"));
                if !fits {
                    return fail(format!("{is} is not {types:?}"));
                }
            }
            "const" if wanted != value => return fail(format!("not {wanted}")),
            "enum" if !wanted.as_array().unwrap().contains(value) => return fail(format!("not in {wanted}")),
            "pattern" => {
                let pattern = regex::Regex::new(wanted.as_str().unwrap()).unwrap();
                if value.as_str().is_some_and(|text| !pattern.is_match(text)) {
                    return fail(format!("{value} does not match {wanted}"));
                }
            }
            "required" => {
                for key in wanted.as_array().unwrap() {
                    if value.as_object().is_some_and(|object| !object.contains_key(key.as_str().unwrap())) {
                        return fail(format!("{key} is missing"));
                    }
                }
            }
            "properties" | "additionalProperties" => {
                let properties = schema["properties"].as_object();
                for (key, inner) in value.as_object().into_iter().flatten() {
                    let path = format!("{path}.{key}");
                    match properties.and_then(|known| known.get(key)) {
                        Some(known) => misfit(root, known, inner, &path)?,
                        None if schema.get("additionalProperties") == Some(&Json::Bool(false)) => {
                            return Err(format!("{path}: not known"));
                        }
                        None => misfit(root, &schema["additionalProperties"], inner, &path)?,
                    }
                }
            }
            "items" => {
                for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
                    misfit(root, wanted, inner, &format!("{path}[{index}]"))?;
                }
            }
            "anyOf" | "oneOf" => {
                let results: Vec<_> =
                    wanted.as_array().unwrap().iter().map(|one| misfit(root, one, value, path)).collect();
                let fitting = results.iter().filter(|result| result.is_ok()).count();
                if fitting == 0 || (rule == "oneOf" && fitting > 1) {
                    return fail(format!("{fitting} of {rule} fit: {results:?}"));
                }
            }
            "const" | "enum" | "title" | "description" | "$schema" | "$defs" | "format" | "minimum" | "maximum" => {}
            other => panic!("the schema uses `{other}`, which this test does not know"),
        }
    }
    Ok(())
}

fn fits(text: &str) -> Result<(), String> {
    let flow = read(text).unwrap_or_else(|findings| panic!("{text}\n{findings:#?}")).flow;
    let value: Json = serde_json::from_str(&super::super::canonical_text(&flow)).unwrap();
    let schema = schema();
    misfit(&schema, &schema, &value, "")
}

#[test]
fn the_examples_fit_the_schema() {
    assert_eq!(fits(include_str!("../../../../docs/examples/recover-abandoned-carts.yaml")), Ok(()));
    assert_eq!(fits(include_str!("../../../../docs/examples/new-order-to-erp.yaml")), Ok(()));
}

#[test]
fn a_file_with_every_key_fits_the_schema_and_the_reader() {
    let text = include_str!("every_key.yaml");
    assert_eq!(fits(text), Ok(()));
    for key in keys::FLOW.iter().chain(keys::TRIGGER).chain(&keys::step()) {
        assert!(text.contains(&format!("{key}:")), "the file has no `{key}`");
    }
}

#[test]
fn what_the_reader_refuses_does_not_fit_the_schema() {
    let schema = schema();
    for (text, why) in [
        (r#"{"aura":1,"flow":"f","steps":[{"id":"a","set":{},"uses":"x.y"}]}"#, "2 of oneOf"),
        (r#"{"aura":1,"flow":"f","steps":[{"id":"a"}]}"#, "0 of oneOf"),
        (r#"{"aura":2,"flow":"f","steps":[]}"#, "not 1"),
        (r#"{"aura":1,"flow":"f","steps":[],"tirggers":[]}"#, ".tirggers: not known"),
        (r#"{"aura":1,"flow":"f","steps":[],"timeout":"3 hours"}"#, "does not match"),
        (r#"{"aura":1,"flow":"f","steps":[],"timeout":null}"#, "null is not"),
        (r#"{"aura":1,"flow":"f"}"#, "\"steps\" is missing"),
    ] {
        assert!(read(text).is_err(), "{text}");
        let value: Json = serde_json::from_str(text).unwrap();
        let message = misfit(&schema, &schema, &value, "").unwrap_err();
        assert!(message.contains(why), "{message}");
    }
}
