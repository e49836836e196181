//! The pages of a form as HTML: the questions, what is wrong with the answers, and the thanks.
//!
//! Invariant: no script, nothing from elsewhere, and whatever came from outside is text. Every field has its label,
//! its note and its mistake by `for` and `aria-describedby`; the tests hold it to that, and to contrasts of WCAG AA.

use std::fmt::Write as _;

use aura_protocol::form::{Answer, Field, Form, Judged, Kind, Words};
use aura_protocol::text::display;
use base64::Engine as _;
use sha2::{Digest, Sha256};

/// From this number of options on a choice is a list that opens.
const RADIOS_MAX: usize = 7;

/// Colours by what they are for, on a light and on a dark ground.
pub(super) const COLOURS: &[(&str, &str, &str)] = &[
    ("ground", "#ffffff", "#16181d"),
    ("text", "#1b1b1f", "#ececf1"),
    ("quiet", "#55555e", "#b4b4be"),
    ("wrong", "#a1001a", "#ff9d9d"),
    ("line", "#6b6b75", "#8d8d99"),
    ("link", "#0b4f9e", "#9cc7ff"),
    ("button", "#0b4f9e", "#9cc7ff"),
    ("on-button", "#ffffff", "#10233a"),
];

const RULES: &str = "*{box-sizing:border-box}html{color-scheme:light dark}\
body{margin:0;background:var(--ground);color:var(--text);font:1.0625rem/1.5 system-ui,sans-serif}\
main{max-width:38rem;margin:0 auto;padding:1.5rem 1rem 4rem}\
h1{font-size:1.75rem;line-height:1.25;margin:0 0 1rem;overflow-wrap:anywhere}h2{font-size:1.25rem;margin:0 0 .5rem}\
p{margin:0 0 1rem;overflow-wrap:anywhere}a{color:var(--link)}\
.field{margin:0 0 1.5rem}fieldset{border:0;padding:0;margin:0 0 1.5rem;min-width:0}legend{padding:0}\
label,legend{font-weight:600}.one{display:flex;gap:.6rem;align-items:flex-start;margin:.4rem 0}.one label{font-weight:400}\
.note,.optional{color:var(--quiet);font-weight:400;margin:.1rem 0 .3rem}\
.mistake{color:var(--wrong);font-weight:600;margin:.1rem 0 .3rem}\
input[type=text],input[type=email],input[type=date],select,textarea{display:block;width:100%;font:inherit;\
color:var(--text);background:var(--ground);border:2px solid var(--line);border-radius:.25rem;padding:.5rem}\
input[type=checkbox],input[type=radio]{flex:none;width:1.4rem;height:1.4rem;margin:.1rem 0}\
[aria-invalid=true]:not(fieldset){border-color:var(--wrong)}\
.summary{border:3px solid var(--wrong);padding:1rem;margin:0 0 1.5rem}.summary ul{margin:0;padding-left:1.2rem}\
button{font:inherit;font-weight:600;color:var(--on-button);background:var(--button);border:2px solid transparent;\
border-radius:.25rem;padding:.6rem 1.4rem;min-height:2.75rem;cursor:pointer}\
:focus-visible{outline:3px solid var(--link);outline-offset:2px}";

/// The one style sheet of all pages.
pub(super) fn style() -> String {
    let palette = |pick: fn(&(&str, &'static str, &'static str)) -> &'static str| {
        COLOURS.iter().fold(String::new(), |mut text, colour| {
            let _ = write!(text, "--{}:{};", colour.0, pick(colour));
            text
        })
    };
    let (light, dark) = (palette(|colour| colour.1), palette(|colour| colour.2));
    format!(":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{RULES}")
}

