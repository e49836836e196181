//! Every function by its example, the page that is made from them, and the edges that examples do not show.

use super::{check_all, outcome};
use crate::expr::functions::{Here, IN_USE, groups, page};

#[test]
fn every_example_gives_what_it_says() {
    let table: Vec<(&str, &str)> =
        groups().iter().flat_map(|(_, functions)| functions.iter().map(|function| function.example)).collect();
    assert!(table.len() > 180);
    check_all(&table);
}

#[test]
fn the_page_is_made_from_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/expressions.md");
    if std::env::var_os("AURA_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs")).unwrap();
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page(), "docs/expressions.md is not what the table says; run this test with AURA_WRITE_DOCS=1");
}

#[test]
fn the_hundred_names_in_use_have_a_spelling_or_a_refusal() {
    // As counted in public automations, the most used first; `·` stands for a space.
    let counted = "$fromAI JSON.stringify join replace map format split length new·Date toJsonString trim slice toISO \
        toISOString minus Object.keys toLowerCase toFormat match toString substring replaceAll $item \
        JSON.parse filter toDateTime includes Math.floor DateTime.fromISO toLocaleString plus parseJson \
        Date.now encodeURIComponent toUpperCase setZone Number $if find base64Encode Array.isArray String \
        getTime DateTime.now Math.random toFixed toNumber $items isEmpty $ifEmpty Math.round \
        DateTime.fromFormat indexOf pop last parseFloat diff $jmespath parseInt Object.values toMillis \
        startsWith first getDate toUTC padStart keys Boolean reduce some startOf Object.entries encodeURI \
        Math.sqrt getFullYear flatMap urlEncode toLocaleDateString values toSeconds sort substr hasOwnProperty \
        Math.min Math.max extractDomain setDate charAt Object.assign endOf diffTo getMonth isNotEmpty \
        Array.from removeTags lastIndexOf setLocale round toLocaleTimeString toISODate";
    let counted: Vec<String> = counted.split_whitespace().map(|name| name.replace('·', " ")).collect();
    let ours: Vec<&str> = IN_USE.iter().map(|counted| counted.name).collect();
    assert_eq!(ours, counted);
    assert_eq!(ours.len(), 100);
    for name in IN_USE {
        let (example, result) = name.shown();
        assert_eq!(example.is_empty(), name.here == Here::Own, "{}: {example}", name.name);
        assert_eq!(name.name.starts_with('$'), name.here == Here::Own, "{}", name.name);
        if !example.is_empty() {
            assert_eq!(outcome(example), result, "{}: {example}", name.name);
        }
        // An example shows the name if it is the same here, and what was counted is refused with our sentence.
        match name.here {
            Here::Same => assert!(example.contains(name.name), "{}: {example}", name.name),
            _ => {
                let refused = outcome(name.counted);
                assert!(refused.starts_with("! there is no "), "{}: {refused}", name.name);
                assert!(refused.ends_with(&format!(" ~ {}", name.hint)), "{}: {refused}", name.name);
            }
        }
    }
    // The page says all of it.
    let page = page();
    for (place, name) in (1..).zip(IN_USE) {
        let row = format!("| {place} | `{}` | ", name.name);
        let row = page.lines().find(|line| line.starts_with(&row)).unwrap();
        assert!(row.contains(&name.hint.replace('|', "\\|")), "{row}");
    }
}

