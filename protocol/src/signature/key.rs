//! Keys and their proofs: HMAC over three hashes, the plain digest, ECDSA over P-256.
//!
//! Every comparison of secret bytes takes the same time wherever they differ; an empty or unreadable secret is no
//! key at all.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use super::{Algorithm, Encoding, Hash, Key, Refusal, Scheme};

/// People paste secrets with and without `=` at the end; both are the same key.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key that takes in the signed bytes and then judges signatures.
#[derive(Clone)]
pub(super) enum Keyed {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
    /// The secret is in it already.
    Digest(Sha256),
    Ecdsa(Box<VerifyingKey>, Sha256),
}

impl Keyed {
    /// The key that a secret is under a scheme.
    pub fn of(scheme: &Scheme<'_>, secret: &str) -> Result<Self, Refusal> {
        if secret.is_empty() {
            return Err(Refusal::NoSecret { scheme: scheme.name.to_owned() });
        }
        let bad = |form| Refusal::BadSecret { scheme: scheme.name.to_owned(), form };
        let decoded;
        let bytes = match &scheme.key {
            Key::Text => secret.as_bytes(),
            Key::Base64 { prefix } => match ANY_PADDING.decode(secret.strip_prefix(prefix).unwrap_or(secret)) {
                Ok(bytes) if !bytes.is_empty() => {
                    decoded = bytes;
                    &decoded
                }
                _ => return Err(bad("base 64, as in whsec_…")),
            },
            Key::PublicKey => {
                decoded = public_key(secret).ok_or_else(|| bad("the public key that the vendor shows, in base 64"))?;
                &decoded
            }
        };
        let unusable = || bad("of another length");
        Ok(match scheme.algorithm {
            Algorithm::Hmac(Hash::Sha1) => Self::Sha1(Hmac::new_from_slice(bytes).map_err(|_| unusable())?),
            Algorithm::Hmac(Hash::Sha256) => Self::Sha256(Hmac::new_from_slice(bytes).map_err(|_| unusable())?),
            Algorithm::Hmac(Hash::Sha512) => Self::Sha512(Hmac::new_from_slice(bytes).map_err(|_| unusable())?),
            Algorithm::Digest => Self::Digest(Sha256::new_with_prefix(bytes)),
            Algorithm::EcdsaP256 => {
                let key =
                    VerifyingKey::from_public_key_der(bytes).map_err(|_| bad("a public key of the curve P-256"))?;
                Self::Ecdsa(Box::new(key), Sha256::new())
            }
        })
    }

    /// Takes in more of the signed bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(mac) => mac.update(bytes),
            Self::Sha256(mac) => mac.update(bytes),
            Self::Sha512(mac) => mac.update(bytes),
            Self::Digest(digest) | Self::Ecdsa(_, digest) => digest.update(bytes),
        }
    }

    /// Whether one of the signatures fits; HMACs and digests are compared in constant time.
    pub fn proves(self, signatures: &[Signed]) -> bool {
        match self {
            Self::Sha1(mac) => signatures.iter().any(|given| mac.clone().verify_slice(given.bytes()).is_ok()),
            Self::Sha256(mac) => signatures.iter().any(|given| mac.clone().verify_slice(given.bytes()).is_ok()),
            Self::Sha512(mac) => signatures.iter().any(|given| mac.clone().verify_slice(given.bytes()).is_ok()),
            Self::Digest(digest) => {
                let digest = digest.finalize();
                signatures.iter().any(|given| bool::from(digest.as_slice().ct_eq(given.bytes())))
            }
            Self::Ecdsa(key, digest) => {
                let hash = digest.finalize();
                signatures.iter().any(|given| {
                    Signature::from_der(given.bytes()).is_ok_and(|found| key.verify_prehash(&hash, &found).is_ok())
                })
            }
        }
    }

    /// The signature itself, for schemes where the same secret signs and checks.
    pub fn finish(self) -> Option<Vec<u8>> {
        match self {
            Self::Sha1(mac) => Some(mac.finalize().into_bytes().to_vec()),
            Self::Sha256(mac) => Some(mac.finalize().into_bytes().to_vec()),
            Self::Sha512(mac) => Some(mac.finalize().into_bytes().to_vec()),
            Self::Digest(digest) => Some(digest.finalize().to_vec()),
            Self::Ecdsa(..) => None,
        }
    }
}

