//! The pages of forms, held to rules of their own: labels, mistakes beside their fields, one heading, contrasts.

use std::collections::{BTreeMap, BTreeSet};

use aura_protocol::form::{Form, Judged, Words};
use aura_protocol::{Map, Value};

use super::page::{self, COLOURS};

/// One start tag with its attributes.
struct Tag {
    name: String,
    attributes: BTreeMap<String, String>,
    /// The text up to the next tag.
    text: String,
}

impl Tag {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// The start tags of a page; it panics where the page is not written as we write pages.
fn tags(html: &str) -> Vec<Tag> {
    let mut out = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let body = html.strip_prefix("<!doctype html>\n").expect("a doctype");
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("an end of a tag");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "tags are closed in order");
            continue;
        }
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes = BTreeMap::new();
        while !rest.trim().is_empty() {
            rest = rest.trim_start();
            let end = rest.find([' ', '=']).unwrap_or(rest.len());
            let (key, after) = rest.split_at(end);
            let value = match after.strip_prefix("=\"") {
                Some(quoted) => {
                    let (value, after) = quoted.split_once('"').expect("a closing quote");
                    rest = after;
                    value
                }
                None => {
                    rest = after;
                    ""
                }
            };
            assert!(attributes.insert(key.to_owned(), value.to_owned()).is_none(), "{key} twice in <{tag}>");
        }
        if !matches!(name, "meta" | "input" | "br") {
            open.push(name.to_owned());
        }
        out.push(Tag { name: name.to_owned(), attributes, text: text.to_owned() });
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    out
}

/// What every page must keep.
fn accessible(html: &str, lang: &str) {
    let tags = tags(html);
    let count = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
    assert_eq!((count("html"), count("main"), count("h1"), count("title"), count("style")), (1, 1, 1, 1, 1), "{html}");
    assert_eq!((count("script"), count("link"), count("img"), count("iframe")), (0, 0, 0, 0));
    for (tag, name) in tags.iter().flat_map(|tag| tag.attributes.keys().map(move |name| (tag, name))) {
        assert!(!name.starts_with("on") && name != "style" && name != "src", "{name} on <{}>", tag.name);
    }
    let html_tag = tags.iter().find(|tag| tag.name == "html").unwrap();
    assert_eq!(html_tag.get("lang"), Some(lang));
    for name in ["title", "h1", "h2", "legend", "label", "button"] {
        for tag in tags.iter().filter(|tag| tag.name == name) {
            assert!(!tag.text.trim().is_empty(), "an empty <{name}>: {html}");
        }
    }
    let ids: Vec<&str> = tags.iter().filter_map(|tag| tag.get("id")).collect();
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "ids are unique: {ids:?}");
    let labels: BTreeSet<&str> = tags
        .iter()
        .filter(|tag| tag.name == "label")
        .map(|tag| tag.get("for").expect("a label for something"))
        .collect();
    for tag in tags.iter().filter(|tag| matches!(tag.name.as_str(), "input" | "select" | "textarea")) {
        if tag.get("type") == Some("hidden") {
            continue;
        }
        let id = tag.get("id").expect("an id");
        assert!(labels.contains(id), "{id} has no label");
        let wrong = tag.get("aria-invalid") == Some("true");
        let described = tag.get("aria-describedby").unwrap_or_default();
        let mistake = format!("e-{}", id.trim_start_matches("f-"));
        assert_eq!(wrong, described.split(' ').any(|id| *id == mistake), "{id}: a mistake is tied to its field");
    }
    for tag in &tags {
        for id in tag.get("aria-describedby").into_iter().flat_map(|ids| ids.split(' ')) {
            assert!(unique.contains(id), "{id} describes and is not there");
        }
        if let Some(id) = tag.get("href") {
            assert!(unique.contains(id.strip_prefix('#').expect("a place on this page")), "{id} leads nowhere");
        }
    }
    assert!(labels.iter().all(|id| unique.contains(id)), "{labels:?}");
}

fn form(lang: &str) -> Form {
    let json = r#"{"title":"Return <an> order","note":"First.\n\nSecond & last.","lang":"LANG","fields":[
        {"name":"email","label":"Your e-mail","type":"email","required":true,"note":"We answer there"},
        {"name":"qty","label":"How many","type":"number","min":1,"max":9},
        {"name":"day","label":"Bought on","type":"date"},
        {"name":"size","label":"Size","type":"choice","required":true,"options":["S","M"]},
        {"name":"why","label":"Why","type":"choice","many":true,"note":"All that fit","options":["too small","broken"]},
        {"name":"land","label":"Country","type":"choice","options":["AT","BE","CH","DE","ES","FR","IT","NL"]},
        {"name":"story","label":"What happened","lines":5,"max":20},
        {"name":"name","label":"Name","autocomplete":"name"},
        {"name":"agree","label":"I agree","type":"boolean","required":true}]}"#;
    let Ok(Value::Map(with)) = Value::from_json(json.replace("LANG", lang).as_bytes()) else { panic!("JSON") };
    let _: &Map = &with;
    Form::read(&with).unwrap()
}