#[test]
fn text_functions() {
    check_all(&[
        ("'😀a'.length", "2"),
        ("'a😀b'.slice(1, 2)", "\"😀\""),
        ("'abc'.slice(-2)", "\"bc\""),
        ("'abc'.slice(2, 1)", "\"\""),
        ("'abc'.slice(-170141183460469231731687303715884105727)", "\"abc\""),
        ("'abc'.substring(2, 0)", "\"ab\""),
        ("'abc'.substr(-2, 1)", "\"b\""),
        ("'abc'.at(9)", "null"),
        ("'abc'[1]", "\"b\""),
        ("'abc'.padStart(2)", "\"abc\""),
        ("'abc'.padEnd(6, '')", "\"abc\""),
        ("'x'.repeat(-1)", "! `repeat` takes a whole number from 0, this is -1"),
        ("'a.b.c'.replace('.', '-')", "\"a-b.c\""),
        ("'aaa'.replace(/a/, 'b')", "\"baa\""),
        ("'aaa'.replace(/a/g, '[$&]')", "\"[a][a][a]\""),
        ("'ab'.replace(/(?<x>a)/, '$<x>$1$$$9')", "\"aa$$9b\""),
        ("'ab'.replaceAll('', '-')", "\"-a-b-\""),
        ("'a1b2'.replace(/\\d/g, m => m + m)", "\"a11b22\""),
        ("'a1'.replace(/([a-z])(\\d)/, (m, l, d) => d + l)", "\"1a\""),
        ("'a'.replace('a', m => 1)", "! what replaces a match must be text, it is an integer ~ write `String(x)`"),
        ("'äöü'.split('')", "[\"ä\",\"ö\",\"ü\"]"),
        ("'a,b,c'.split(',', 2)", "[\"a\",\"b\"]"),
        ("'a1b'.match(/\\d/g)", "[\"1\"]"),
        ("'ab'.match(/\\d/g)", "null"),
        ("'ab'.match(/(\\d)?b/)", "[\"b\",null]"),
        ("'A'.match(/a/i) != null", "true"),
        ("/a.c/s.test('a\\nc')", "true"),
        ("/[/]/.test('/')", "true"),
        ("'x'.trim(1)", "! `trim` does not take 1 argument ~ write `text.trim()`"),
        ("'x'.includes(1)", "! argument 1 of `includes` must be text, it is an integer"),
        ("(5).trim()", "! `trim` works on text, 5 is an integer"),
        ("trigger.body.id.trim()", "! `trim` works on text, trigger.body.id is an integer"),
        (
            "trigger.body.note.trim()",
            "! trigger.body.note is null and has no `trim` ~ write `trigger.body.note?.` if it may be null",
        ),
        ("trigger.body.note?.trim()", "null"),
    ]);
}

