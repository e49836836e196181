//! The hundred names that public automations use most, in the order of their use, and what each is here.
//!
//! A name is the same here, has another spelling, or is refused with what to write instead; n8n's own names
//! (`$…`) are refused too. The parser takes its hints from this table, so the page and the refusal say the
//! same; the tests run every example, and what was counted must be refused with just this sentence.

use super::{Function, GROUPS};

/// What a name is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Here {
    /// The same name with the same meaning.
    Same,
    /// Another spelling.
    Write,
    /// Nothing: it does what an expression does not do.
    Refused,
    /// A name of n8n's own objects.
    Own,
}

/// One of the names.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Counted {
    /// As people write it.
    pub name: &'static str,
    /// What it is here.
    pub here: Here,
    /// What to write instead; empty if it is the same.
    pub hint: &'static str,
    /// As it was counted, if it is refused so.
    pub counted: &'static str,
    /// Our expression and the JSON of what it gives; empty where the function's own example stands for it.
    pub example: (&'static str, &'static str),
}

const fn same(name: &'static str) -> Counted {
    Counted { name, here: Here::Same, hint: "", counted: "", example: ("", "") }
}

/// A name that is no function of the table.
const fn field(name: &'static str, example: (&'static str, &'static str)) -> Counted {
    Counted { name, here: Here::Same, hint: "", counted: "", example }
}

const fn own(name: &'static str, hint: &'static str, counted: &'static str) -> Counted {
    Counted { name, here: Here::Own, hint, counted, example: ("", "") }
}

const fn write(
    name: &'static str,
    hint: &'static str,
    counted: &'static str,
    example: (&'static str, &'static str),
) -> Counted {
    Counted { name, here: Here::Write, hint, counted, example }
}

const fn refuse(
    name: &'static str,
    hint: &'static str,
    counted: &'static str,
    example: (&'static str, &'static str),
) -> Counted {
    Counted { name, here: Here::Refused, hint, counted, example }
}

