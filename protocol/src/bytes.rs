//! Raw bytes on the wire: binary in MessagePack; in JSON text if they are UTF-8, else `{"base64": "…"}`.
//!
//! For `#[serde(with = "crate::bytes")]` on a `Vec<u8>`. People and scripts read bodies as text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shown {
    Text(String),
    Binary { base64: String },
}

/// Writes bytes.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return serde_bytes::serialize(bytes, serializer);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => Shown::Binary { base64: STANDARD.encode(bytes) }.serialize(serializer),
    }
}

/// Reads bytes.
///
/// # Errors
/// Those of the deserializer, and bad base64.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    if !deserializer.is_human_readable() {
        return serde_bytes::deserialize(deserializer);
    }
    match Shown::deserialize(deserializer)? {
        Shown::Text(text) => Ok(text.into_bytes()),
        Shown::Binary { base64 } => STANDARD.decode(base64).map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Body(#[serde(with = "super")] Vec<u8>);

    #[test]
    fn bytes_are_text_for_people_and_binary_for_us() {
        for (bytes, json) in [(&b"{\"a\":1}"[..], r#""{\"a\":1}""#), (&[0xff, 0][..], r#"{"base64":"/wA="}"#)] {
            let body = Body(bytes.to_vec());
            assert_eq!(serde_json::to_string(&body).unwrap(), json);
            assert_eq!(serde_json::from_str::<Body>(json).unwrap(), body);
            let packed = crate::wire::encode(&body).unwrap();
            assert_eq!(crate::wire::decode::<Body>(&packed).unwrap(), body);
        }
    }
}