/// What the page may do: show itself with this one style sheet, and send its form back.
pub(super) fn policy() -> String {
    let hash = base64::prelude::BASE64_STANDARD.encode(Sha256::digest(style()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// Text as a page shows it: nothing of it is markup, and nothing in it moves what stands beside it.
pub(super) fn escaped(text: &str) -> String {
    value(&display(text))
}

/// What comes back with the page, letter by letter as it is: nothing of it is markup.
fn value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// Paragraphs of a text.
fn paragraphs(text: &str) -> String {
    let parts = text.split("\n\n").map(str::trim).filter(|part| !part.is_empty());
    parts.fold(String::new(), |mut out, part| {
        let lines: Vec<String> = part.lines().map(escaped).collect();
        let _ = write!(out, "<p>{}</p>", lines.join("<br>"));
        out
    })
}

fn whole(words: &Words, title: &str, heading: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"{}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{}</title>\
         <style>{}</style></head><body><main><h1>{}</h1>{body}</main></body></html>\n",
        words.lang,
        escaped(title),
        style(),
        escaped(heading)
    )
}

/// A page that only says something.
pub(super) fn said(words: &Words, heading: &str, text: &str) -> String {
    whole(words, heading, heading, &paragraphs(text))
}

/// A page that thanks.
pub(super) fn thanks(form: &Form) -> String {
    said(form.lang, form.lang.thanks, form.thanks.as_deref().unwrap_or(form.lang.taken))
}

/// The page of a form: with what was typed, and what is wrong with it; `why` is said above all of it.
pub(super) fn asked(form: &Form, judged: &Judged, token: &str, why: Option<&str>) -> String {
    let words = form.lang;
    let wrong: Vec<(&Field, &str)> = form
        .fields
        .iter()
        .zip(&judged.answers)
        .filter_map(|(field, answer)| Some((field, answer.wrong.as_deref()?)))
        .collect();
    let mut body = paragraphs(&form.note);
    let told = why.is_some() || !wrong.is_empty();
    if told {
        let _ = write!(body, "<div class=\"summary\" role=\"alert\"><h2>{}</h2>", escaped(words.wrong));
        body.push_str(&why.map(paragraphs).unwrap_or_default());
        if !wrong.is_empty() {
            body.push_str("<ul>");
            for (field, sentence) in &wrong {
                let (id, label) = (escaped(&field.name), escaped(&field.label));
                let _ = write!(body, "<li><a href=\"#f-{id}\">{label}: {}</a></li>", escaped(sentence));
            }
            body.push_str("</ul>");
        }
        body.push_str("</div>");
    }
    body.push_str("<form method=\"post\" accept-charset=\"utf-8\" novalidate>");
    let _ = write!(body, "<input type=\"hidden\" name=\"token\" value=\"{}\">", escaped(token));
    // Nobody sees it; whoever fills it in is a program.
    let _ = write!(
        body,
        "<div hidden><label for=\"f-0\">{}</label><input id=\"f-0\" type=\"text\" name=\"website\" \
         autocomplete=\"off\" tabindex=\"-1\"></div>",
        escaped(words.leave_empty)
    );
    for (field, answer) in form.fields.iter().zip(&judged.answers) {
        question(&mut body, words, field, answer);
    }
    let button = form.button.as_deref().unwrap_or(words.send);
    let _ = write!(body, "<button type=\"submit\">{}</button></form>", escaped(button));
    let title = if told { format!("{}{}", words.error, form.title) } else { form.title.clone() };
    whole(words, &title, &form.title, &body)
}

/// The attributes that tie a field to its note and its mistake.
fn described(field: &Field, answer: &Answer) -> String {
    let id = escaped(&field.name);
    let mut ids = Vec::new();
    if !field.note.is_empty() {
        ids.push(format!("h-{id}"));
    }
    if answer.wrong.is_some() {
        ids.push(format!("e-{id}"));
    }
    if ids.is_empty() { String::new() } else { format!(" aria-describedby=\"{}\"", ids.join(" ")) }
}

/// Note and mistake, below the label.
fn below(field: &Field, answer: &Answer) -> String {
    let id = escaped(&field.name);
    let mut out = String::new();
    if !field.note.is_empty() {
        let _ = write!(out, "<p class=\"note\" id=\"h-{id}\">{}</p>", escaped(&field.note));
    }
    if let Some(sentence) = &answer.wrong {
        let _ = write!(out, "<p class=\"mistake\" id=\"e-{id}\">{}</p>", escaped(sentence));
    }
    out
}

fn question(out: &mut String, words: &Words, field: &Field, answer: &Answer) {
    let id = escaped(&field.name);
    let optional = match field.required || field.kind == Kind::Boolean {
        true => String::new(),
        false => format!(" <span class=\"optional\">({})</span>", escaped(words.optional)),
    };
    let label = format!("{}{optional}", escaped(&field.label));
    let (described, below) = (described(field, answer), below(field, answer));
    let invalid = if answer.wrong.is_some() { " aria-invalid=\"true\"" } else { "" };
    let required = if field.required { " required" } else { "" };
    let complete = match (&field.autocomplete, &field.kind) {
        (Some(word), _) => format!(" autocomplete=\"{}\"", escaped(word)),
        (None, Kind::Email) => " autocomplete=\"email\"".to_owned(),
        (None, _) => String::new(),
    };
    let shared = format!("id=\"f-{id}\" name=\"f.{id}\"{complete}{required}{invalid}{described}");
    let line =
        |kind: &str, more: &str| format!("<input type=\"{kind}\" {shared}{more} value=\"{}\">", value(answer.text()));
    let input = match &field.kind {
        Kind::Text { lines, .. } if *lines > 1 => {
            // A line break right behind the tag is not part of the text.
            format!("<textarea {shared} rows=\"{lines}\">\n{}</textarea>", value(answer.text()))
        }
        Kind::Text { .. } => line("text", ""),
        Kind::Email => line("email", ""),
        Kind::Number { .. } => line("text", " inputmode=\"decimal\""),
        Kind::Date => line("date", ""),
        Kind::Boolean => {
            let ticked = if answer.text() == "true" { " checked" } else { "" };
            let _ = write!(
                out,
                "<div class=\"field\">{below}<div class=\"one\"><input type=\"checkbox\" value=\"true\" {shared}{ticked}>\
                 <label for=\"f-{id}\">{label}</label></div></div>"
            );
            return;
        }
        Kind::Choice { options, many } if *many || options.len() <= RADIOS_MAX => {
            choices(out, field, answer, (options, *many), &format!("<legend>{label}</legend>{below}"));
            return;
        }
        Kind::Choice { options, .. } => {
            let mut select = format!("<select {shared}><option value=\"\">{}</option>", escaped(words.choose));
            for (option, label) in options {
                let chosen = if answer.text() == option { " selected" } else { "" };
                let (option, label) = (value(option), escaped(label));
                let _ = write!(select, "<option value=\"{option}\"{chosen}>{label}</option>");
            }
            select.push_str("</select>");
            select
        }
    };
    let _ = write!(out, "<div class=\"field\"><label for=\"f-{id}\">{label}</label>{below}{input}</div>");
}

/// One of a few, or several: a group with a legend.
fn choices(out: &mut String, field: &Field, answer: &Answer, (options, many): (&[(String, String)], bool), head: &str) {
    let id = escaped(&field.name);
    let described = described(field, answer);
    let group = match many {
        true => String::new(),
        false => {
            let invalid = if answer.wrong.is_some() { " aria-invalid=\"true\"" } else { "" };
            let required = if field.required { " aria-required=\"true\"" } else { "" };
            format!(" role=\"radiogroup\"{required}{invalid}")
        }
    };
    let _ = write!(out, "<fieldset{group}{described}>{head}");
    let kind = if many { "checkbox" } else { "radio" };
    for (number, (option, label)) in options.iter().enumerate() {
        let own = if number == 0 { format!("f-{id}") } else { format!("f-{id}-{number}") };
        let chosen = if answer.typed.iter().any(|typed| typed == option) { " checked" } else { "" };
        let (option, label) = (value(option), escaped(label));
        let _ = write!(
            out,
            "<div class=\"one\"><input type=\"{kind}\" id=\"{own}\" name=\"f.{id}\" value=\"{option}\"{chosen}>\
             <label for=\"{own}\">{label}</label></div>"
        );
    }
    out.push_str("</fieldset>");
}
