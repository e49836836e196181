//! Rule tables: reading, deciding, sweeping; the reference case of decision tables, and the sweep against deciding.

use proptest::prelude::*;

use super::*;
use crate::expr::{Scope, Template};

/// A scope whose `input` is a value.
struct Input(Value);

impl Scope for Input {
    fn root(&self, name: &str) -> Option<&Value> {
        (name == "input").then_some(&self.0)
    }
    fn step(&self, _id: &str) -> Option<&Value> {
        None
    }
    fn now_ms(&self) -> i64 {
        0
    }
    fn entropy(&self, _n: u32) -> [u8; 16] {
        [0; 16]
    }
}

fn json(text: &str) -> Value {
    Value::from_json(text.as_bytes()).unwrap()
}

/// What rules decide about an input: the decision and the rows as JSON, or the error.
fn decide(rules: &Value, input: &str) -> String {
    let rules = match Rules::compile(rules, &[]) {
        Ok(rules) => rules,
        Err(error) => return format!("! {error}"),
    };
    match rules.decide(&Input(json(input))) {
        Ok(decided) => format!("{} by {}", decided.value.to_json(), decided.matched.join(",")),
        Err(error) => format!("! {}", error.message),
    }
}

/// A table of one column `x` with these cells, whose rows say their number.
fn column(cells: &str, more: &str) -> Value {
    let cells = json(cells);
    let rows = cells.as_list().unwrap().iter().enumerate().map(|(number, cell)| {
        Value::object([
            ("when", Value::object([("x", cell.clone())])),
            ("then", Value::from(i64::try_from(number + 1).unwrap())),
        ])
    });
    let mut table = json(more);
    if let Value::Map(map) = &mut table {
        map.insert("inputs".into(), Value::object([("x", "{{ input.x }}")]));
        map.insert("rows".into(), Value::List(rows.collect()));
    }
    table
}

