//! Text for people and addresses: cases, slugs, shortening, lines, and what is found inside a text.

use unicode_segmentation::UnicodeSegmentation as _;

use super::super::data::Data;
use super::super::eval::{Machine, Outcome};
use super::types::TEXT;
use super::{Args, Function, method};

pub(super) const FUNCTIONS: &[Function] = &[
    method(
        "toTitleCase",
        TEXT,
        (0, 0),
        "With every word in small letters and its first one large.",
        ("'ANN o\\'neill-smith'.toTitleCase()", "\"Ann O'neill-Smith\""),
        title_case,
    ),
    method(
        "toSentenceCase",
        TEXT,
        (0, 0),
        "With its first letter large.",
        ("'hello World'.toSentenceCase()", "\"Hello World\""),
        sentence_case,
    ),
    method(
        "toSnakeCase",
        TEXT,
        (0, 0),
        "Words in small letters joined by `_`.",
        ("'orderTotal EUR'.toSnakeCase()", "\"order_total_eur\""),
        snake_case,
    ),
    method(
        "toCamelCase",
        TEXT,
        (0, 0),
        "Words joined, all but the first with a large letter.",
        ("'order total-eur'.toCamelCase()", "\"orderTotalEur\""),
        camel_case,
    ),
    method(
        "slug",
        TEXT,
        (0, 0),
        "For addresses: plain small letters and digits, words joined by `-`.",
        ("'Crème brûlée & Öl (5%)'.slug()", "\"creme-brulee-oel-5\""),
        slug,
    ),
    method(
        "truncate",
        TEXT,
        (1, 2),
        "At most a characters, the last of them b (`…`) if it was cut; whole letters with their accents.",
        ("'a long text'.truncate(7)", "\"a long…\""),
        truncate,
    ),
    method("lines", TEXT, (0, 0), "Its lines, without their ends.", ("'a\\r\\nb\\n'.lines()", "[\"a\",\"b\"]"), lines),
    method(
        "words",
        TEXT,
        (0, 0),
        "Its words as Unicode counts them.",
        ("'Ann\\'s 2 apples!'.words()", "[\"Ann's\",\"2\",\"apples\"]"),
        words,
    ),
    method(
        "collapse",
        TEXT,
        (0, 0),
        "Trimmed, and white space inside as one space.",
        ("'  a \\n b '.collapse()", "\"a b\""),
        collapse,
    ),
    method(
        "removePrefix",
        TEXT,
        (1, 1),
        "Without a at its start, if it begins so.",
        ("'re: hi'.removePrefix('re: ')", "\"hi\""),
        remove_prefix,
    ),
    method(
        "removeSuffix",
        TEXT,
        (1, 1),
        "Without a at its end, if it ends so.",
        ("'a.pdf'.removeSuffix('.pdf')", "\"a\""),
        remove_suffix,
    ),
    method(
        "before",
        TEXT,
        (1, 1),
        "What stands before the first a; all of it if there is none.",
        ("'ann@x.de'.before('@')", "\"ann\""),
        before,
    ),
    method(
        "after",
        TEXT,
        (1, 1),
        "What stands behind the first a; nothing if there is none.",
        ("'ann@x.de'.after('@')", "\"x.de\""),
        after,
    ),
    method(
        "removeTags",
        TEXT,
        (0, 0),
        "Without HTML tags; not a filter against hostile HTML.",
        ("'<p>Hi <b>Ann</b></p>'.removeTags()", "\"Hi Ann\""),
        remove_tags,
    ),
    method(
        "extractEmail",
        TEXT,
        (0, 0),
        "The first e-mail address in it, or null.",
        ("'to Ann <ann@x.de>, now'.extractEmail()", "\"ann@x.de\""),
        extract_email,
    ),
    method(
        "extractDomain",
        TEXT,
        (0, 0),
        "The host of an address or e-mail address, or null.",
        ("'https://shop.x.de:8080/a?b'.extractDomain()", "\"shop.x.de\""),
        extract_domain,
    ),
    method(
        "extractUrl",
        TEXT,
        (0, 0),
        "The first http or https address in it, or null.",
        ("'see https://x.de/a?b=1.'.extractUrl()", "\"https://x.de/a?b=1\""),
        extract_url,
    ),
    method(
        "isEmail",
        TEXT,
        (0, 0),
        "Whether it looks like one e-mail address.",
        ("'ann@x.de'.isEmail()", "true"),
        is_email,
    ),
    method(
        "isUrl",
        TEXT,
        (0, 0),
        "Whether it is an http or https address.",
        ("'https://x.de'.isUrl()", "true"),
        is_url,
    ),
];