#[test]
fn list_functions() {
    check_all(&[
        ("trigger.body.items.map(i => i.qty * i.price)", "[39.98,5]"),
        ("trigger.body.items.map((i, n) => `${n}${i.sku}`)", "[\"0A\",\"1B\"]"),
        ("trigger.body.items.filter(i => i.price > 10).map(i => i.sku)", "[\"A\"]"),
        ("trigger.body.items.map(i => i.qty * i.price).sum()", "44.98"),
        ("trigger.body.items.find(i => i.sku == 'C')", "null"),
        ("trigger.body.items.find(i => i.sku == 'C')?.price ?? 0", "0"),
        (
            "[].reduce((a, b) => a + b)",
            "! `reduce` of an empty list needs a first value ~ write `.reduce((sum, x) => …, 0)`",
        ),
        ("[[1, [2]], 3].flat()", "[1,[2],3]"),
        ("[1, 'a', true].join('-')", "\"1-a-true\""),
        (
            "[1, null].join()",
            "! item 1 of the list: null has no text ~ turn the items into text with `.map(x => …)` first",
        ),
        ("[3, 10, 2.5].sort()", "[2.5,3,10]"),
        ("['b', 'a', 'B'].sort()", "[\"B\",\"a\",\"b\"]"),
        (
            "[1, 'a'].sort()",
            "! an integer and text have no order ~ sort by something that is in every item: `.sortBy(x => x.name)`",
        ),
        (
            "[2, 1].sort((a, b) => a > b)",
            "! the function of `sort` must give a number, it gave a boolean ~ write `(x, y) => x.n - y.n`, or `.sortBy(x => x.n)`",
        ),
        ("[3, 1, 2].sort((a, b) => 1)", "[2,1,3]"),
        ("[{a: 1}, {a: 1.0}, {a: 2}].unique()", "[{\"a\":1},{\"a\":2}]"),
        ("[1, 2, 3].slice(-2)", "[2,3]"),
        ("steps.fetch.output.list.slice(1)", "[1,2]"),
        ("[1, 2].at(-3)", "null"),
        ("[].first()", "null"),
        ("[1, 2].map(x => y => y)", "! there is no name `y` here ~ did you mean `x`?"),
        (
            "[1, 2].map(1)",
            "! argument 1 of `map` must be a function, it is an integer ~ write it here, for example `x => x.id`",
        ),
        ("[1].map((a, b, c) => a)", "! `map` gives its function at most 2 arguments, this one takes 3"),
        (
            "[1].map(x => { return x })",
            "! a function is one expression here ~ write `x => x.id` without braces and `return`, and an object in parentheses: `x => ({id: x.id})`",
        ),
        ("[1].map(x => ({id: x}))", "[{\"id\":1}]"),
        (
            "[['a', 1]].map(([k, v]) => k)",
            "! a function's parameter is one name here ~ write `e => e[0]` or `x => x.name`",
        ),
        ("[1].filter(x => x)", "! the function's result must be true or false, it is an integer ~ ask with `x != 0`"),
        ("'a'.concat(x => x)", "! `concat` takes no function here"),
        ("[[1, 2], [3]].map(l => l.map(x => x * 10))", "[[10,20],[30]]"),
        ("[1, 2].flatMap(x => [3, 4].map(y => x * y))", "[3,4,6,8]"),
        ("Array.from('äb')", "[\"ä\",\"b\"]"),
        ("Array.from([1, 2], (x, i) => x * i)", "[0,2]"),
        (
            "Array.from({length: 99999999})",
            "! the expression needs more than 250000 steps ~ work on fewer items, or do this in a code step",
        ),
        (
            "Array.from({a: 1})",
            "! `Array.from` of an object needs its `length`, a whole number from 0 ~ write `Object.entries(x)` for the fields of an object",
        ),
        ("[1].chunk(0)", "! `chunk` takes a whole number from 1, this is 0"),
    ]);
}

#[test]
fn numbers_and_conversions() {
    check_all(&[
        ("Number('12')", "12"),
        ("Number('1,5')", "! the text \"1,5\" is no number"),
        ("Number('')", "! the text \"\" is no number"),
        ("Number('.5') + Number('007') + Number('1.')", "8.5"),
        ("Number(null)", "! argument 1 of `Number` must be text or a number, it is null"),
        ("Number(trigger.body.huge)", "1e400"),
        ("String(trigger.body.total)", "\"612.10\""),
        ("String([1])", "! a list has no text of its own ~ write `json(x)`"),
        (
            "Boolean('yes')",
            "! argument 1 of `Boolean` must be 'true', 'false', 1 or 0, it is text ~ ask with `isNotEmpty(x)` or `x != 0`",
        ),
        ("parseInt('ff', 16)", "255"),
        ("parseInt('-0x1F', 16)", "-31"),
        ("parseInt('abc')", "! the text \"abc\" does not begin with a number"),
        ("parseFloat('-1.5e2x')", "-1.5e2"),
        ("parseFloat('1.2.3')", "1.2"),
        ("parseFloat('x')", "! the text \"x\" does not begin with a number"),
        ("(2.345).toFixed(2)", "\"2.35\""),
        ("(1).toFixed(29)", "! `toFixed` takes a whole number from 0 to 28, this is 29"),
        ("Math.round(-2.5)", "-2"),
        ("Math.max(1, 2.5, trigger.body.huge)", "1e400"),
        ("Math.max([])", "! `Math.max` of an empty list has no value ~ ask with `isEmpty(list)` first"),
        ("Math.max('a')", "! `Math.max` works on number or list, 'a' is text"),
        ("Math.sqrt(-1)", "! -1 has no square root"),
        ("Math.floor(trigger.body.huge)", "! `Math.floor`: the number has more digits than can be calculated with"),
        ("Number.isInteger(trigger.body.ratio)", "false"),
        ("json(trigger.body.deep)", "\"{\\\"er\\\":{\\\"x\\\":1}}\""),
        ("json(trigger.body.total)", "\"612.10\""),
        ("JSON.stringify({a: [1]}, null, 2)", "\"{\\n  \\\"a\\\": [\\n    1\\n  ]\\n}\""),
        ("JSON.parse('{')", "! `JSON.parse`: the text ends where a key in quotes was expected at line 1, column 2"),
        ("isEmpty(trigger.body.note)", "true"),
        (
            "isEmpty(trigger.body.missing)",
            "! trigger.body.missing is not there ~ write `trigger.body?.missing` or `trigger.body.missing ?? default` if it may be missing",
        ),
        ("isEmpty(trigger.body?.missing)", "true"),
        ("isEmpty(0)", "! `isEmpty` works on null, text, list or object, 0 is an integer"),
        ("encodeURIComponent('ä&b=c')", "\"%C3%A4%26b%3Dc\""),
        ("decodeURIComponent('%zz')", "! `decodeURIComponent`: a `%` is not followed by two hexadecimal digits"),
        ("decodeURIComponent('%ff')", "! `decodeURIComponent`: what is encoded is no UTF-8 text"),
        ("base64Decode(base64Encode('ä😀'))", "\"ä😀\""),
        ("'aGk'.base64Decode()", "\"hi\""),
        ("base64Decode('%')", "! `base64Decode`: the text is no base64"),
        ("uuid()", "\"00070707-0707-4707-8707-070707070707\""),
        ("uuid() == uuid()", "false"),
    ]);
}

