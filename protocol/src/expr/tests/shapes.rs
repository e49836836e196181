//! The edges of words, sets, shapes, working days, encodings and digests; what the examples of the page do not show.

use super::check_all;

#[test]
fn words_and_extracts() {
    check_all(&[
        ("'éCOLE d’été'.toTitleCase()", "\"École D’été\""),
        ("''.toSentenceCase()", "\"\""),
        ("'ßx'.toSentenceCase()", "\"SSx\""),
        ("'HTTPServer v2 ready'.toSnakeCase()", "\"httpserver_v2_ready\""),
        ("'--'.toCamelCase()", "\"\""),
        ("'  Straße 5 / Łódź  '.slug()", "\"strasse-5-lodz\""),
        ("'e\\u0301t'.slug()", "\"et\""),
        ("'日本'.slug()", "\"\""),
        ("'abc'.truncate(3)", "\"abc\""),
        ("'abcd'.truncate(3)", "\"ab…\""),
        ("'abcd'.truncate(3, '')", "\"abc\""),
        ("'abcd'.truncate(2, '...')", "\"..\""),
        ("'abcd'.truncate(-1)", "\"\""),
        ("'👩‍👩‍👧x'.truncate(1, '')", "\"👩‍👩‍👧\""),
        ("''.lines()", "[]"),
        ("'a\\n\\nb'.lines()", "[\"a\",\"\",\"b\"]"),
        ("' '.collapse()", "\"\""),
        ("'abc'.removePrefix('b')", "\"abc\""),
        ("'abc'.before('x')", "\"abc\""),
        ("'abc'.after('x')", "\"\""),
        ("'a=b=c'.after('=')", "\"b=c\""),
        ("'1 < 2 <br/>and<!-- x -->y <b'.removeTags()", "\"1 < 2 andy \""),
        ("'@ a@b x.y@z.de.'.extractEmail()", "\"x.y@z.de\""),
        ("'mailto:ann@x.de'.extractEmail()", "\"ann@x.de\""),
        ("'nobody'.extractEmail()", "null"),
        ("'ANN@X.de'.extractDomain()", "\"x.de\""),
        ("'http://u:p@h.example/a'.extractDomain()", "\"h.example\""),
        ("'localhost'.extractDomain()", "null"),
        ("'(http://x.de/a), more'.extractUrl()", "\"http://x.de/a\""),
        ("'ftp://x.de'.extractUrl()", "null"),
        ("'https://'.extractUrl()", "null"),
        ("'ann@x.de '.isEmail()", "false"),
        ("'a@b'.isEmail()", "false"),
        ("'https://x.de/ä'.isUrl()", "true"),
        ("'see https://x.de'.isUrl()", "false"),
    ]);
}

#[test]
fn lists_taken_together() {
    check_all(&[
        ("[].avg()", "null"),
        ("[0.1, 0.2].avg()", "0.15"),
        ("[1, 'a'].avg()", "! item 1 of the list is text and cannot be added"),
        ("[4, 1, 3, 2].median()", "2.5"),
        ("[].median()", "null"),
        ("[].min()", "null"),
        ("[1, 'a'].max()", "! text and an integer have no order"),
        ("[date('2024-05-02'), date('2024-05-01')].min()", "\"2024-05-01T00:00:00Z\""),
        ("[1.50, 1.5].max()", "1.50"),
        ("[].sumBy(x => x.n)", "0"),
        ("[{n: null}].sumBy(x => x.n)", "! item 0 of the list is null and cannot be added"),
        ("[].maxBy(x => x)", "null"),
        ("[{n: 1, a: 1}, {n: 1, a: 2}].minBy(x => x.n).a", "1"),
        ("[1].countBy(x => x > 0)", "! the key of an item must be text, it is a boolean ~ write `String(x.key)`"),
        (
            "[1, 2].partition(x => x)",
            "! the function's result must be true or false, it is an integer ~ ask with `x != 0`",
        ),
        ("[1, 2].findLast(x => x > 5)", "null"),
        ("[1, 2].take(9)", "[1,2]"),
        ("[1, 2].take(-1)", "[]"),
        ("[1, 2].drop(9)", "[]"),
        ("[[], {}, false, ' '].compact()", "[false,\" \"]"),
        ("[1].pluck('id')", "! item 0 of the list must be an object, it is an integer"),
        ("[1, 1.0].union([{a: 1}, {a: 1}])", "[1,{\"a\":1}]"),
        ("['a'].difference(['a', 1])", "[]"),
        ("[1, 'a', 1].intersection(['a', 1.0])", "[1,\"a\"]"),
        ("[{id: '1'}].joinBy([{id: 1}], 'id')", "[]"),
        ("[{id: 1}].joinBy([{id: 1.0, a: 2}, {id: 1, a: 3}], 'id')", "[{\"id\":1,\"a\":2}]"),
        ("[{id: 1, a: 1}].joinBy([{id: 1, a: 2}], 'id')", "[{\"id\":1,\"a\":1}]"),
        ("[{id: null}].leftJoinBy([{id: null, a: 2}], 'id')", "[{\"id\":null}]"),
        ("range(3)", "[0,1,2]"),
        ("range(3, 1)", "[]"),
        (
            "range(0, 1000000000000)",
            "! the expression needs more than 250000 steps ~ work on fewer items, or do this in a code step",
        ),
    ]);
}

