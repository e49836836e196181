//! No expression of at most 4 KiB over at most 64 KiB of input holds more than 8 MiB or takes more than its steps:
//! what it holds is counted by the allocator of this binary, so this is its only test.
//!
//! Cases are those that were found or feared, and random ones that multiply whatever can be multiplied.
//! `AURA_BUDGET_CASES` says how many random ones (100); `--nocapture` shows what came nearest to the limits. Time
//! is shown, not asserted: 50 ms are meant for a release build on a quiet machine.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its input must stop")]

use std::time::{Duration, Instant};

use aura_protocol::Value;
use aura_protocol::expr::{Scope, Template};
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const HELD_MAX: usize = 8 * 1024 * 1024;
const STEPS_MAX: u64 = 250_000;
const EXPRESSION_MAX: usize = 4 * 1024;
const INPUT_MAX: usize = 64 * 1024;

/// `input` is one large value, `trigger` another.
struct Inputs {
    input: Value,
    trigger: Value,
}

impl Scope for Inputs {
    fn root(&self, name: &str) -> Option<&Value> {
        match name {
            "input" => Some(&self.input),
            "trigger" => Some(&self.trigger),
            _ => None,
        }
    }
    fn step(&self, _id: &str) -> Option<&Value> {
        None
    }
    fn now_ms(&self) -> i64 {
        1_767_323_045_678
    }
    fn entropy(&self, n: u32) -> [u8; 16] {
        [n.to_le_bytes()[0]; 16]
    }
}

/// Inputs of at most 64 KiB together, each of a shape that some function does not like.
fn inputs() -> Vec<(&'static str, Inputs)> {
    let row = |n: usize| {
        Value::object([
            ("id", Value::from(i64::try_from(n).unwrap())),
            ("name", Value::from(format!("name {n}, <b>\"quoted\"</b> & äöü").as_str())),
            ("price", Value::Dec(format!("{n}.10"))),
            ("tags", Value::List(vec![Value::from("a"), Value::from("b")])),
        ])
    };
    let rows = Value::List((0..250).map(row).collect());
    let text = |part: &str, bytes: usize| Value::from(part.repeat(bytes / part.len()).as_str());
    let mut deep = Value::from(1_i64);
    for _ in 0..100 {
        deep = Value::List(vec![deep]);
    }
    let with = |rows: Value, text: Value| Value::object([("rows", rows), ("text", text), ("deep", deep.clone())]);
    let small = |text: &str| with(rows.clone(), Value::from(text));
    let ones = Value::List(vec![Value::from(1_i64); 31_000]);
    let texts = Value::List(vec![Value::from(""); 20_000]);
    let empty = || Value::object([("rows", Value::List(Vec::new()))]);
    vec![
        ("rows", Inputs { input: small("a b"), trigger: Value::from("x") }),
        ("ones", Inputs { input: with(ones, Value::from("x")), trigger: empty() }),
        ("empty texts", Inputs { input: with(texts, Value::from("x")), trigger: empty() }),
        (
            "a text",
            Inputs { input: with(Value::List(vec![Value::from(1_i64)]), text("ab ", 60_000)), trigger: empty() },
        ),
        ("a word", Inputs { input: with(rows.clone(), text("a", 30_000)), trigger: empty() }),
        ("signs", Inputs { input: with(rows.clone(), text("&<\"'%,\n", 30_000)), trigger: empty() }),
        ("letters", Inputs { input: with(rows.clone(), text("äß😀ſ", 30_000)), trigger: empty() }),
        (
            "digits",
            Inputs {
                input: with(rows.clone(), text("7", 20_000)),
                trigger: Value::Dec(format!("0.{}", "7".repeat(20_000))),
            },
        ),
        (
            "json",
            Inputs {
                input: with(Value::List(Vec::new()), text("[[],{\"a\":[0]}],", 24_000)),
                trigger: Value::from(format!("[{}]", vec!["[]"; 10_000].join(",")).as_str()),
            },
        ),
    ]
}

