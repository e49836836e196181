//! The two programs: how each is started, and what its lines mean.
//!
//! Invariant: pure. A line is outside text: of it only an `https` address of a form that the program is known to print
//! counts, and a short sentence for people. A token that it prints goes no further than [`without_tokens`].

use aura_protocol::text::display;
use url::Url;

use crate::config::PUBLIC_URL_MAX;

/// Longest sentence that is kept of a line, in characters.
const WORDS_MAX: usize = 200;

/// Stands where a token was.
const TOKEN: &str = "[token]";
/// A value of the environment that is shorter is no token.
const TOKEN_MIN: usize = 4;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Cloudflare's `cloudflared`.
    Cloudflared,
    /// `ngrok`.
    Ngrok,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The tunnel is up under this address.
    Up(String),
    /// Something went wrong, in the program's words.
    Wrong(String),
    /// Why it ends: the first such line says it, those behind it explain at length.
    Parting(String),
    /// Nothing that counts.
    Other,
}

impl Kind {
    /// From the setting `tunnel`.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        [Self::Cloudflared, Self::Ngrok].into_iter().find(|kind| kind.word() == word)
    }

    /// As the setting names it, and its program.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cloudflared => "cloudflared",
            Self::Ngrok => "ngrok",
        }
    }

    /// Variables of the environment that are its own: how it finds its account.
    #[must_use]
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Cloudflared => &["TUNNEL_TOKEN", "TUNNEL_TOKEN_FILE", "TUNNEL_CRED_FILE", "TUNNEL_ORIGIN_CERT"],
            Self::Ngrok => &["NGROK_AUTHTOKEN", "NGROK_CONFIG"],
        }
    }

    /// The one of them that is a secret itself; the others are paths.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Cloudflared => "TUNNEL_TOKEN",
            Self::Ngrok => "NGROK_AUTHTOKEN",
        }
    }

    /// What to do if it is not there.
    #[must_use]
    pub fn install(self) -> &'static str {
        match self {
            Self::Cloudflared => {
                "install it (https://github.com/cloudflare/cloudflared/releases), or name it with `tunnel_program`"
            }
            Self::Ngrok => {
                "install it (https://ngrok.com/download) and give it your token, or name it with `tunnel_program`"
            }
        }
    }

    /// Its arguments; `own` are given in place of the usual ones, `{url}` stands for the door.
    #[must_use]
    pub fn arguments(self, door: &str, hostname: &str, own: &[String]) -> Vec<String> {
        if !own.is_empty() {
            return own.iter().map(|word| word.replace("{url}", door)).collect();
        }
        let address = format!("https://{hostname}");
        let words: &[&str] = match (self, hostname) {
            (Self::Cloudflared, "") => &["tunnel", "--no-autoupdate", "--url", door],
            (Self::Cloudflared, _) => &["tunnel", "--no-autoupdate", "run", "--url", door],
            (Self::Ngrok, "") => &["http", door, "--log", "stdout", "--log-format", "json"],
            (Self::Ngrok, _) => &["http", door, "--log", "stdout", "--log-format", "json", "--url", &address],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// What a line of it says; with a `hostname` the address is known before.
    #[must_use]
    pub fn line(self, line: &str, hostname: &str) -> Line {
        match self {
            Self::Cloudflared => of_cloudflared(line, hostname),
            Self::Ngrok => of_ngrok(line),
        }
    }
}

fn of_cloudflared(line: &str, hostname: &str) -> Line {
    if !hostname.is_empty() {
        if line.contains("Registered tunnel connection") {
            return Line::Up(format!("https://{hostname}"));
        }
    } else if let Some(found) = line.split(|c: char| c.is_whitespace() || c == '|').find_map(quick) {
        return Line::Up(found);
    }
    match line.split_once(" ERR ") {
        Some((_, words)) => Line::Wrong(short(words)),
        None => Line::Other,
    }
}

/// The address of a quick tunnel. Its service's own address is none.
fn quick(word: &str) -> Option<String> {
    let address = address(word)?;
    let name = address.strip_prefix("https://")?.strip_suffix(".trycloudflare.com")?;
    (name != "api" && !name.contains('.')).then_some(address)
}

fn of_ngrok(line: &str) -> Line {
    let Ok(serde_json::Value::Object(said)) = serde_json::from_str(line) else {
        // What it says at its end, beside its log.
        return match line.trim().strip_prefix("ERROR:").map(str::trim) {
            Some(words) if !words.is_empty() => Line::Parting(short(words)),
            _ => Line::Other,
        };
    };
    let text = |name: &str| said.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    if let Some(found) = address(text("url")).filter(|_| text("msg").starts_with("started tunnel")) {
        return Line::Up(found);
    }
    match (text("lvl"), text("err")) {
        ("eror" | "crit", words) if !matches!(words, "" | "<nil>" | "nil") => Line::Wrong(short(words)),
        _ => Line::Other,
    }
}

/// A bare `https` address, without a slash at its end.
fn address(word: &str) -> Option<String> {
    let url = Url::parse(word).ok().filter(|url| url.scheme() == "https" && url.path() == "/" && word.is_ascii())?;
    let plain =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let address = url.as_str().trim_end_matches('/').to_owned();
    (plain && url.domain().is_some() && address.len() <= PUBLIC_URL_MAX).then_some(address)
}

/// The line without the token, wherever it stands, and without whatever it calls an authtoken: `ngrok` prints the one that
/// it does not accept (`ERR_NGROK_105`, `ERR_NGROK_107`), also one of its own file.
#[must_use]
pub fn without_tokens(line: &str, token: Option<&str>) -> String {
    let token = token.map(str::trim).filter(|token| token.len() >= TOKEN_MIN);
    let line = token.map_or_else(|| line.to_owned(), |token| line.replace(token, TOKEN));
    // In lower case every byte stays where it was.
    let lower = line.to_ascii_lowercase();
    let (mut out, mut done) = (String::with_capacity(line.len()), 0);
    for (at, name) in lower.match_indices("authtoken") {
        let rest = line.get(at + name.len()..).unwrap_or_default();
        let value = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '=' | '"' | '\\'));
        let from = line.len() - value.len();
        let between = line.get(at + name.len()..from).unwrap_or_default();
        if at < done || !between.contains([':', '=']) {
            continue;
        }
        let length = value.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\\' | ',')).unwrap_or(value.len());
        out.push_str(line.get(done..from).unwrap_or_default());
        if length > 0 {
            out.push_str(TOKEN);
        }
        done = from + length;
    }
    out.push_str(line.get(done..).unwrap_or_default());
    out
}