#[test]
fn cells_match_what_they_say() {
    let check = |cell: &str, yes: &[&str], no: &[&str]| {
        let table = column(&format!("[{cell}]"), r#"{"else":0}"#);
        for (value, expected) in yes.iter().map(|it| (it, "1 by 1")).chain(no.iter().map(|it| (it, "0 by "))) {
            assert_eq!(decide(&table, &format!("{{\"x\":{value}}}")), expected, "{cell} {value}");
        }
    };
    check("100", &["100", "100.0", "1e2"], &["100.01", "null"]);
    check("\"DE\"", &["\"DE\""], &["\"de\"", "\"\"", "null"]);
    check("\"-\"", &["1", "\"DE\"", "null", "[]", "true"], &[]);
    check("\"= '-'\"", &["\"-\""], &["\"x\""]);
    check("\"'> 5'\"", &["\"> 5\""], &["\"5\""]);
    check("\"100\"", &["\"100\""], &["\"100.0\""]);
    check("null", &["null"], &["1", "\"x\""]);
    check("true", &["true"], &["false", "null"]);
    check("\">=100\"", &["100", "100.5", "1e400"], &["99.99999999999999999999999999999999", "null"]);
    check("\"< -1.5\"", &["-1.6"], &["-1.5", "0"]);
    check("\"= 5\"", &["5.0"], &["6"]);
    check("\"!= 5\"", &["6", "null"], &["5.0"]);
    check("\"!= DE\"", &["\"FR\""], &["\"DE\""]);
    check("\"[50..100)\"", &["50", "99.9"], &["49.9", "100"]);
    check("\"(50..100]\"", &["100", "50.1"], &["50"]);
    check("[1, \"[5..6]\", null]", &["1", "5.5", "null"], &["2"]);
    check("[\"DE\", \"AT\"]", &["\"AT\""], &["\"CH\""]);
    check("\"not(DE, AT)\"", &["\"CH\"", "null"], &["\"AT\""]);
    check("\"not('a, b', c)\"", &["\"a\""], &["\"a, b\"", "\"c\""]);
    check("\"not([0..9], 20)\"", &["10"], &["5", "20"]);
    check("\">= 2026-05-01\"", &["\"2026-05-01\"", "\"2026-05-01T02:00:00+02:00\""], &["\"2026-04-30T23:59:59Z\""]);
    check("\"[2026-05-01..2026-06-01)\"", &["\"2026-05-31T23:59:59Z\""], &["\"2026-06-01T00:00:00Z\""]);
}

#[test]
fn what_is_wrong_with_a_table_is_told_at_its_place() {
    let check = |cells: &str, more: &str, expected: &[&str]| {
        let problems = Table::read(&column(cells, more)).map(|_| Vec::new()).unwrap_or_else(|problems| problems);
        let told: Vec<String> = problems.iter().map(|it| format!("{}: {}", it.place(), it.message)).collect();
        assert_eq!(told, expected, "{cells}");
    };
    check("[1]", "{}", &[]);
    check("[\"> x\"]", "{}", &["rows[0].when.x: `x` has no order: `>` compares numbers and dates"]);
    check("[\"[5..1]\"]", "{}", &["rows[0].when.x: nothing lies in [5..1]"]);
    check("[\"(5..5]\"]", "{}", &["rows[0].when.x: nothing lies in (5..5]"]);
    check("[\"\"]", "{}", &["rows[0].when.x: an empty cell is not clear"]);
    check("[\">= \"]", "{}", &["rows[0].when.x: a cell ends where a value was expected"]);
    check("[\"{{ input.x }}\"]", "{}", &["rows[0].when.x: a cell holds no expression"]);
    check("[{}]", "{}", &["rows[0].when.x: a cell cannot be an object"]);
    check("[[]]", "{}", &["rows[0].when.x: a list in a cell has 1 to 256 alternatives, this has 0"]);
    check("[1, \"DE\"]", "{}", &["rows: the column `x` mixes numbers and texts"]);
    check("[\"100\", \"< 50\"]", "{}", &["rows: the column `x` mixes texts and numbers"]);
    check("[1]", r#"{"hit":"best"}"#, &["hit: `best` is no hit policy"]);
    check("[1]", r#"{"order":1}"#, &["order: `rules` has no `order`"]);
    check("[1]", r#"{"domain":{"y":1}}"#, &["domain.y: `domain` has no `y`"]);
    check("[]", "{}", &["rows: `rows` must be a list of 1 to 1000 rows"]);
    let rows = |rows: &str| json(&format!(r#"{{"inputs":{{"x":1}},"rows":[{rows}]}}"#));
    let first = |table: Value| Table::read(&table).unwrap_err().remove(0).to_string();
    assert_eq!(first(rows(r#"{"when":{"z":1},"then":1}"#)), "`when` has no `z`");
    assert_eq!(first(rows(r#"{"when":{}}"#)), "the key `then` is missing");
    assert_eq!(first(rows(r#"{"then":1}"#)), "`when` must be an object: input and cell");
    let twice = r#"{"id":"a","when":{},"then":1},{"id":"a","when":{},"then":1}"#;
    assert_eq!(first(rows(twice)), "the rows 1 and 2 have the same id");
    assert_eq!(first(json("[]")), "`rules` must be an object, this is a list");
    assert_eq!(first(json("{}")), "`inputs` must name at least one value");
}

#[test]
fn policies() {
    let check = |hit: &str, x: i32, expected: &str| {
        let table = column(r#"[">= 10", ">= 20", ">= 30"]"#, &format!("{{\"hit\":\"{hit}\"}}"));
        assert_eq!(decide(&table, &format!("{{\"x\":{x}}}")), expected, "{hit} {x}");
    };
    check("unique", 15, "1 by 1");
    check("unique", 25, "! the rows 1, 2 of the rules all match x = 25; `unique` takes one");
    check("unique", 5, "! no row of the rules matches x = 5; add a row, or `else`");
    check("first", 25, "1 by 1");
    check("first", 5, "null by ");
    check("any", 15, "1 by 1");
    check("any", 25, "! the rows 1, 2 of the rules match and do not say the same; `any` needs that");
    check("collect", 25, "[1,2] by 1,2");
    check("collect", 5, "[] by ");
    check("sum", 35, "6 by 1,2,3");
    check("sum", 5, "0 by ");
    check("min", 35, "1 by 1,2,3");
    check("max", 35, "3 by 1,2,3");
    check("max", 5, "null by ");
    check("count", 25, "2 by 1,2");
    let table = column("[1]", "{}");
    let wrong = "! the input `x` is text, the cells of its column are numbers";
    assert_eq!(decide(&table, r#"{"x":"1"}"#), wrong);
    let date = column(r#"["< 2026-05-01"]"#, "{}");
    assert_eq!(decide(&date, r#"{"x":"soon"}"#), "! the input `x` is text, the cells of its column are dates");
    let bounded = column("[1]", r#"{"domain":{"x":"[0..9]"},"else":0}"#);
    assert_eq!(decide(&bounded, r#"{"x":10}"#), "! the input `x` is 10, which its `domain` does not have");
    assert_eq!(decide(&bounded, "{}"), "! in `x`: input.x is not there");
}

#[test]
fn rows_have_names_and_compute_only_when_taken() {
    let rules = json(
        r#"{
        "inputs": {"total": "{{ input.total }}", "country": "{{ input.country ?? null }}"},
        "hit": "first",
        "rows": [
            {"id": "big", "when": {"total": ">= 100", "country": "DE"}, "then": {"price": "{{ input.total * 0.9 }}"}},
            {"when": {"total": "< 0"}, "then": "{{ input.absent }}"},
            {"id": "unknown", "when": {"country": null}, "then": "ask"}
        ],
        "else": "{{ 'plain ' + String(input.total) }}"
    }"#,
    );
    let check = |input: &str, expected: &str| assert_eq!(decide(&rules, input), expected, "{input}");
    check(r#"{"total":120,"country":"DE"}"#, r#"{"price":108} by big"#);
    check(r#"{"total":120}"#, r#""ask" by unknown"#);
    check(r#"{"total":12.50,"country":"FR"}"#, r#""plain 12.50" by "#);
    check(r#"{"total":-1,"country":"FR"}"#, "! input.absent is not there");
    let decided = Rules::compile(&rules, &[]).unwrap().decide(&Input(json(r#"{"total":120}"#))).unwrap();
    let scope = Input(json(r#"{"n":1}"#));
    let with = WithDecision::new(&scope, decided);
    let template = Template::parse_with(&Value::from("{{ [decision, matched, input.n] }}"), &NAMES).unwrap();
    assert_eq!(template.eval(&with).unwrap().value.to_json(), r#"["ask",["unknown"],1]"#);
    let wrong = json(r#"{"inputs":{"x":"{{ input. }}"},"rows":[{"when":{},"then":1}]}"#);
    assert!(matches!(Rules::compile(&wrong, &[]), Err(RulesError::Expression(_))));
}

fn swept(table: &Value) -> String {
    let table = Table::read(table).unwrap();
    let found = table.sweep();
    let gaps: Vec<String> = found.gaps.iter().map(|gap| format!("gap {}", gap.0)).collect();
    let name = |rows: &[usize]| rows.iter().map(|row| table.row_name(*row)).collect::<Vec<_>>().join("+");
    let overlaps = found.overlaps.iter().map(|it| format!("{} {}", name(&it.rows), it.region.0));
    let idle = found.idle.iter().map(|row| format!("idle {}", table.row_name(*row)));
    gaps.into_iter().chain(overlaps).chain(idle).collect::<Vec<_>>().join("; ")
}

#[test]
fn gaps_overlaps_and_idle_rows() {
    let check = |cells: &str, more: &str, expected: &str| assert_eq!(swept(&column(cells, more)), expected, "{cells}");
    check(r#"["< 50", ">= 50"]"#, "{}", "");
    check(r#"["< 50", "> 50"]"#, "{}", "gap x 50");
    check(r#"["<= 50", ">= 50"]"#, "{}", "1+2 x 50");
    check(r#"["<= 49", ">= 50"]"#, "{}", "gap x (49..50)");
    check(r#"["not([0..10))", "[0..10]"]"#, "{}", "1+2 x 10");
    check("[1, 2]", r#"{"domain":{"x":[1, 2, 3]}}"#, "gap x 3");
    check(r#"["DE", ["FR", "DE"]]"#, "{}", "gap x any other; 1+2 x DE");
    check(r#"["DE", "not(DE)"]"#, "{}", "");
    check("[true]", "{}", "gap x false");
    check("[true, null]", "{}", "gap x false");
    check(r#"["-", null]"#, "{}", "1+2 x null");
    check(r#"[">= 10", ">= 20", "-"]"#, r#"{"hit":"first"}"#, "idle 2");
    check(r#"["-", ">= 20"]"#, r#"{"hit":"first"}"#, "idle 2");
    check(r#"["> 100"]"#, r#"{"domain":{"x":"[0..100]"},"hit":"collect"}"#, "gap x [0..100]; idle 1");
    check(r#"["< 2026-05-01", ">= 2026-05-02"]"#, "{}", "gap x [2026-05-01..2026-05-02)");
    // A table that falls into too many pieces says so.
    let names: Vec<String> = (0..8).map(|n| format!("c{n}")).collect();
    let row = |at: usize| {
        let cells =
            names.iter().enumerate().map(|(n, name)| (name.clone(), Value::from(i64::try_from(at * n).unwrap())));
        Value::object([("when", Value::object(cells)), ("then", Value::from(1_i64))])
    };
    let inputs = Value::object(names.iter().map(|name| (name.clone(), Value::Null)));
    let rows = Value::List((0..60).map(row).collect());
    let large = Value::object([("inputs", inputs), ("rows", rows), ("hit", Value::from("collect"))]);
    let found = Table::read(&large).unwrap().sweep();
    assert!(found.whole || found.idle.is_empty());
}

/// The reference case of decision tables; its conditions are in another language, here they are in ours.
#[test]
fn the_reference_table_decides_the_same() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/reference-cases.json"));
    let cases = json(text);
    let case = cases.get("44_rules").unwrap();
    let (input, expected) = (case.get("input").unwrap(), case.get("expected").unwrap());
    let list = |value: &Value, key: &str| value.get(key).unwrap().as_list().unwrap().to_vec();

    let ours = [
        "input.order.total > 100.0 && input.customer.tags.includes('vip')",
        "input.items.every(i => i.qty > 0)",
        "input.items.filter(i => i.sku.startsWith('A')).length",
        "input.order.note ?? 'none'",
        "input.order.total + 1.0 > 2.0",
        "input.name.length >= 3 && /^[A-Z]/.test(input.name)",
    ];
    let conditions = list(input, "cel");
    assert_eq!(conditions.len(), ours.len());
    for ((condition, ours), expected) in conditions.iter().zip(ours).zip(list(expected, "cel")) {
        let template = Template::parse_text(&format!("{{{{ {ours} }}}}")).unwrap();
        let got = template.eval(&Input(condition.as_list().unwrap()[1].clone()));
        assert_eq!(got.map_or(Value::from("error"), |it| it.value), expected, "{ours}");
    }

    // The same rows under several policies; `then` is the name, or the number that is added up.
    let table = |hit: &str, then: &str| {
        let rows = list(input, "table").into_iter().map(|row| {
            Value::object([("when", row.get("when").unwrap().clone()), ("then", row.get(then).unwrap().clone())])
        });
        let inputs = Value::object([("total", "{{ input.total }}"), ("country", "{{ input.country }}")]);
        Value::object([("inputs", inputs), ("hit", Value::from(hit)), ("rows", Value::List(rows.collect()))])
    };
    for (given, expected) in list(input, "inputs").into_iter().zip(list(expected, "table")) {
        let hits = Table::read(&table("collect", "n")).unwrap().matching(given.as_map().unwrap()).unwrap();
        let wanted: Vec<usize> =
            list(&expected, "hits").iter().map(|hit| usize::try_from(hit.as_int().unwrap()).unwrap()).collect();
        assert_eq!(hits, wanted, "{}", given.to_json());
        let unique = Table::read(&table("unique", "then")).unwrap();
        let said = match unique.taken(&hits, given.as_map().unwrap()) {
            Err(Undecided::Several { .. }) => "violation".to_owned(),
            Ok(None) => "no_match".to_owned(),
            _ => decide(&table("unique", "then"), &given.to_json()).split('"').nth(1).unwrap().to_owned(),
        };
        assert_eq!(expected.get("unique").unwrap().as_str(), Some(said.as_str()));
        let value = |hit: &str, then: &str| {
            Rules::compile(&table(hit, then), &[]).unwrap().decide(&Input(given.clone())).unwrap().value
        };
        assert_eq!(&value("first", "then"), expected.get("first").unwrap());
        assert_eq!(&value("sum", "n"), expected.get("collect_sum").unwrap());
    }

    let interval = |pair: &Value| {
        let ends = pair.as_list().unwrap();
        format!("[{}..{})", ends[0].to_json(), ends[1].to_json())
    };
    let cells: Vec<Value> = list(input, "intervals").iter().map(|pair| Value::from(interval(pair))).collect();
    let domain = Value::object([("domain", Value::object([("x", interval(input.get("domain").unwrap()))]))]);
    let found = Table::read(&column(&Value::List(cells).to_json(), &domain.to_json())).unwrap().sweep();
    let regions =
        |key: &str| list(expected, key).iter().map(|pair| format!("x {}", interval(pair))).collect::<Vec<_>>();
    assert_eq!(found.gaps.into_iter().map(|gap| gap.0).collect::<Vec<_>>(), regions("gaps"));
    assert_eq!(found.overlaps.into_iter().map(|it| it.region.0).collect::<Vec<_>>(), regions("overlaps"));
    assert!(found.whole);
}

fn a_cell() -> impl Strategy<Value = String> {
    let number = 0_i32..6;
    prop_oneof![
        2 => Just("-".to_owned()),
        2 => number.clone().prop_map(|n| format!("= {n}")),
        1 => number.clone().prop_map(|n| format!("!= {n}")),
        3 => (prop::sample::select(&["<", "<=", ">", ">="][..]), number.clone()).prop_map(|(sign, n)| format!("{sign} {n}")),
        3 => (prop::sample::select(&["[", "("][..]), number.clone(), 0_i32..4, prop::sample::select(&["]", ")"][..]))
            .prop_map(|(open, low, more, close)| format!("{open}{low}..{}{close}", low + more + 1)),
        1 => (number.clone(), number).prop_map(|(one, two)| format!("not({one}, > {two})")),
    ]
}

proptest! {
    /// Wherever the sweep finds nothing, deciding finds nothing either: tried at every end and between.
    #[test]
    fn the_sweep_agrees_with_deciding(cells in prop::collection::vec((a_cell(), a_cell()), 1..5)) {
        let rows = cells.iter().map(|(x, y)| {
            let when = Value::object([("x", x.as_str()), ("y", y.as_str())]);
            Value::object([("when", when), ("then", Value::from(1_i64))])
        });
        let inputs = Value::object([("x", Value::Null), ("y", Value::Null)]);
        let table = Value::object([("inputs", inputs), ("rows", Value::List(rows.collect()))]);
        let table = Table::read(&table).unwrap();
        let found = table.sweep();
        let (mut gap, mut overlap, mut taken) = (false, false, vec![false; cells.len()]);
        for x in -1..24 {
            for y in -1..24 {
                let half = |n: i32| Value::Dec(format!("{}.{}", n / 2, if n % 2 == 0 { 0 } else { 5 }));
                let at = |n: i32| if n < 0 { Value::from(-1_i64) } else { half(n) };
                let given: Map = [("x".to_owned(), at(x)), ("y".to_owned(), at(y))].into_iter().collect();
                let hits = table.matching(&given).unwrap();
                gap |= hits.is_empty();
                overlap |= hits.len() > 1;
                hits.iter().for_each(|row| taken[*row] = true);
            }
        }
        prop_assert!(found.whole);
        prop_assert_eq!(gap, !found.gaps.is_empty(), "{:?}", found.gaps);
        prop_assert_eq!(overlap, !found.overlaps.is_empty(), "{:?}", found.overlaps);
        let idle: Vec<usize> = taken.iter().enumerate().filter(|(_, taken)| !**taken).map(|(row, _)| row).collect();
        prop_assert_eq!(idle, found.idle);
    }

    #[test]
    fn no_cell_panics(text in "\\PC{0,12}", sign in prop::sample::select(&["", "<", "[", "not(", "= "][..])) {
        let cell = Value::from(format!("{sign}{text}").as_str());
        let _ = Table::read(&column(&Value::List(vec![cell]).to_json(), "{}")).map(|table| table.sweep());
    }
}
