//! Digests and keyed digests, as providers want them: in hexadecimal digits or base64.
//!
//! MD5 and SHA-1 are here because providers name things by them (Mailchimp members, Gravatar, old signatures);
//! nothing of ours is protected by them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::super::eval::{Fail, Machine, Outcome};
use super::types::TEXT;
use super::{Args, Function, both};

pub(super) const FUNCTIONS: &[Function] = &[
    both(
        "sha256",
        TEXT,
        (0, 1),
        "The SHA-256 digest in hexadecimal digits, or as a: 'hex', 'base64', 'base64url'.",
        ("sha256('').slice(0, 8)", "\"e3b0c442\""),
        sha256,
    ),
    both(
        "sha512",
        TEXT,
        (0, 1),
        "The SHA-512 digest, written as with sha256.",
        ("sha512('').slice(0, 8)", "\"cf83e135\""),
        sha512,
    ),
    both(
        "sha1",
        TEXT,
        (0, 1),
        "The SHA-1 digest, written as with sha256; not for protection.",
        ("sha1('abc').slice(0, 8)", "\"a9993e36\""),
        sha1,
    ),
    both(
        "md5",
        TEXT,
        (0, 1),
        "The MD5 digest, written as with sha256; not for protection.",
        ("'ann@x.de'.md5().length", "32"),
        md5,
    ),
    both(
        "hmac",
        TEXT,
        (1, 3),
        "The HMAC under key a with 'sha256' (or b: 'sha1', 'sha512'), written as c says, as with sha256.",
        ("'Hi There'.hmac('key', 'sha256', 'base64')", "\"51hlrD/nOoB0mXAB/N8znbuHggCs5u+nDw7hst86PPY=\""),
        hmac,
    ),
];

/// The digest in the wanted writing.
fn written<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>, place: usize, bytes: &[u8]) -> Outcome<'a> {
    let how: &str = if args.get(place).is_some() { args.text(place)? } else { "hex" };
    let text = match how {
        "hex" => hex::encode(bytes),
        "base64" => STANDARD.encode(bytes),
        "base64url" => URL_SAFE_NO_PAD.encode(bytes),
        _ => {
            let name = args.function.name;
            return Err(Fail::new(format!("`{name}` writes its digest as 'hex', 'base64' or 'base64url'")));
        }
    };
    machine.made_text(text)
}

fn digest<'a, D: Digest>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let text = args.text(0)?;
    machine.steps(text.len() / 8 + 8)?;
    written(machine, args, 1, &D::digest(text.as_bytes()))
}

fn sha256<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    digest::<Sha256>(machine, args)
}

fn sha512<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    digest::<Sha512>(machine, args)
}

fn sha1<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    digest::<Sha1>(machine, args)
}

fn md5<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    digest::<Md5>(machine, args)
}

/// HMAC takes keys of every length.
fn keyed<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    <M as KeyInit>::new_from_slice(key)
        .map(|mut mac| {
            mac.update(text);
            mac.finalize().into_bytes().to_vec()
        })
        .unwrap_or_default()
}

fn hmac<'a>(machine: &mut Machine<'a>, args: &Args<'a, '_>) -> Outcome<'a> {
    let (text, key) = (args.text(0)?, args.text(1)?);
    machine.steps((text.len() + key.len()) / 8 + 16)?;
    let (text, key) = (text.as_bytes(), key.as_bytes());
    let with: &str = if args.get(2).is_some() { args.text(2)? } else { "sha256" };
    let bytes = match with {
        "sha256" => keyed::<Hmac<Sha256>>(key, text),
        "sha1" => keyed::<Hmac<Sha1>>(key, text),
        "sha512" => keyed::<Hmac<Sha512>>(key, text),
        _ => return Err(Fail::new("`hmac` works with 'sha256', 'sha1' or 'sha512'")),
    };
    written(machine, args, 3, &bytes)
}