fn short(words: &str) -> String {
    let first = words.lines().next().unwrap_or_default();
    display(&first.trim().chars().take(WORDS_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_program_prints_only_its_own_address_counts() {
        let up = |address: &str| Line::Up(address.to_owned());
        let wrong = |words: &str| Line::Wrong(words.to_owned());
        let check = |kind: Kind, hostname: &str, line: &str, expected: Line| {
            assert_eq!(kind.line(line, hostname), expected, "{line}");
        };
        let cloudflared = |line: &str, expected: Line| check(Kind::Cloudflared, "", line, expected);
        cloudflared(
            "2026-11-22T23:00:00Z INF |  https://blue-cat-1.trycloudflare.com                      |",
            up("https://blue-cat-1.trycloudflare.com"),
        );
        cloudflared("INF Requesting new quick Tunnel on trycloudflare.com...", Line::Other);
        cloudflared("INF see https://developers.cloudflare.com/cloudflare-one/ for more", Line::Other);
        cloudflared("INF https://evil.example/x.trycloudflare.com", Line::Other);
        cloudflared("INF http://a.trycloudflare.com", Line::Other);
        cloudflared("INF https://u:p@a.trycloudflare.com", Line::Other);
        cloudflared(
            "2026-11-22T23:00:00Z ERR failed to request quick Tunnel: Post \"https://api.trycloudflare.com/tunnel\": \u{1b}[2J",
            wrong("failed to request quick Tunnel: Post \"https://api.trycloudflare.com/tunnel\": ␛[2J"),
        );
        cloudflared("Post https://api.trycloudflare.com", Line::Other);
        check(
            Kind::Cloudflared,
            "hooks.example.com",
            "2026-11-22T23:00:00Z INF Registered tunnel connection connIndex=0 location=fra01",
            up("https://hooks.example.com"),
        );
        check(Kind::Cloudflared, "hooks.example.com", "INF https://a.trycloudflare.com", Line::Other);
        let ngrok = |line: &str, expected: Line| check(Kind::Ngrok, "", line, expected);
        ngrok(
            r#"{"addr":"http://127.0.0.1:8470","lvl":"info","msg":"started tunnel","name":"command_line","obj":"tunnels","t":"x","url":"https://1a2b.ngrok-free.app"}"#,
            up("https://1a2b.ngrok-free.app"),
        );
        ngrok(r#"{"lvl":"info","msg":"started tunnel","url":"http://1a2b.ngrok-free.app"}"#, Line::Other);
        ngrok(r#"{"lvl":"info","msg":"update available","url":"https://ngrok.com"}"#, Line::Other);
        ngrok(
            r#"{"lvl":"eror","err":"authentication failed: no token\r\nsee","msg":"x"}"#,
            wrong("authentication failed: no token"),
        );
        ngrok(r#"{"lvl":"info","err":"<nil>","msg":"x"}"#, Line::Other);
        ngrok("ERROR:  authentication failed", Line::Parting("authentication failed".to_owned()));
        ngrok("ERROR:", Line::Other);
        ngrok("[1, 2", Line::Other);
        ngrok(&format!(r#"{{"msg":"started tunnel","url":"https://{}.example"}}"#, "a".repeat(300)), Line::Other);
    }

    #[test]
    fn a_token_that_a_program_prints_goes_no_further() {
        let check = |line: &str, expected: &str| assert_eq!(without_tokens(line, Some("2abC_tok\n")), expected);
        check("ERROR:  Your authtoken: 2abC_tok", "ERROR:  Your authtoken: [token]");
        check("ERROR:  Your authtoken: of_its_file, it says", "ERROR:  Your authtoken: [token], it says");
        check(
            r#"{"err":"failed: x\r\nYour Authtoken: other\r\nsee","authtoken":"third","n":"2abC_tok"}"#,
            r#"{"err":"failed: x\r\nYour Authtoken: [token]\r\nsee","authtoken":"[token]","n":"[token]"}"#,
        );
        check("authtoken=ä authtoken:", "authtoken=[token] authtoken:");
        check("install your authtoken at https://ngrok.com", "install your authtoken at https://ngrok.com");
        assert_eq!(without_tokens("ERR a tunnel", Some("a")), "ERR a tunnel");
        assert_eq!(without_tokens("ERR a tunnel", None), "ERR a tunnel");
    }

    #[test]
    fn a_program_is_started_with_the_door_and_what_a_person_gives_wins() {
        let check = |kind: Kind, hostname: &str, own: &[&str], expected: &str| {
            let own: Vec<String> = own.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(kind.arguments("http://127.0.0.1:1", hostname, &own).join(" "), expected);
        };
        check(Kind::Cloudflared, "", &[], "tunnel --no-autoupdate --url http://127.0.0.1:1");
        check(Kind::Cloudflared, "a.example", &[], "tunnel --no-autoupdate run --url http://127.0.0.1:1");
        check(
            Kind::Cloudflared,
            "a.example",
            &["tunnel", "run", "--url={url}", "mine"],
            "tunnel run --url=http://127.0.0.1:1 mine",
        );
        check(Kind::Ngrok, "", &[], "http http://127.0.0.1:1 --log stdout --log-format json");
        check(
            Kind::Ngrok,
            "a.example",
            &[],
            "http http://127.0.0.1:1 --log stdout --log-format json --url https://a.example",
        );
    }
}