/// The text, paid for as a walk over it that makes about as much.
fn walked<'a, 'v>(machine: &mut Machine<'a>, args: &'v Args<'a, '_>) -> Outcome<'a, &'v str> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.steps(text.len() / 16)?;
    machine.grow(text.len())?;
    Ok(text)
}

fn capital(out: &mut String, word: &str) {
    let mut letters = word.chars();
    if let Some(first) = letters.next() {
        out.extend(first.to_uppercase());
        out.push_str(letters.as_str());
    }
}

fn title_case<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let lower = walked(machine, args)?.to_lowercase();
    let mut out = String::with_capacity(lower.len());
    let mut inside = false;
    for letter in lower.chars() {
        let word = letter.is_alphanumeric() || matches!(letter, '\'' | '’');
        if word && !inside {
            out.extend(letter.to_uppercase());
        } else {
            out.push(letter);
        }
        inside = word;
    }
    machine.made_text(out)
}

fn sentence_case<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = String::new();
    capital(&mut out, walked(machine, args)?);
    machine.made_text(out)
}

/// Words of a name: split at what is no letter or digit, and where a small letter meets a large one.
fn parts(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let (mut open, mut small) = (false, false);
    for letter in text.chars() {
        if !letter.is_alphanumeric() {
            open = false;
            continue;
        }
        if !open || (small && letter.is_uppercase()) {
            out.push(String::new());
        }
        small = letter.is_lowercase() || letter.is_numeric();
        open = true;
        if let Some(word) = out.last_mut() {
            word.extend(letter.to_lowercase());
        }
    }
    out
}

fn named<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a, Vec<String>> {
    let parts = parts(walked(machine, args)?);
    machine.grow_items(parts.len())?;
    Ok(parts)
}

fn snake_case<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = named(machine, args)?.join("_");
    machine.made_text(text)
}

fn camel_case<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let mut out = String::new();
    for (place, word) in named(machine, args)?.iter().enumerate() {
        if place == 0 {
            out.push_str(word);
        } else {
            capital(&mut out, word);
        }
    }
    machine.made_text(out)
}

/// Letters that people write differently without their marks; the rest loses what has no plain form.
fn plain(letter: char) -> &'static str {
    match letter {
        'a' | 'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'ä' | 'æ' => "ae",
        'ç' | 'ć' | 'č' | 'ĉ' | 'ċ' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' | 'ĝ' | 'ġ' | 'ģ' => "g",
        'ì' | 'í' | 'î' | 'ï' | 'ĩ' | 'ī' | 'į' | 'ı' => "i",
        'ł' | 'ľ' | 'ĺ' | 'ļ' => "l",
        'ñ' | 'ń' | 'ň' | 'ņ' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' | 'ō' | 'ő' => "o",
        'ö' | 'œ' => "oe",
        'ř' | 'ŕ' => "r",
        'ś' | 'š' | 'ş' | 'ș' => "s",
        'ß' => "ss",
        'ť' | 'ţ' | 'ț' => "t",
        'þ' => "th",
        'ù' | 'ú' | 'û' | 'ũ' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
        'ü' => "ue",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => "",
    }
}

fn slug<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let lower = walked(machine, args)?.to_lowercase();
    let mut out = String::new();
    for letter in lower.chars() {
        match plain(letter) {
            "" if letter.is_ascii_alphanumeric() => out.push(letter),
            // An accent of its own behind its letter, and an apostrophe within a word, are left out.
            "" if matches!(letter, '\u{300}'..='\u{36f}' | '\'' | '’') => {}
            "" if out.is_empty() || out.ends_with('-') => {}
            "" => out.push('-'),
            letters => out.push_str(letters),
        }
    }
    let length = out.trim_end_matches('-').len();
    out.truncate(length);
    machine.made_text(out)
}

fn truncate<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = walked(machine, args)?;
    let most = usize::try_from(args.int(1)?.max(0)).unwrap_or(usize::MAX);
    let end: &str = if args.get(2).is_some() { args.text(2)? } else { "…" };
    machine.scan(end.len())?;
    let letters: Vec<(usize, &str)> = text.grapheme_indices(true).take(most.saturating_add(1)).collect();
    if letters.len() <= most {
        return machine.made_text(text.to_owned());
    }
    let kept = most.saturating_sub(end.graphemes(true).count());
    let cut = letters.get(kept).map_or(text.len(), |(at, _)| *at);
    let head = text.get(..cut).unwrap_or_default().trim_end();
    let end: String = end.graphemes(true).take(most).collect();
    machine.made_text(format!("{head}{end}"))
}

