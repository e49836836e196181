//! The one binary codec, for the socket and for stored values: MessagePack with field names.
//!
//! Decoding stops at [`DEPTH_MAX`] levels: the default limit of the library overflowed a thread's stack
//! on 1 KB of input.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Deepest nesting decoded.
pub const DEPTH_MAX: usize = 128;
/// Largest frame on the socket, in bytes.
pub const FRAME_MAX: usize = 4 * 1024 * 1024;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Could not be written.
    #[error("could not be encoded: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Could not be read.
    #[error("could not be decoded: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
}

/// Encodes with field names, so that fields can be added later.
///
/// # Errors
/// If the value cannot be represented.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(256);
    encode_into(&mut out, value)?;
    Ok(out)
}

/// Appends what [`encode`] gives.
///
/// # Errors
/// If the value cannot be represented; what was appended so far stays.
pub fn encode_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), CodecError> {
    value.serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())?;
    Ok(())
}

/// Decodes what [`encode`] wrote; bounded in depth.
///
/// # Errors
/// If the bytes are no such value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEPTH_MAX);
    Ok(T::deserialize(&mut reader)?)
}