#[test]
fn every_page_keeps_the_rules_that_programs_for_blind_people_need() {
    for words in Words::ALL {
        let form = form(words.lang);
        accessible(&page::asked(&form, &Judged::empty(&form), "t", None), words.lang);
        let wrong = "f.email=x&f.qty=%22%3E%3Cscript%3E&f.day=never&f.size=L&f.why=none&f.land=XX&f.story=a+very+long+story+about+it";
        let pairs: Vec<(String, String)> = form_urlencoded::parse(wrong.as_bytes()).into_owned().collect();
        let (judged, _) = form.judge(&pairs);
        let mistakes = judged.answers.iter().filter(|answer| answer.wrong.is_some()).count();
        assert_eq!(mistakes, 8, "{judged:?}");
        let html = page::asked(&form, &judged, "t", Some(words.old));
        accessible(&html, words.lang);
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("value=\"&quot;&gt;&lt;script&gt;\""), "what was typed is kept: {html}");
        assert!(html.contains("a very long story about it</textarea>"));
        assert_eq!(html.matches("<li><a href=\"#f-").count(), mistakes, "each is listed above");
        assert!(html.contains(&format!("<title>{}", words.error)), "{html}");
        accessible(&page::thanks(&form), words.lang);
        accessible(&page::said(words, words.wrong, words.many), words.lang);
    }
}

#[test]
fn what_was_chosen_is_chosen_again() {
    let form = form("en");
    let pairs: Vec<(String, String)> =
        [("f.size", "M"), ("f.why", "broken"), ("f.land", "DE"), ("f.agree", "true"), ("f.day", "2026-05-31")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    let (judged, _) = form.judge(&pairs);
    let html = page::asked(&form, &judged, "t", None);
    for piece in [
        "value=\"M\" checked",
        "value=\"broken\" checked",
        "<option value=\"DE\" selected",
        "value=\"2026-05-31\"",
        "required checked",
    ] {
        assert!(html.contains(piece), "{piece}: {html}");
    }
    assert_eq!(html.matches(" checked").count() + html.matches(" selected").count(), 4);
}

#[test]
fn what_comes_back_is_letter_by_letter_what_was_typed() {
    let family = "\u{1f469}\u{200d}\u{1f467}";
    let json = format!(
        r#"{{"title":"T","fields":[{{"name":"a","label":"A"}},{{"name":"b","label":"B","lines":3}},
        {{"name":"c","label":"C","type":"choice","options":["{family}","x"]}}]}}"#
    );
    let Ok(Value::Map(with)) = Value::from_json(json.as_bytes()) else { panic!("JSON") };
    let form = Form::read(&with).unwrap();
    let text = format!("{family}\u{5d0}\u{200f}\tb");
    let pairs = [("f.a", text.clone()), ("f.b", format!("{text}\r\n<c>")), ("f.c", family.to_owned())];
    let (judged, _) = form.judge(&pairs.map(|(name, value)| (name.to_owned(), value)));
    let html = page::asked(&form, &judged, "t", Some("why"));
    for piece in
        [format!("value=\"{text}\""), format!("{text}\r\n&lt;c&gt;</textarea>"), format!("value=\"{family}\" checked")]
    {
        assert!(html.contains(&piece), "{piece:?}: {html}");
    }
}

fn luminance(colour: &str) -> f64 {
    let part = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}

/// WCAG 2.2, 1.4.3 and 1.4.11.
#[test]
fn every_colour_is_seen_on_its_ground() {
    let of = |name: &str, dark: bool| {
        let found = COLOURS.iter().find(|colour| colour.0 == name).unwrap();
        if dark { found.2 } else { found.1 }
    };
    let contrast = |one: &str, two: &str| {
        let (one, two) = (luminance(one), luminance(two));
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    };
    assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 0.01, "the measure itself");
    for dark in [false, true] {
        for (front, ground, least) in [
            ("text", "ground", 7.0),
            ("quiet", "ground", 4.5),
            ("wrong", "ground", 4.5),
            ("link", "ground", 4.5),
            ("on-button", "button", 4.5),
            ("line", "ground", 3.0),
            ("button", "ground", 3.0),
        ] {
            let found = contrast(of(front, dark), of(ground, dark));
            assert!(found >= least, "{front} on {ground} (dark: {dark}): {found:.2}");
        }
    }
}

#[test]
fn the_style_sheet_is_the_only_thing_a_page_may_use() {
    let policy = page::policy();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    // Hashed is what stands between the tags.
    let form = form("en");
    let html = page::asked(&form, &Judged::empty(&form), "t", None);
    let inside = html.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>")).unwrap().0;
    assert_eq!(inside, page::style());
}