/// Signs with the private key in base 64 (PKCS #8), as SendGrid does; only doubles of it have one.
pub(super) fn sign_ecdsa(secret: &str, pieces: impl Iterator<Item = Vec<u8>>) -> Option<Vec<u8>> {
    let key = SigningKey::from_pkcs8_der(&ANY_PADDING.decode(secret).ok()?).ok()?;
    let mut digest = Sha256::new();
    for piece in pieces {
        digest.update(&piece);
    }
    let signature: Signature = key.sign_prehash(&digest.finalize()).ok()?;
    Some(signature.to_der().as_bytes().to_vec())
}

/// The bytes of a public key as people paste it: base 64, perhaps with PEM's first and last line.
fn public_key(secret: &str) -> Option<Vec<u8>> {
    let inner = secret.trim();
    let inner = inner.strip_prefix("-----BEGIN PUBLIC KEY-----").unwrap_or(inner);
    let inner = inner.strip_suffix("-----END PUBLIC KEY-----").unwrap_or(inner);
    let text: String = inner.chars().filter(|found| !found.is_whitespace()).collect();
    ANY_PADDING.decode(text).ok()
}

/// Longest signature: a SHA-512, or ECDSA over P-256 in DER (72).
const SIGNATURE_MAX: usize = 72;

/// The bytes of one signature.
#[derive(Clone, Copy)]
pub(super) struct Signed {
    bytes: [u8; SIGNATURE_MAX + 3],
    length: usize,
}

impl Signed {
    /// Reads a signature; `None` if it cannot be one of this scheme.
    pub fn read(scheme: &Scheme<'_>, text: &str) -> Option<Self> {
        let mut bytes = [0; SIGNATURE_MAX + 3];
        let length = match scheme.encoding {
            Encoding::Hex if text.bytes().any(|byte| byte.is_ascii_uppercase()) => return None,
            Encoding::Hex => {
                let length = text.len() / 2;
                hex::decode_to_slice(text, bytes.get_mut(..length)?).ok()?;
                length
            }
            Encoding::Base64 => STANDARD.decode_slice(text, &mut bytes).ok()?,
        };
        let fits = match scheme.algorithm {
            Algorithm::Hmac(Hash::Sha1) => length == 20,
            Algorithm::Hmac(Hash::Sha256) | Algorithm::Digest => length == 32,
            Algorithm::Hmac(Hash::Sha512) => length == 64,
            Algorithm::EcdsaP256 => (8..=SIGNATURE_MAX).contains(&length),
        };
        fits.then_some(Self { bytes, length })
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// What a signature of this scheme looks like, for a refusal.
    pub fn form(scheme: &Scheme<'_>) -> &'static str {
        match (scheme.encoding, scheme.algorithm) {
            (Encoding::Hex, Algorithm::Hmac(Hash::Sha1)) => "holds no signature of 40 lower-case hexadecimal digits",
            (Encoding::Hex, Algorithm::Hmac(Hash::Sha512)) => "holds no signature of 128 lower-case hexadecimal digits",
            (Encoding::Hex, _) => "holds no signature of 64 lower-case hexadecimal digits",
            (Encoding::Base64, Algorithm::Hmac(Hash::Sha1)) => "holds no signature of 20 bytes in base 64",
            (Encoding::Base64, Algorithm::Hmac(Hash::Sha512)) => "holds no signature of 64 bytes in base 64",
            (Encoding::Base64, Algorithm::EcdsaP256) => "holds no signature in DER and base 64",
            (Encoding::Base64, _) => "holds no signature of 32 bytes in base 64",
        }
    }
}
