//! How a stored value is protected: sealed with XChaCha20-Poly1305, or, in plain tables, with a CRC32C.
//!
//! Sealed: `format ‖ nonce (24) ‖ ciphertext ‖ tag (16)`, associated data `table ‖ key ‖ format`, so that a
//! value fits only its own row. Plain: `format ‖ value ‖ crc32c (4)` over `table ‖ key ‖ format ‖ value`.
//! The first byte of the value inside is the record version. Whatever does not fit is never served.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::table::{Key, Table};

/// Format of the envelope; part of the associated data.
const FORMAT: u8 = 1;
/// Version of the record inside.
const RECORD: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
const CRC: usize = 4;

/// A value cannot be written: no randomness, or it has no encoding.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("the operating system gave no random bytes: {0}")]
    Random(String),
    #[error("a value of `{0}` could not be encoded: {1}")]
    Encode(&'static str, String),
}

/// Fills an array with random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| SealError::Random(error.to_string()))?;
    Ok(bytes)
}

/// The record of a value: its version byte and MessagePack.
pub(crate) fn record<T: Serialize>(table: Table, value: &T) -> Result<Vec<u8>, SealError> {
    let mut bytes = Vec::with_capacity(128);
    append_record(&mut bytes, table, value)?;
    Ok(bytes)
}

fn append_record<T: Serialize>(bytes: &mut Vec<u8>, table: Table, value: &T) -> Result<(), SealError> {
    bytes.push(RECORD);
    aura_protocol::wire::encode_into(bytes, value).map_err(|error| SealError::Encode(table.name(), error.to_string()))
}

/// The value of a record; `None` if the version is unknown or it does not decode.
pub(crate) fn value<T: DeserializeOwned>(record: &[u8]) -> Option<T> {
    let (version, body) = record.split_first()?;
    if *version != RECORD {
        return None;
    }
    aura_protocol::wire::decode(body).ok()
}

fn associated(table: Table, key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.0.len() + 2);
    bytes.push(table.number());
    bytes.extend_from_slice(&key.0);
    bytes.push(FORMAT);
    bytes
}

/// Seals a record under a data key.
pub(crate) fn seal(data_key: &[u8; 32], table: Table, key: &Key, record: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, mut stored) = opening(record.len())?;
    stored.extend_from_slice(record);
    closing(data_key, table, key, nonce, stored)
}

/// Encodes a value and seals it where it stands: rows of the hot path are copied once less.
pub(crate) fn seal_value<T: Serialize>(
    data_key: &[u8; 32],
    table: Table,
    key: &Key,
    value: &T,
) -> Result<Vec<u8>, SealError> {
    let (nonce, mut stored) = opening(512)?;
    append_record(&mut stored, table, value)?;
    closing(data_key, table, key, nonce, stored)
}

/// Format and nonce, with room for so many bytes and the tag.
fn opening(bytes: usize) -> Result<([u8; NONCE], Vec<u8>), SealError> {
    let nonce = crate::random::draw::<NONCE>().map_err(|error| SealError::Random(error.to_string()))?;
    let mut stored = Vec::with_capacity(1 + NONCE + bytes + TAG);
    stored.push(FORMAT);
    stored.extend_from_slice(&nonce);
    Ok((nonce, stored))
}

/// Encrypts all behind the nonce and appends the tag.
fn closing(
    data_key: &[u8; 32],
    table: Table,
    key: &Key,
    nonce: [u8; NONCE],
    mut stored: Vec<u8>,
) -> Result<Vec<u8>, SealError> {
    let body = stored.get_mut(1 + NONCE..).unwrap_or_default();
    let tag = XChaCha20Poly1305::new(data_key.into())
        .encrypt_inout_detached(&XNonce::from(nonce), &associated(table, key), body.into())
        .map_err(|_| SealError::Encode(table.name(), "too large to seal".into()))?;
    stored.extend_from_slice(&tag);
    Ok(stored)
}

/// Opens a sealed record; `None` if anything about it does not fit.
pub(crate) fn unseal(data_key: &[u8; 32], table: Table, key: &Key, stored: &[u8]) -> Option<Vec<u8>> {
    let (format, rest) = stored.split_first()?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
    let (body, tag) = rest.split_last_chunk::<TAG>()?;
    if *format != FORMAT {
        return None;
    }
    let mut record = body.to_vec();
    XChaCha20Poly1305::new(data_key.into())
        .decrypt_inout_detached(
            &XNonce::from(*nonce),
            &associated(table, key),
            record.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .ok()?;
    Some(record)
}

fn checksum(table: Table, key: &Key, body: &[u8]) -> [u8; CRC] {
    let head = crc32c::crc32c(&associated(table, key));
    crc32c::crc32c_append(head, body).to_be_bytes()
}

/// A record with its checksum.
pub(crate) fn plain(table: Table, key: &Key, record: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + record.len() + CRC);
    stored.push(FORMAT);
    stored.extend_from_slice(record);
    stored.extend_from_slice(&checksum(table, key, record));
    stored
}

/// A record whose checksum fits, else `None`.
pub(crate) fn unplain<'a>(table: Table, key: &Key, stored: &'a [u8]) -> Option<&'a [u8]> {
    let (format, rest) = stored.split_first()?;
    let (record, crc) = rest.split_last_chunk::<CRC>()?;
    (*format == FORMAT && *crc == checksum(table, key, record)).then_some(record)
}

/// A plain row of a value.
pub(crate) fn plain_value<T: Serialize>(table: Table, key: &Key, value: &T) -> Result<Vec<u8>, SealError> {
    Ok(plain(table, key, &record(table, value)?))
}

/// The value of a plain row, if it fits.
pub(crate) fn unplain_value<T: DeserializeOwned>(table: Table, key: &Key, stored: &[u8]) -> Option<T> {
    value(unplain(table, key, stored)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_record_fits_only_its_own_row_and_key() {
        let key = Key::new().number(1);
        let stored = seal(&[1; 32], Table::Runs, &key, b"hello").unwrap();
        assert!(!stored.windows(5).any(|part| part == b"hello"), "in clear");
        assert_eq!(unseal(&[1; 32], Table::Runs, &key, &stored).as_deref(), Some(&b"hello"[..]));
        assert_eq!(unseal(&[2; 32], Table::Runs, &key, &stored), None, "other tenant");
        assert_eq!(unseal(&[1; 32], Table::Journal, &key, &stored), None, "other table");
        assert_eq!(unseal(&[1; 32], Table::Runs, &Key::new().number(2), &stored), None, "other row");
        for place in 0..stored.len() {
            let mut changed = stored.clone();
            changed[place] ^= 1;
            assert_eq!(unseal(&[1; 32], Table::Runs, &key, &changed), None, "byte {place}");
        }
        for length in 0..stored.len() {
            assert_eq!(unseal(&[1; 32], Table::Runs, &key, &stored[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn a_plain_record_fits_only_its_own_row() {
        let key = Key::new().number(1);
        let stored = plain(Table::Live, &key, b"hello");
        assert_eq!(unplain(Table::Live, &key, &stored), Some(&b"hello"[..]));
        assert_eq!(unplain(Table::Timers, &key, &stored), None, "other table");
        assert_eq!(unplain(Table::Live, &key.clone().number(1), &stored), None, "other row");
        for place in 0..stored.len() {
            let mut changed = stored.clone();
            changed[place] ^= 0x80;
            assert_eq!(unplain(Table::Live, &key, &changed), None, "byte {place}");
        }
    }
}