/// The names, the one used most first.
pub(in super::super) const IN_USE: &[Counted] = &[
    own("$fromAI", "a model's answer is the output of a step: `steps.x.output`", "$fromAI('x')"),
    same("JSON.stringify"),
    same("join"),
    same("replace"),
    same("map"),
    same("format"),
    same("split"),
    field("length", ("'abc'.length + [1, 2].length", "5")),
    write(
        "new Date",
        "write `date(x)` for `new Date(x)` and `now()` for `new Date()`",
        "new Date('2024-05-01')",
        ("date('2024-05-01').year", "2024"),
    ),
    same("toJsonString"),
    same("trim"),
    same("slice"),
    same("toISO"),
    same("toISOString"),
    same("minus"),
    same("Object.keys"),
    same("toLowerCase"),
    same("toFormat"),
    same("match"),
    same("toString"),
    same("substring"),
    same("replaceAll"),
    own("$item", "write `steps.x.output`, in a map `item`", "$item(0)"),
    same("JSON.parse"),
    same("filter"),
    same("toDateTime"),
    same("includes"),
    same("Math.floor"),
    write(
        "DateTime.fromISO",
        "write `date(x)`, `parseDate(x, format)` or `now()`",
        "DateTime.fromISO('2024-05-01')",
        ("date('2024-05-01T10:00:00Z').hour", "10"),
    ),
    refuse(
        "toLocaleString",
        "what a machine's language makes of a value is not the same everywhere: write `(1234.5).formatNumber(2, ',', '.')` or `date.format('dd.MM.yyyy')`",
        "(1234.5).toLocaleString('de-DE')",
        ("(1234.5).formatNumber(2, ',', '.')", "\"1.234,50\""),
    ),
    same("plus"),
    same("parseJson"),
    same("Date.now"),
    same("encodeURIComponent"),
    same("toUpperCase"),
    same("setZone"),
    same("Number"),
    own("$if", "write `condition ? a : b`", "$if(true, 1, 2)"),
    same("find"),
    same("base64Encode"),
    same("Array.isArray"),
    same("String"),
    same("getTime"),
    write(
        "DateTime.now",
        "write `date(x)`, `parseDate(x, format)` or `now()`",
        "DateTime.now()",
        ("now().year", "2026"),
    ),
    same("Math.random"),
    same("toFixed"),
    same("toNumber"),
    own("$items", "write `steps.x.output`, a list as the step gave it", "$items('x')"),
    same("isEmpty"),
    own("$ifEmpty", "write `x.ifEmpty(y)`, or `x ?? y` for what is null or missing", "$ifEmpty('', 1)"),
    same("Math.round"),
    write(
        "DateTime.fromFormat",
        "write `date(x)`, `parseDate(x, format)` or `now()`",
        "DateTime.fromFormat('1.5.2024', 'd.M.yyyy')",
        ("parseDate('1.5.2024', 'd.M.yyyy').month", "5"),
    ),
    same("indexOf"),
    refuse(
        "pop",
        "a list does not change: its last item is `.last()`, the others are `.slice(0, -1)`",
        "[1, 2].pop()",
        ("[1, 2].last()", "2"),
    ),
    same("last"),
    same("parseFloat"),
    same("diff"),
    own("$jmespath", "write paths with `.map(…)`, `.filter(…)` and `.get('a.b')`", "$jmespath({}, 'a')"),
    same("parseInt"),
    same("Object.values"),
    same("toMillis"),
    same("startsWith"),
    same("first"),
    same("getDate"),
    same("toUTC"),
    same("padStart"),
    same("keys"),
    same("Boolean"),
    same("reduce"),
    same("some"),
    same("startOf"),
    same("Object.entries"),
    same("encodeURI"),
    same("Math.sqrt"),
    same("getFullYear"),
    same("flatMap"),
    same("urlEncode"),
    refuse(
        "toLocaleDateString",
        "what a machine's language makes of a date is not the same everywhere: write `date.format('dd.MM.yyyy')`",
        "now().toLocaleDateString()",
        ("date('2024-05-01').format('dd.MM.yyyy')", "\"01.05.2024\""),
    ),
    same("values"),
    same("toSeconds"),
    same("sort"),
    same("substr"),
    same("hasOwnProperty"),
    same("Math.min"),
    same("Math.max"),
    same("extractDomain"),
    refuse(
        "setDate",
        "a date does not change: write `date.set({day: 1})`, or `date.plus({days: 1})`",
        "now().setDate(1)",
        ("date('2024-05-17').set({day: 1}).toISODate()", "\"2024-05-01\""),
    ),
    same("charAt"),
    same("Object.assign"),
    same("endOf"),
    same("diffTo"),
    refuse(
        "getMonth",
        "JavaScript counts months from 0: write `date.month`, which counts from 1",
        "now().getMonth()",
        ("date('2024-05-17').month", "5"),
    ),
    same("isNotEmpty"),
    same("Array.from"),
    same("removeTags"),
    same("lastIndexOf"),
    refuse(
        "setLocale",
        "names of months and days are English: write numbers, as `date.format('dd.MM.yyyy')`",
        "now().setLocale('de')",
        ("date('2024-05-01').format('d.M.yyyy')", "\"1.5.2024\""),
    ),
    same("round"),
    refuse(
        "toLocaleTimeString",
        "what a machine's language makes of a time is not the same everywhere: write `date.format('HH:mm')`",
        "now().toLocaleTimeString()",
        ("date('2024-05-01T09:05:00Z').format('HH:mm')", "\"09:05\""),
    ),
    same("toISODate"),
];

/// What to write for a name that is not ours, as in `pop`, `$if` or `DateTime`.
pub(in super::super) fn instead(name: &str) -> Option<&'static str> {
    let meant = |counted: &&Counted| counted.here != Here::Same && counted.name == name;
    IN_USE.iter().find(meant).map(|counted| counted.hint)
}

impl Counted {
    /// The function of the same name, whose own example shows it.
    pub(in super::super) fn function(&self) -> Option<&'static Function> {
        let all = GROUPS.iter().flat_map(|(_, functions)| functions.iter());
        all.into_iter().find(|function| self.here == Here::Same && function.name == self.name)
    }

    /// Example and result: its own, or its function's.
    pub(in super::super) fn shown(&self) -> (&'static str, &'static str) {
        if self.example.0.is_empty() {
            self.function().map_or(("", ""), |function| function.example)
        } else {
            self.example
        }
    }
}