/// What was found or feared.
fn known() -> Vec<String> {
    let twenty = "'xxxxxxxxxxxxxxxxxxxx'.split('')";
    let mut known: Vec<String> = [
        "input.rows",
        "[input, trigger]",
        "range(65000)",
        "range(16000).map(x => [x])",
        "range(16000).map(x => ({a: x}))",
        "range(16000).map(x => ({a: {b: x}}))",
        "range(30000).map(x => `${x}`)",
        "range(30000).map(x => String(x))",
        "range(30000).map(x => now())",
        "range(30000).map(x => uuid())",
        "range(30000).map(x => random())",
        "range(30000).map(x => Date.now())",
        "range(9000).map(x => date(x, 's').plus({days: x}).format('yyyy-MM-dd'))",
        "range(9000).map(x => date('2024-05-01T10:00', 'Europe/Berlin').startOf('week'))",
        "range(3000).map(x => date('2024-05-01').plusBusinessDays(80))",
        "range(65000).map(x => 'x')",
        "range(65000).map(x => null)",
        "range(60000).chunk(1)",
        "range(30000).zip(range(30000))",
        "range(30000).groupBy(x => String(x))",
        "range(30000).keyBy(x => String(x))",
        "range(30000).countBy(x => String(x))",
        "range(30000).partition(x => x > 5)",
        "range(30000).unique()",
        "range(30000).unique(x => String(x))",
        "range(30000).sort((a, b) => b - a)",
        "range(30000).sortBy(x => -x)",
        "range(30000).sortBy(x => String(x))",
        "range(30000).reverse().concat(range(30000))",
        "range(30000).flatMap(x => [x])",
        "range(30000).map(x => [x]).flat()",
        "range(30000).map(x => x * 1.1)",
        "range(5000).reduce((a, x) => [...a, x], [])",
        "range(5000).reduce((a, x) => ({...a, [String(x)]: x}), {})",
        "range(190).reduce((a, x) => [a], 1)",
        "range(190).reduce((a, x) => ({a}), 1)",
        "range(5000).reduce((a, x) => a + 'x', '')",
        "range(1000).reduce((a, x) => a * 1.0000001, 1.0000001)",
        "input.rows.map(r => input.rows.map(s => 1))",
        "input.rows.map(r => input.rows)",
        "input.rows.map(r => ({...r, x: 1}))",
        "input.rows.map(r => Object.entries(r))",
        "input.rows.map(r => json(r))",
        "input.rows.map(r => r.name.toUpperCase().split(''))",
        "input.rows.map(r => r.name.words())",
        "input.rows.joinBy(input.rows, 'id')",
        "input.rows.leftJoinBy(input.rows, 'name')",
        "input.rows.union(input.rows)",
        "input.rows.intersection(input.rows)",
        "input.rows.pluck('id')",
        "input.rows.csvRow()",
        "json(input)",
        "JSON.stringify(input, null, 10)",
        "JSON.parse(json(input))",
        "JSON.parse(trigger)",
        "JSON.parse('[' + input.text + '0]')",
        "deepMerge(input, trigger, input)",
        "input.text.split('')",
        "input.text.split(' ')",
        "input.text.split(/ /)",
        "input.text.split(/b?/)",
        "input.text.lines()",
        "input.text.words()",
        "input.text.match(/./g)",
        "input.text.matchAll(/(.)(.)?()()()()/g)",
        "input.text.matchAll(/()/g)",
        "input.text.replace(/./g, '$&$&')",
        "input.text.replace(/(.)/g, (m, a) => a + a)",
        "input.text.replaceAll('a', 'aaaaaaaaaaaaaaaa')",
        "input.text.replaceAll('', '-')",
        "input.text.toUpperCase()",
        "input.text.slug()",
        "input.text.toTitleCase()",
        "input.text.toSnakeCase()",
        "input.text.collapse()",
        "input.text.htmlEscape()",
        "input.text.htmlUnescape()",
        "input.text.removeTags()",
        "input.text.extractEmail()",
        "input.text.extractUrl()",
        "input.text.truncate(40000)",
        "input.text.urlDecode()",
        "encodeURIComponent(input.text)",
        "decodeURIComponent(input.text.replaceAll('%', '%25'))",
        "base64Encode(input.text)",
        "hexEncode(input.text)",
        "input.text.sha512()",
        "Array.from(input.text)",
        "Array.from({length: 65000}, (x, i) => [i])",
        "input.text.padStart(1000000)",
        "input.text.repeat(17)",
        "'ab'.repeat(524288)",
        "'ab'.repeat(500000).toUpperCase()",
        "'\u{df}'.repeat(200000).toUpperCase()",
        "'x'.repeat(400000).split('').length",
        "Math.pow(99999, 1000)",
        "Math.pow(1.5, 1000)",
        "trigger * 2",
        "[trigger].sum()",
        "parseInt(input.text)",
        "Number(input.text)",
        "input.rows.map(r => Number(r.price)).sum()",
        "input.rows.map(r => /(a|b|ab)*c/.test(input.text))",
        "/(?:[ab ]*a[ab ]{200})x/.test(input.text)",
        "/(?:[ab ]*a[ab ]{40}){5}x/.test(input.text)",
        "/((a?){50}){20}b/.test(input.text)",
        "/(\\w+\\s?)+x/.test(input.text)",
        "/(\\w{1,40} ?){1,20}x/.test(input.text)",
        "input.text.replace(/a.*zzz|./g, 'b')",
        "input.text.replace(/a(.*zzz)?/g, 'b')",
        "input.text.matchAll(/a(.*zzz)?/gs).length",
        "input.text.split(/a(?:[^]*zzz)?/)",
        "input.text.match(/(a)(b)( )(a)(b)( )(a)(b)( )/g)",
        "input.text.extractDomain()",
        "formatNumber(1)",
        "(1e20).formatNumber(20)",
        "1e28 * 10",
        "range(20000).map(x => (x / 7).toFixed(28))",
        "range(20000).map(x => (x / 7).round(28))",
        "range(65000).sum()",
        "range(65000).avg()",
        "range(65000).median()",
        "range(65000).map(x => -x).max()",
        "input.deep.flat().flat()",
        "json(input.deep)",
        "typeOf(input)",
        "input.text.hmac(input.text)",
        "input.rows.every(r => input.rows == [...input.rows])",
        "input.rows.map(r => input.text.includes('zzz'))",
        "input.rows.map(r => input.text.length)",
        "input.rows.map(r => input.text.at(-1))",
        "input.rows.map(r => input.text.slice(1))",
        "input.rows.map(r => input.text == trigger)",
        "input.rows.indexOf({})",
        "input.rows.map(r => input.rows.includes(7))",
        "input.rows.map(r => input.rows.find(s => s.id == r))",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect();
    for grow in
        ["a + a", "[a, a]", "a.concat(a)", "`${a}${a}`", "({a: a, b: a})", "json([a, a])", "a * a", "[...a, ...a]"]
    {
        for start in ["'x'", "1", "[1]", "{}", "[[], [], []]"] {
            known.push(format!("{twenty}.reduce((a, x) => {grow}, {start})"));
        }
    }
    for inner in ["a + b + c", "[a, b]", "({a, b})", "json([a, b, c])", "now()"] {
        known.push(format!("{twenty}.map(a => {twenty}.map(b => {twenty}.map(c => {inner})))"));
        known.push(format!("{twenty}.flatMap(a => {twenty}.flatMap(b => {twenty}.map(c => {inner})))"));
    }
    // As many as fit: regular expressions, literals, calls, nests.
    let fill = |part: &str| format!("[{}]", vec![part; 4000 / (part.len() + 1)].join(","));
    for part in [
        "/a/.test('a')",
        "/\\w{30}/.test('a')",
        "/[^a]\\p{L}{20}/i.test('a')",
        "/(\\w+){9}/.test('ab')",
        "1",
        "''",
        "[]",
        "{}",
        "{a:1}",
        "now()",
        "uuid()",
        "input",
        "`${1}`",
        "range(9)",
        "1e28",
        "x => x",
    ] {
        known.push(fill(part));
    }
    known.push(format!("{}1{}", "[".repeat(40), "]".repeat(40)));
    known.push(vec!["input.text"; 300].join(" + "));
    known.push(format!("`{}`", "${json(input.rows)}".repeat(190)));
    known
}

/// Expressions that multiply: a source, then steps that make more of it, nested in each other.
fn random() -> impl Strategy<Value = String> {
    let list = prop::sample::select(
        &[
            "input.rows",
            "range(3000)",
            "range(40)",
            "input.text.split('')",
            "input.text.words()",
            "[1, 2.5, 3]",
            "Object.entries(input)",
            "Array.from({length: 500})",
            "'a-b-c'.split('-')",
        ][..],
    )
    .prop_map(str::to_owned);
    list.prop_recursive(5, 24, 3, |inner| {
        let value = prop::sample::select(
            &["x", "[x]", "[x, x]", "({x, y: x})", "json(x)", "String(i)", "`${i}-${i}`", "now()", "date(i, 's')", "i * 1.5", "input", "input.text", "i % 7", "-i", "uuid()", "'ab'.repeat(i % 50)", "input.text.slice(i, i + 40)", "/a+/.test(input.text)", "input.text.replace(/a/g, 'bb')", "{...input}", "[...input.rows, x]"][..],
        );
        let value = prop_oneof![3 => value.prop_map(str::to_owned), 2 => inner.clone()];
        let plain = prop::sample::select(
            &[".reverse()", ".flat()", ".unique()", ".slice(1)", ".concat(range(900))", ".chunk(2)", ".zip(range(500))", ".compact()", ".union(range(50))", ".take(2000)", ".map(x => json(x))", ".map((x, i) => i)", ".sortBy(x => json(x))", ".groupBy(x => json(x)).entries()", ".keyBy(x => json(x)).values()", ".countBy(x => json(x)).keys()", ".map((x, i) => i).sort((a, b) => b - a)", ".map((x, i) => i).sum()", ".map(x => json(x)).join('-').split('')", ".map(x => json(x)).join('-').words()", ".toJsonString().parseJson()"][..],
        );
        prop_oneof![
            4 => (inner.clone(), value.clone()).prop_map(|(list, value)| format!("{list}.map((x, i) => {value})")),
            2 => (inner.clone(), value.clone()).prop_map(|(list, value)| format!("{list}.flatMap((x, i) => [{value}])")),
            1 => (inner.clone(), value).prop_map(|(list, value)| format!("{list}.reduce((x, y, i) => {value}, 1)")),
            4 => (inner.clone(), plain).prop_map(|(list, plain)| format!("{list}{plain}")),
            1 => (inner.clone(), inner).prop_map(|(one, two)| format!("[...{one}, ...{two}]")),
        ]
    })
}

#[derive(Default)]
struct Nearest {
    held: Vec<(usize, String)>,
    steps: Vec<(u64, String)>,
    time: Vec<(Duration, String)>,
    refused: usize,
    given: usize,
}

impl Nearest {
    fn cut(&mut self) {
        self.held.sort_by_key(|it| std::cmp::Reverse(it.0));
        self.held.truncate(8);
        self.steps.sort_by_key(|it| std::cmp::Reverse(it.0));
        self.steps.truncate(3);
        self.time.sort_by_key(|it| std::cmp::Reverse(it.0));
        self.time.truncate(12);
    }
}

fn short(text: &str) -> String {
    text.chars().take(110).collect()
}

/// Reads and evaluates one expression, counting what it holds beyond what was held before.
fn measure(expression: &str, name: &str, inputs: &Inputs, nearest: &mut Nearest, wrong: &mut Vec<String>) {
    assert!(expression.len() <= EXPRESSION_MAX, "{}: {}", expression.len(), short(expression));
    let source = format!("{{{{ {expression} }}}}");
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let begin = Instant::now();
    let cost = match Template::parse_text(&source) {
        Err(_) => None,
        Ok(template) => {
            let (outcome, cost) = template.eval_with_cost(inputs);
            if outcome.is_ok() {
                nearest.given += 1;
            } else {
                nearest.refused += 1;
            }
            Some(cost)
        }
    };
    let took = begin.elapsed();
    let held = HEAP.peak_usage().saturating_sub(before);
    let what = format!("{} over {name}", short(expression));
    let steps = cost.map_or(0, |cost| cost.steps);
    if held > HELD_MAX {
        wrong.push(format!("{held} bytes, {steps} steps: {what}"));
    }
    assert!(steps <= STEPS_MAX, "{steps} steps: {what}");
    nearest.held.push((held, format!("{steps} steps {what}")));
    nearest.steps.push((steps, what.clone()));
    nearest.time.push((took, format!("{steps} steps {what}")));
    nearest.cut();
}

#[test]
fn no_expression_holds_or_takes_more_than_it_may() {
    let shapes = inputs();
    for (name, inputs) in &shapes {
        let bytes = inputs.input.to_json().len() + inputs.trigger.to_json().len();
        assert!(bytes <= INPUT_MAX, "{name}: {bytes}");
    }
    let (mut nearest, mut wrong) = (Nearest::default(), Vec::new());
    for expression in known() {
        for (name, inputs) in &shapes {
            if *name == "rows" || expression.contains("input.") || expression.contains("trigger") {
                measure(&expression, name, inputs, &mut nearest, &mut wrong);
            }
        }
    }
    let cases = std::env::var("AURA_BUDGET_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100_u32);
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let expressions = random();
    for number in 0..cases {
        let expression = expressions.new_tree(&mut runner).unwrap().current();
        if expression.len() <= EXPRESSION_MAX {
            let (name, inputs) = &shapes[usize::try_from(number).unwrap() % shapes.len()];
            measure(&expression, name, inputs, &mut nearest, &mut wrong);
        }
    }
    println!("{} gave a value, {} an error", nearest.given, nearest.refused);
    for (held, what) in &nearest.held {
        println!("{:>9} bytes  {what}", held);
    }
    for (steps, what) in &nearest.steps {
        println!("{steps:>9} steps  {what}");
    }
    for (took, what) in &nearest.time {
        println!("{:>9.1} ms     {what}", took.as_secs_f64() * 1000.0);
    }
    assert!(nearest.given > 100 && nearest.refused > 50);
    assert!(wrong.is_empty(), "{} hold too much:\n{}", wrong.len(), wrong.join("\n"));
}