#[test]
fn dates() {
    check_all(&[
        ("now()", "\"2026-01-02T03:04:05.678Z\""),
        ("date(trigger.body.when)", "\"2024-05-01T10:00:00Z\""),
        ("date('2024-05-01')", "\"2024-05-01T00:00:00Z\""),
        ("date('2024-05-01T10:00:00+02:00')", "\"2024-05-01T10:00:00+02:00\""),
        ("date('2024-05-01T10:00', 'Europe/Berlin')", "\"2024-05-01T10:00:00+02:00[Europe/Berlin]\""),
        ("date('Wed, 01 May 2024 10:00:00 +0000').toMillis()", "1714557600000"),
        ("date(1714557600, 's')", "\"2024-05-01T10:00:00Z\""),
        ("date(1714557600123, 'ms').toISOString()", "\"2024-05-01T10:00:00.123Z\""),
        (
            "date(1714557600)",
            "! `date` of a number needs its unit ~ write `date(x, 's')` for seconds or `date(x, 'ms')` for milliseconds since 1970",
        ),
        (
            "date('yesterday')",
            "! the text \"yesterday\" is no date ~ dates look like 2024-05-01T10:00:00Z; for others write `parseDate(x, 'dd.MM.yyyy')`",
        ),
        (
            "date('2024-05-01', 'Mars/Base')",
            "! \"Mars/Base\" is no known time zone ~ write 'UTC' or a name such as 'Europe/Berlin'",
        ),
        ("date('2024-05-01', '+05:30').toISO()", "\"2024-05-01T00:00:00+05:30\""),
        ("date('2024-05-01').plus('1d 2h')", "\"2024-05-02T02:00:00Z\""),
        ("date('2024-03-30T12:00', 'Europe/Berlin').plus('1d').hour", "13"),
        ("date('2024-03-30T12:00', 'Europe/Berlin').plus({days: 1}).hour", "12"),
        ("date('2024-05-31').plus(1, 'month').toISODate()", "\"2024-06-30\""),
        ("date('2024-05-31').minus({months: 3, days: 1}).toISODate()", "\"2024-02-28\""),
        (
            "date('2024-05-31').plus('3 dayz')",
            "! \"3 dayz\" is no duration ~ write numbers with ms, s, m, h, d or w: '1h 30m'; months and years as {months: 1}",
        ),
        (
            "date('2024-05-31').plus({fortnights: 1})",
            "! \"fortnights\" is no unit of time ~ write years, quarters, months, weeks, days, hours, minutes, seconds or milliseconds",
        ),
        (
            "date('2024-05-31').plus(3)",
            "! argument 1 of `plus` must be a duration, it is an integer ~ write '3d', {days: 3}, or 3, 'days'",
        ),
        ("date('2024-05-31').plus({years: 99999})", "! the duration is too long"),
        ("date('2024-05-31').plus({years: 9000})", "! the date lies outside the years -9999 to 9999"),
        ("date('2024-05-03').diff(date('2024-05-01'), 'days')", "2"),
        ("date('2024-05-01').diff(date('2024-05-01T00:00:01.500Z'))", "-1500"),
        ("date('2024-05-31').diff(date('2024-01-31'), 'months')", "4"),
        (
            "date('2024-05-31').diff('2024-01-31')",
            "! argument 1 of `diff` must be a date, it is text ~ make a date of the text with `date(x)`",
        ),
        ("date('2024-05-01T09:05:07Z').format('yyyy-MM-dd HH:mm:ss')", "\"2024-05-01 09:05:07\""),
        (
            "date('2024-05-01T21:05:07Z').format(\"h:mm a 'o''clock' EEEE d. MMMM\")",
            "\"9:05 PM oclock Wednesday 1. May\"",
        ),
        ("date('2024-05-01T10:00', 'Europe/Berlin').format('ZZ z')", "\"+02:00 Europe/Berlin\""),
        (
            "date('2024-05-01').format('Q')",
            "! the format letters `Q` are not known ~ use yyyy MM dd HH mm ss and put other text in 'quotes'",
        ),
        ("parseDate('01.05.2024 13:30', 'dd.MM.yyyy HH:mm', 'Europe/Berlin').toISO()", "\"2024-05-01T13:30:00+02:00\""),
        ("parseDate('5/1/24 1:30 PM', 'M/d/yy h:mm a')", "\"2024-05-01T13:30:00Z\""),
        ("parseDate('x', 'yyyy')", "! the text \"x\" does not have the format \"yyyy\""),
        ("date('2024-05-17T10:11:12Z').startOf('week').toISODate()", "\"2024-05-13\""),
        ("date('2024-05-17T10:11:12Z').startOf('quarter').toISODate()", "\"2024-04-01\""),
        ("date('2024-05-17T10:11:12.5Z').startOf('hour')", "\"2024-05-17T10:00:00Z\""),
        ("date('2024-05-17T10:11:12.5Z').startOf('minute')", "\"2024-05-17T10:11:00Z\""),
        ("date('2024-05-17T10:11:12.5Z').endOf('year')", "\"2024-12-31T23:59:59.999Z\""),
        ("date('2024-05-17').weekday", "5"),
        (
            "date('2024-05-17').foo",
            "! date() is a date and has no field `foo` ~ a date has year, month, day, hour, minute, second, millisecond, weekday, quarter, weekNumber, zone",
        ),
        ("date('2024-05-17T00:00:00Z') == date('2024-05-17T02:00:00+02:00')", "true"),
        ("date('2024-05-17') < now()", "true"),
        (
            "date('2024-05-17') < '2024-05-18'",
            "! `<` cannot join a date (date()) and text ('2024-05-18') ~ make a date of the other side with `date(x)`",
        ),
        (
            "date('2024-05-17') == '2024-05-17'",
            "! a date cannot be compared with text ~ make a date of the text with `date(x)`",
        ),
        (
            "date('2024-05-17') - date('2024-05-16')",
            "! `-` cannot join a date (date()) and a date (date()) ~ write `a.diff(b, 'days')`",
        ),
        (
            "new Date('2024-05-17')",
            "! there is no name `new` here ~ write `date(x)` for `new Date(x)` and `now()` for `new Date()`",
        ),
        ("`${date('2024-05-17')}`", "\"2024-05-17T00:00:00Z\""),
        ("[date('2024-05-17'), date('2024-05-16')].sort()", "[\"2024-05-16T00:00:00Z\",\"2024-05-17T00:00:00Z\"]"),
    ]);
}
