//! Nothing grows or runs beyond its budget, and no text makes the parser or the evaluator panic.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Fixture, outcome, run};
use crate::expr::{Scope, Template};
use crate::value::Value;

/// A scope with a large payload.
struct Large(Value);

impl Scope for Large {
    fn root(&self, _name: &str) -> Option<&Value> {
        Some(&self.0)
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

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    assert!(start.elapsed() < Duration::from_secs(8), "{what} took {:?}", start.elapsed());
    done
}

const LIST: &str = "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'.split('')";

#[test]
fn bombs_are_refused_quickly() {
    let bombs = [
        "'x'.repeat(1000000000)".to_owned(),
        "'x'.repeat(100000000000000000000000000)".to_owned(),
        "''.repeat(100000000000000000000000000) + 'x'.repeat(1048577)".to_owned(),
        "'x'.padStart(1000000000)".to_owned(),
        "'x'.padEnd(100000000000000000000, 'ab')".to_owned(),
        "'x'.repeat(50000).split('').join('y'.repeat(50000))".to_owned(),
        "'x'.repeat(1000).replaceAll('x', 'y'.repeat(10000))".to_owned(),
        "'x'.repeat(1000).replace(/x/g, 'y'.repeat(10000))".to_owned(),
        "'x'.repeat(1000).replace(/x/g, m => 'y'.repeat(10000))".to_owned(),
        "'x'.repeat(1000).replaceAll('', 'y'.repeat(10000))".to_owned(),
        format!("{LIST}.flatMap(a => {LIST}.flatMap(b => {LIST}.flatMap(c => {LIST}.map(d => a + b + c + d))))"),
        format!("{LIST}.map(a => {LIST}.map(b => {LIST}.map(c => {LIST}.map(d => 1))))"),
        format!("{LIST}.reduce((a, x) => a + a, 'x')"),
        format!("{LIST}.reduce((a, x) => [a, a], 1)"),
        format!("{LIST}.concat({LIST}).reduce((a, x) => [a], 1)"),
        format!("{LIST}.reduce((a, x) => a.concat(a), [1, 2])"),
        format!("{LIST}.reduce((a, x) => a * a, 99999)"),
        format!("{LIST}.reduce((a, x) => json([a, a]), 'x')"),
        format!("{LIST}.reduce((a, x) => `${{a}}${{a}}`, 'x')"),
        format!("{LIST}.reduce((a, x) => ({{a: a, b: a}}), 1)"),
        format!("{LIST}.reduce((a, x) => encodeURIComponent(a + a), '%')"),
        format!("{LIST}.reduce((a, x) => base64Encode(a + a), 'x')"),
        format!("{LIST}.reduce((a, x) => hexEncode(a), 'x')"),
        format!("{LIST}.reduce((a, x) => (a + a).htmlEscape(), '&')"),
        format!("{LIST}.reduce((a, x) => [a, a].csvRow(), '\"')"),
        format!("{LIST}.reduce((a, x) => a.union(a.map(y => [y])), [1, 2, 3])"),
        format!("{LIST}.reduce((a, x) => ({{a}}).mapValues(v => [v, v]), 1)"),
        "range(100000).map(x => range(100))".to_owned(),
        "Math.pow(10, 1000)".to_owned(),
        "range(1000).union(range(1000)).length".to_owned(),
        "range(300).map(x => date('2000-01-01').plusBusinessDays(5000))".to_owned(),
        "'@'.repeat(200000).extractEmail()".to_owned(),
        "'x'.repeat(500000).hmac('k').length + 'x'.repeat(900000).sha512().length".to_owned(),
    ];
    for bomb in &bombs {
        let result = timed(bomb, || outcome(bomb));
        let limits = ["1 MiB", "5 MiB", "steps", "nested deeper", "more digits"];
        let limited = result.starts_with("! ") && limits.iter().any(|limit| result.contains(limit));
        let short: String = result.chars().take(300).collect();
        assert!(limited, "{bomb}\n   gave {short}");
    }
}

#[test]
fn large_inputs_pass_through_but_do_not_multiply() {
    let row = Value::object([("name", Value::from("x".repeat(90))), ("n", Value::from(1))]);
    let scope = Large(Value::object([
        ("rows", Value::List(vec![row; 20_000])),
        ("text", Value::from("word ".repeat(200_000))),
        ("digits", Value::Dec(format!("0.{}", "7".repeat(1_000_000)))),
    ]));
    let eval =
        |text: &str| timed(text, || Template::parse_text(text).unwrap().eval(&scope).map(|evaluated| evaluated.value));
    assert_eq!(eval("{{ trigger }}").unwrap(), scope.0);
    assert_eq!(eval("{{ trigger.rows.length }}").unwrap(), Value::from(20_000));
    assert_eq!(eval("{{ trigger.rows.map(r => r.n).sum() }}").unwrap(), Value::from(20_000));
    assert_eq!(eval("{{ trigger.rows.slice(0, 2).length }}").unwrap(), Value::from(2));
    assert_eq!(
        eval("{{ trigger.text.split(' ').slice(0, 2).length ?? 0 }}").unwrap_err().message,
        "the expression makes too many texts, lists and objects (more than 5 MiB with them)"
    );
    for refused in [
        "{{ trigger.rows.map(r => trigger) }}",
        "{{ [trigger, trigger] }}",
        "{{ trigger.rows.map(r => r.name) }}",
        "{{ trigger.rows.map(r => trigger.text.length) }}",
        "{{ trigger.rows.filter(r => trigger.text.includes('zzz')) }}",
        "{{ trigger.rows.filter(r => trigger.text.slice(1, 2) == 'x') }}",
        "{{ trigger.rows.every(r => trigger.rows == [...trigger.rows]) }}",
        "{{ trigger.rows.map(r => trigger.rows.includes(7)) }}",
        "{{ trigger.rows.map(r => /x.*y.*z/.test(trigger.text)) }}",
        "{{ trigger.text.replace(/w.*zzz|./g, 'b') }}",
        "{{ trigger.rows.unique(r => [r, now()]) }}",
        "{{ trigger.rows.sort((a, b) => 0).length }}",
        "{{ json(trigger) }}",
        "{{ trigger.rows.filter(r => r.n == trigger.digits) }}",
        "{{ trigger.rows.filter(r => [r.n].includes(trigger.digits)) }}",
        "{{ trigger.rows.filter(r => [r.n, trigger.digits].sort().length == 1) }}",
    ] {
        let message =
            eval(refused).map(|value| value.to_json().chars().take(80).collect::<String>()).unwrap_err().message;
        assert!(message.contains(" MiB") || message.contains("steps"), "{refused}: {message}");
    }
}

#[test]
fn nesting_is_refused_not_overflowed() {
    let deep = |open: &str, close: &str| format!("{{{{ {}1{} }}}}", open.repeat(20_000), close.repeat(20_000));
    for text in [
        deep("(", ")"),
        deep("[", "]"),
        deep("{a:", "}"),
        deep("!", ""),
        deep("- ", ""),
        deep("1 ? ", ": 1"),
        deep("`${", "}`"),
        deep("json(", ")"),
        deep("1 + ", ""),
        deep("1 ?? ", ""),
        deep("[1].map(x => ", ")"),
    ] {
        let message = timed("nesting", || run(&text).unwrap_err().message);
        assert_eq!(message, "the expression is nested too deeply", "{}", &text[..40]);
    }
    for text in [
        format!("{{{{ vars{} }}}}", ".x".repeat(20_000)),
        format!("{{{{ 'a'{} }}}}", ".trim()".repeat(20_000)),
        format!("{{{{ 1{} }}}}", " + 1".repeat(20_000)),
        format!("{{{{ vars{} }}}}", "[0]".repeat(20_000)),
    ] {
        assert_eq!(run(&text).unwrap_err().message, "the expression is nested too deeply");
    }
    assert_eq!(outcome(&format!("1{}", " + 1".repeat(90))), "91");
    assert_eq!(outcome(&format!("{}1{}", "(".repeat(40), ")".repeat(40))), "1");
    // The deepest that the parser takes is evaluated on a thread's ordinary stack.
    let lambdas = format!("{}a{}", "[1].map(a => ".repeat(30), ")".repeat(30));
    assert_eq!(outcome(&lambdas), format!("{}1{}", "[".repeat(30), "]".repeat(30)));
    let objects = format!("{}1{}", "{a: [...[".repeat(15), "]]}".repeat(15));
    assert!(outcome(&objects).starts_with("{\"a\":[{\"a\":["), "{}", outcome(&objects));
    let calls = format!("{}'x'{}", "'x'.concat(".repeat(45), ")".repeat(45));
    assert_eq!(outcome(&calls), format!("\"{}\"", "x".repeat(46)));
    let mut value = Value::from("{{ 1 }}");
    for _ in 0..80 {
        value = Value::List(vec![value]);
    }
    assert!(Template::parse(&value).unwrap_err().message.contains("nested deeper"));
}

/// Pieces that make most random texts meaningful.
fn piece() -> impl Strategy<Value = String> {
    let words = "trigger.body.items trigger.body.note trigger.body.id vars.name steps.fetch.output.list steps.x?.output \
        item index .map( .filter( .reduce( .sort( .join( .replace( .split( .slice( .length .trim() .toFixed( .at( x => (a, b) => x a b \
        ( ) [ ] { } , : ? ?. ?? . ... + - * / % == != < <= > >= && || ! ' \" ` ${ } 1 0 2.5 1e9 -3 'ab' \"q\" `t${1}` /a+/g /b/ \
        true false null json( Number( date( now() uuid() Math.max( Object.keys( {a:1} [1,2,3] }} {{ .repeat( .padStart( 99999999 \
        .plus('1d') .format('yyyy') .groupBy( .unique( .chunk( .sum() .first() parseInt( isEmpty( \\ é 😀";
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    prop_oneof![8 => prop::sample::select(words), 1 => any::<char>().prop_map(String::from), 1 => Just(" ".to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = run(&text);
        let _ = run(&format!("{{{{{text}}}}}"));
    }

    #[test]
    fn no_mixture_panics_or_grows(pieces in prop::collection::vec(piece(), 0..24), glue in prop_oneof![Just(""), Just(" ")]) {
        let text = format!("{{{{ {} }}}}", pieces.join(glue));
        match Template::parse_text(&text) {
            Err(error) => prop_assert!(error.offset <= text.len()),
            Ok(template) => match template.eval(&Fixture::new()) {
                Err(error) => prop_assert!(error.offset <= text.len()),
                Ok(evaluated) => {
                    prop_assert!(evaluated.value.weight() <= 2 * 1024 * 1024);
                    let json = evaluated.value.to_json();
                    prop_assert_eq!(Value::from_json(json.as_bytes()).unwrap(), evaluated.value);
                }
            },
        }
    }

    #[test]
    fn integers_agree_with_rust(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000, c in 1_i64..1000) {
        let check = |expression: String, expected: i64| assert_eq!(outcome(&expression), expected.to_string(), "{expression}");
        check(format!("({a}) + ({b}) * {c}"), a + b * c);
        check(format!("(({a}) - ({b})) % {c}"), (a - b) % c);
        assert_eq!(outcome(&format!("({a}) < ({b})")), (a < b).to_string());
    }

    #[test]
    fn literals_read_back(value in prop::collection::vec(("[a-z]{1,5}", any::<i64>(), "\\PC{0,10}"), 0..5)) {
        let value = Value::List(value.into_iter().map(|(key, number, text)| {
            Value::object([(key, Value::from(number)), ("t".to_owned(), Value::from(text))])
        }).collect());
        let json = value.to_json();
        prop_assert_eq!(run(&format!("{{{{ {json} }}}}")).unwrap().value.to_json(), json.clone());
        let again = format!("{{{{ JSON.parse(json({json})) }}}}");
        prop_assert_eq!(run(&again).unwrap().value, value);
    }

    #[test]
    fn lists_agree_with_rust(numbers in prop::collection::vec(-100_i64..100, 0..20)) {
        let list = format!("[{}]", numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let text = |numbers: &[i64]| format!("[{}]", numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
        prop_assert_eq!(outcome(&format!("{list}.sort()")), text(&sorted));
        prop_assert_eq!(outcome(&format!("{list}.sort((a, b) => a - b)")), text(&sorted));
        prop_assert_eq!(outcome(&format!("{list}.sum()")), numbers.iter().sum::<i64>().to_string());
        sorted.reverse();
        prop_assert_eq!(outcome(&format!("{list}.sortBy(x => -x)")), text(&sorted));
        let even: Vec<i64> = numbers.iter().copied().filter(|number| number % 2 == 0).collect();
        prop_assert_eq!(outcome(&format!("{list}.filter(x => x % 2 == 0)")), text(&even));
    }
}
