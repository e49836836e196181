//! Which variables a flow reads, found in its canonical form: so whatever kinds the format gets, none is missed.

use std::collections::BTreeSet;

use super::{Flow, canonical};
use crate::expr::Template;
use crate::value::Value;

/// The variables of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// Those that it names.
    pub names: BTreeSet<String>,
    /// It may read any other one too: `vars[x]`.
    pub any: bool,
}

impl Variables {
    /// Whether it reads none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.any
    }
}

/// The variables that the expressions of a flow read.
#[must_use]
pub fn variables(flow: &Flow) -> Variables {
    let mut found = Variables::default();
    walk(&canonical(flow), &mut found);
    found
}

fn walk(value: &Value, found: &mut Variables) {
    match value {
        Value::Str(text) if text.contains("{{") && text.contains("vars") => {
            match Template::parse_text(text).map(|template| template.fields_of("vars")) {
                Ok(Some(names)) => found.names.extend(names),
                // A text that reads names of its place too, or one that check refuses: nothing is left out.
                Ok(None) | Err(_) => found.any = true,
            }
        }
        Value::List(items) => items.iter().for_each(|item| walk(item, found)),
        Value::Map(map) => map.values().for_each(|item| walk(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Kind, Step};
    use crate::value::Map;

    #[test]
    fn named_and_computed_reads_are_told_apart() {
        let check = |text: &str, names: &[&str], any: bool| {
            let mut values = Map::new();
            values.insert("x".into(), Value::List(vec![Value::from(text)]));
            let step = Step { id: "a".into(), kind: Kind::Set(values), ..Step::default() };
            let flow = Flow { flow: "f".into(), steps: vec![step], ..Flow::default() };
            let found = variables(&flow);
            let named: Vec<&str> = found.names.iter().map(String::as_str).collect();
            assert_eq!((named.as_slice(), found.any), (names, any), "{text}");
        };
        check("vars.a", &[], false);
        check("{{ trigger.vars }}", &[], false);
        check("to {{ vars.shop.url }} and {{ vars?.limit ?? vars['b c'] }}", &["b c", "limit", "shop"], false);
        check("{{ [1].map(x => vars.n * x) }}", &["n"], false);
        check("{{ vars[trigger.body.name] }}", &[], true);
        check("{{ json(vars) }}", &[], true);
    }
}
