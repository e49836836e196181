//! The reference page of the expression language, made from the table: `docs/expressions.md` and help.

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
- One evaluation makes at most 1 MiB and takes at most 250,000 steps.
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
    out
}

fn row(function: &Function) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let (example, result) = function.example;
    format!("| `{}` | {} | `{}` | `{}` |\n", cell(&function.usage()), cell(function.doc), cell(example), cell(result))
}