fn list<'a>(machine: &mut Machine<'a>, items: impl Iterator<Item = String>) -> Outcome<'a> {
    let mut out = Vec::new();
    for item in items {
        machine.grow_items(1)?;
        out.push(machine.made_text(item)?);
    }
    Ok(Data::list(out))
}

fn lines<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = walked(machine, args)?;
    list(machine, text.lines().map(str::to_owned))
}

fn words<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = walked(machine, args)?;
    list(machine, text.unicode_words().map(str::to_owned))
}

fn collapse<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = walked(machine, args)?;
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    machine.made_text(out)
}

fn remove_prefix<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, part) = (args.text(0)?, args.text(1)?);
    machine.scan(part.len())?;
    machine.made_text(text.strip_prefix(&**part).unwrap_or(text).to_owned())
}

fn remove_suffix<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, part) = (args.text(0)?, args.text(1)?);
    machine.scan(part.len())?;
    machine.made_text(text.strip_suffix(&**part).unwrap_or(text).to_owned())
}

fn before<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, part) = (args.text(0)?, args.text(1)?);
    machine.scan(text.len())?;
    machine.made_text(text.split_once(&**part).map_or(&**text, |(head, _)| head).to_owned())
}

fn after<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, part) = (args.text(0)?, args.text(1)?);
    machine.scan(text.len())?;
    machine.made_text(text.split_once(&**part).map_or("", |(_, tail)| tail).to_owned())
}

fn remove_tags<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = walked(machine, args)?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tag)) = rest.split_once('<') {
        out.push_str(head);
        let begins = tag.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?'));
        rest = match tag.split_once('>').filter(|_| begins) {
            Some((_, after)) => after,
            None if begins => "",
            None => {
                out.push('<');
                tag
            }
        };
    }
    out.push_str(rest);
    machine.made_text(out)
}

fn is_local(byte: char) -> bool {
    byte.is_alphanumeric() || matches!(byte, '.' | '_' | '%' | '+' | '-' | '\'' | '/' | '=' | '&' | '~' | '#')
}

fn host_of(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-'))).unwrap_or(text.len());
    let host = text.get(..end)?.trim_end_matches(['.', '-']);
    let labels = host.split('.').count();
    let fits = labels > 1 && host.split('.').all(|label| !label.is_empty() && !label.starts_with('-'));
    (fits && host.len() <= 253).then_some(host)
}

/// The first e-mail address of a text.
fn email(text: &str) -> Option<String> {
    for (at, _) in text.match_indices('@') {
        let (head, tail) = (text.get(..at)?, text.get(at + 1..)?);
        // 64 characters is the longest local part that mail servers take.
        let local: Vec<char> = head.chars().rev().take(65).take_while(|c| is_local(*c)).collect();
        let local: String = local.iter().rev().collect();
        let local = local.trim_start_matches(['.', '/', '\'', '=', '&', '#']);
        if let Some(host) = host_of(tail).filter(|_| !local.is_empty() && local.chars().count() <= 64) {
            return Some(format!("{local}@{host}"));
        }
    }
    None
}

/// The first address with a scheme of the web.
fn address(text: &str) -> Option<&str> {
    let starts = ["https://", "http://"].into_iter().filter_map(|scheme| text.find(scheme));
    let rest = text.get(starts.min()?..)?;
    let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '`' | '|')).unwrap_or(rest.len());
    let found = rest.get(..end)?.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '\'']);
    found.split_once("://").filter(|(_, host)| !host.is_empty()).map(|_| found)
}

fn or_null<'a>(machine: &mut Machine<'a>, found: Option<String>) -> Outcome<'a> {
    found.map_or(Ok(Data::Null), |found| machine.made_text(found))
}

fn extract_email<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.steps(text.len() / 4 + 1)?;
    // Each `@` may look back at a local part.
    machine.steps(text.matches('@').count().saturating_mul(4))?;
    or_null(machine, email(text))
}

fn extract_domain<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    let rest = text.split_once("://").map_or(text.trim(), |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    or_null(machine, host_of(host).map(str::to_lowercase))
}

fn extract_url<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    or_null(machine, address(text).map(str::to_owned))
}

fn is_email<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len().min(1_000))?;
    let one = text.len() <= 320 && text.matches('@').count() == 1;
    Ok(Data::Bool(one && email(text).is_some_and(|found| *found == **text)))
}

fn is_url<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    Ok(Data::Bool(address(text).is_some_and(|found| *found == **text)))
}
