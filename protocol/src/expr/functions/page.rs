//! The reference page of the expression language, made from the table: `docs/expressions.md` and help.

use super::in_use::{Counted, Here, IN_USE};
use super::{Function, GROUPS};

const INTRODUCTION: &str = "\
# Expressions

Made from the function table; a test keeps this page equal to it. In a flow file an expression stands in
`{{ }}`. Alone in a text it gives its value with its type, within text it is written into the text.

An expression is a JavaScript expression without the surprises:

- Names: `input` `trigger` `steps.<id>` `item` `index` `vars` `env` `run` `error`.
- Paths `a.b` `a['k']` `a[0]`. What is not there is an error that names the path. `a?.b` is null if `a` or
  its `b` is not there; `path ?? default` takes the default if anything on the path is missing or null.
- Numbers, `'text'`, template strings `` `a ${b}` ``, `/patterns/gims`, lists, objects, `...` in both.
- `+ - * / %`, `== != < <= > >=`, `&& || !` (conditions only), `??`, `a ? b : c`.
- Nothing is converted on its own: `\"1\" + 1` is an error. `==` is strict, but `1 == 1.0`; lists and objects
  are equal if their content is. Null, lists and objects in text are errors: write `?? ''` or `json(x)`.
- Numbers are exact: integers of 128 bits, decimals of 28 digits. Lengths count characters.
- Functions such as `x => x.id` stand as arguments only and are one expression.
- One evaluation makes at most 1 MiB of data, holds at most 8 MiB with what stands around them, and takes at most
  250,000 steps; an expression has at most 8 regular expressions. A search pays for the length of the text times
  the places of the pattern that can be at work at once: `/(a|b){500}x/` on a long text is refused, not slow.
";

const NAMES: &str = "
## Names from JavaScript and n8n

The hundred names that public automations use most, the most used first. What is not the same here is refused with
the sentence that stands in this table.

| | Name | Here | Example | Result |
|---|---|---|---|---|
";

/// The whole page in Markdown.
#[must_use]
pub fn page() -> String {
    let mut out = INTRODUCTION.to_owned();
    for (title, functions) in GROUPS {
        out.push_str(&format!("\n## {title}\n\n| Function | What it gives | Example | Result |\n|---|---|---|---|\n"));
        for function in *functions {
            out.push_str(&row(function));
        }
    }
    out.push_str(NAMES);
    for (place, counted) in (1..).zip(IN_USE) {
        out.push_str(&name_row(place, counted));
    }
    out
}

fn row(function: &Function) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let (example, result) = function.example;
    format!("| `{}` | {} | `{}` | `{}` |\n", cell(&function.usage()), cell(function.doc), cell(example), cell(result))
}

fn name_row(place: usize, counted: &Counted) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let here = match counted.here {
        Here::Same => "the same".to_owned(),
        Here::Write => counted.hint.to_owned(),
        Here::Refused => format!("refused: {}", counted.hint),
        Here::Own => format!("n8n's own: {}", counted.hint),
    };
    let (example, result) = match counted.shown() {
        ("", _) => (format!("`{}`", cell(counted.counted)), "refused".to_owned()),
        (example, result) => (format!("`{}`", cell(example)), format!("`{}`", cell(result))),
    };
    format!("| {place} | `{}` | {} | {example} | {result} |\n", counted.name, cell(&here))
}