#[test]
fn shapes_defaults_and_amounts() {
    check_all(&[
        ("{a: 1}.mapValues((v, k) => k)", "{\"a\":\"a\"}"),
        ("{}.filterValues(v => true)", "{}"),
        ("{a: [], b: 0, c: {}}.compact()", "{\"b\":0}"),
        ("{a: 1, b: 2}.rename({a: 'b'})", "{\"b\":2}"),
        ("{a: 1}.rename({a: 2})", "! the new name of `a` must be text, it is an integer"),
        ("{a: [{b: null}]}.get('a.0.b')", "null"),
        ("{a: [{b: 1}]}.get('a.1.b', 'x')", "\"x\""),
        ("{a: 1}.get('a.b.c')", "null"),
        ("ifEmpty(null, 1)", "1"),
        ("ifEmpty(0, 1)", "0"),
        ("[].ifEmpty([1])", "[1]"),
        ("false.ifEmpty(1)", "false"),
        ("typeOf(null)", "\"null\""),
        ("typeOf(now())", "\"date\""),
        ("deepMerge({a: {x: 1, y: [1]}}, {a: {y: [2]}}, {b: 1})", "{\"a\":{\"x\":1,\"y\":[2]},\"b\":1}"),
        ("deepMerge({a: 1}, [])", "! argument 2 of `deepMerge` must be an object, it is a list"),
        ("Math.pow(2, 100)", "1267650600228229401496703205376"),
        ("Math.pow(2, 0)", "1"),
        ("Math.pow(2, -1)", "! `Math.pow` takes a whole number from 0 to 1000, this is -1"),
        ("(-5).clamp(0, 10)", "0"),
        ("(5).clamp(10, 0)", "! `clamp` takes the smaller bound first"),
        ("(1234.5).formatNumber()", "\"1,234.50\""),
        ("(-1234567).formatNumber(0, ',', ' ')", "\"-1 234 567\""),
        ("(999).formatNumber(0)", "\"999\""),
        ("(0.005).formatNumber(2)", "\"0.01\""),
        ("(1.5).formatNumber(1, ';;')", "! `formatNumber` takes one character for the point and one for thousands"),
        ("(0.1).toCents()", "10"),
        ("(12.345).toCents()", "! `toCents`: the amount has more digits than its smallest unit ~ round it first"),
        ("(1200).toCents(0)", "1200"),
        ("(-5).fromCents()", "-0.05"),
        ("(5).fromCents(3)", "0.005"),
    ]);
}

