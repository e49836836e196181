//! Encodings for addresses, HTML, hexadecimal digits and lines of CSV.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::data::{Data, Fields};
use super::super::eval::{Fail, Machine, Outcome};
use super::types::{LIST, TEXT};
use super::{Args, Function, both, plain};

pub(super) const FUNCTIONS: &[Function] = &[
    both(
        "base64UrlEncode",
        TEXT,
        (0, 0),
        "As base64 for addresses, without padding.",
        ("base64UrlEncode('hi?>')", "\"aGk_Pg\""),
        base64_url,
    ),
    both(
        "hexEncode",
        TEXT,
        (0, 0),
        "The bytes of a text in hexadecimal digits.",
        ("hexEncode('hä')", "\"68c3a4\""),
        hex_encode,
    ),
    both(
        "hexDecode",
        TEXT,
        (0, 0),
        "The text that hexadecimal digits stand for.",
        ("hexDecode('68c3a4')", "\"hä\""),
        hex_decode,
    ),
    both(
        "htmlEscape",
        TEXT,
        (0, 0),
        "With `& < > \" '` as HTML and XML write them.",
        ("'<b>\"A\" & B</b>'.htmlEscape()", "\"&lt;b&gt;&quot;A&quot; &amp; B&lt;/b&gt;\""),
        html_escape,
    ),
    both(
        "htmlUnescape",
        TEXT,
        (0, 0),
        "With `&amp; &lt; &gt; &quot; &apos; &nbsp;` and numbers such as `&#233;` as what they stand for.",
        ("'Caf&#233; &amp; Bar'.htmlUnescape()", "\"Café & Bar\""),
        html_unescape,
    ),
    plain(
        "decodeURI",
        TEXT,
        (1, 1),
        "As decodeURIComponent.",
        ("decodeURI('a%20b')", "\"a b\""),
        super::encode::decode_component,
    ),
    both(
        "urlDecode",
        TEXT,
        (0, 0),
        "A query string or form body as an object of texts; of a name that comes twice, the last.",
        ("'a=b+c&n=1'.urlDecode()", "{\"a\":\"b c\",\"n\":\"1\"}"),
        url_decode,
    ),
    both(
        "csvRow",
        LIST,
        (0, 1),
        "A line of CSV with a between its fields (a comma), in quotes where needed; null is an empty field.",
        ("['a', 'b, c', 1.50, null].csvRow()", "\"a,\\\"b, c\\\",1.50,\""),
        csv_row,
    ),
];

fn base64_url<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.grow(text.len() / 3 * 4 + 4)?;
    Ok(Data::text(URL_SAFE_NO_PAD.encode(text.as_bytes())))
}

fn hex_encode<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.grow(text.len().saturating_mul(2))?;
    Ok(Data::text(hex::encode(text.as_bytes())))
}

fn hex_decode<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.grow(text.len() / 2)?;
    let bytes =
        hex::decode(text.trim()).map_err(|_| Fail::new("`hexDecode`: the text is not pairs of hexadecimal digits"))?;
    String::from_utf8(bytes).map(Data::text).map_err(|_| Fail::new("`hexDecode`: what is encoded is no UTF-8 text"))
}

fn html_escape<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    let mut out = String::new();
    for letter in text.chars() {
        let escaped = match letter {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&#39;",
            _ => {
                machine.grow(letter.len_utf8())?;
                out.push(letter);
                continue;
            }
        };
        machine.grow(escaped.len())?;
        out.push_str(escaped);
    }
    Ok(Data::text(out))
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|letter| *letter != '\0')?
        }
    })
}

fn html_unescape<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.grow(text.len())?;
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = text;
    while let Some((head, tail)) = rest.split_once('&') {
        out.push_str(head);
        // The longest one that is known has eight letters.
        let end = tail.bytes().take(10).position(|byte| byte == b';');
        let found = end.and_then(|end| Some((entity(tail.get(..end)?)?, tail.get(end + 1..)?)));
        match found {
            Some((letter, after)) => {
                out.push(letter);
                rest = after;
            }
            None => {
                out.push('&');
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    Ok(Data::text(out))
}

fn url_decode<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.scan(text.len())?;
    machine.grow(text.len())?;
    let mut out = Fields::new();
    for (name, value) in form_urlencoded::parse(text.strip_prefix('?').unwrap_or(text).as_bytes()) {
        machine.grow_items(1)?;
        out.insert(name.into_owned().into(), Data::text(value.into_owned()));
    }
    Ok(Data::object(out))
}

fn csv_row<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let list = args.list(0)?;
    let between: &str = if args.get(1).is_some() { args.text(1)? } else { "," };
    if between.chars().count() != 1 || between == "\"" {
        return Err(Fail::new("`csvRow` takes one character to put between the fields, as `,` or `;`"));
    }
    let mut out = String::new();
    for (place, item) in list.iter().enumerate() {
        machine.steps(1)?;
        if place > 0 {
            machine.grow(between.len())?;
            out.push_str(between);
        }
        if matches!(item, Data::Null) {
            continue;
        }
        let field = super::json::shown(machine, &item)?;
        let quoted = field.contains(between) || field.contains(['"', '\n', '\r']) || field.trim() != field;
        if quoted {
            machine.grow(field.len().saturating_mul(2) + 2)?;
            out.push_str(&format!("\"{}\"", field.replace('"', "\"\"")));
        } else {
            out.push_str(&field);
        }
    }
    Ok(Data::text(out))
}