#[test]
fn working_days_and_parts_of_dates() {
    check_all(&[
        ("date('2024-05-17T22:00Z').setZone('Asia/Tokyo').isWeekend()", "true"),
        ("date('2024-05-17').isBusinessDay([date('2024-05-17T23:00Z')])", "false"),
        ("date('2024-05-18').plusBusinessDays(0)", "\"2024-05-18T00:00:00Z\""),
        ("date('2024-05-18').plusBusinessDays(-1)", "\"2024-05-17T00:00:00Z\""),
        ("date('2024-12-24').plusBusinessDays(2, ['2024-12-25', '2024-12-26']).toISODate()", "\"2024-12-30\""),
        ("date('2024-03-29T09:00', 'Europe/Berlin').plusBusinessDays(1).toISO()", "\"2024-04-01T09:00:00+02:00\""),
        ("date('2024-05-18').plusBusinessDays(99999)", "! that is more than 20000 days away"),
        (
            "date('2024-12-24').plusBusinessDays(1, ['Christmas'])",
            "! the holiday \"Christmas\" is no day ~ write it as '2024-12-25'",
        ),
        ("date('2024-05-20').businessDaysUntil(date('2024-05-17'))", "-1"),
        ("date('2024-05-17').businessDaysUntil(date('2024-05-17'))", "0"),
        ("date('1800-01-01').businessDaysUntil(date('2024-05-17'))", "! that is more than 20000 days away"),
        ("date('2024-01-31').set({month: 2})", "! there is no such date"),
        ("date('2024-05-17').set({day: 1.5})", "! day of a date must be an integer, it is a decimal"),
        (
            "date('2024-05-17').set({days: 1})",
            "! \"days\" is no part of a date ~ say year, month, day, hour, minute, second or millisecond",
        ),
        ("date('2024-05-17').set({day: 999})", "! a date cannot have the day 999"),
        ("date('2024-05-01').diffTo(date('2024-04-30'), 'hours')", "-24"),
        ("date('2024-12-30').weekNumber", "1"),
        ("date('2024-08-05').quarter", "3"),
        ("date('2024-02-05').daysInMonth", "29"),
        ("date('2024-12-31').ordinal", "366"),
    ]);
}

#[test]
fn encodings_and_digests() {
    check_all(&[
        ("base64Decode('ä?>'.base64UrlEncode())", "\"ä?>\""),
        ("hexDecode('6')", "! `hexDecode`: the text is not pairs of hexadecimal digits"),
        ("hexDecode('ff')", "! `hexDecode`: what is encoded is no UTF-8 text"),
        ("'&amp;amp; &#x1F600; &bad; & &#0; &lt'.htmlUnescape()", "\"&amp; 😀 &bad; & &#0; &lt\""),
        ("'<a href=\"x\">'.htmlEscape().htmlUnescape()", "\"<a href=\\\"x\\\">\""),
        ("'?a=1&a=2&b'.urlDecode()", "{\"a\":\"2\",\"b\":\"\"}"),
        ("['a\"b', 'x\\ny', ' z', true].csvRow(';')", "\"\\\"a\\\"\\\"b\\\";\\\"x\\ny\\\";\\\" z\\\";true\""),
        ("['a'].csvRow('')", "! `csvRow` takes one character to put between the fields, as `,` or `;`"),
        ("[].csvRow()", "\"\""),
        // RFC 1321, FIPS 180, RFC 4231 and RFC 2202.
        ("md5('abc')", "\"900150983cd24fb0d6963f7d28e17f72\""),
        ("sha1('abc')", "\"a9993e364706816aba3e25717850c26c9cd0d89d\""),
        ("sha256('abc', 'base64')", "\"ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\""),
        ("sha512('abc').slice(0, 16)", "\"ddaf35a193617aba\""),
        (
            "'what do ya want for nothing?'.hmac('Jefe')",
            "\"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843\"",
        ),
        ("'what do ya want for nothing?'.hmac('Jefe', 'sha1')", "\"effcdf6ae5eb2fa2d27416d5f184df9c259a7c79\""),
        ("'what do ya want for nothing?'.hmac('Jefe', 'sha512').slice(0, 16)", "\"164b7a7bfcf819e2\""),
        ("'x'.hmac('k', 'md5')", "! `hmac` works with 'sha256', 'sha1' or 'sha512'"),
        ("'x'.sha256('b64')", "! `sha256` writes its digest as 'hex', 'base64' or 'base64url'"),
    ]);
}
