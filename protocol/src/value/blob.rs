//! A reference to a large value that the store keeps once, by its content.
//!
//! A run's journal and state hold the reference (design §3, Values); whoever shows or computes with the value
//! reads it from the store first. In MessagePack it is binary that begins with a zero byte, which no number
//! does, so no JSON from outside can be one. As JSON it is only a text that says how large it is.

use serde::{Deserialize, Serialize};

/// Bytes of the binary form: the mark, the hash, the length.
const LENGTH: usize = 1 + 16 + 8;

/// Where a large value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    /// HMAC of the content under the tenant's index key.
    pub hash: [u8; 16],
    /// Bytes of the content before compression.
    pub bytes: u64,
}

impl BlobRef {
    /// The binary that stands for it in MessagePack.
    #[must_use]
    pub fn to_binary(self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        let parts = self.hash.iter().copied().chain(self.bytes.to_be_bytes());
        out.iter_mut().skip(1).zip(parts).for_each(|(to, from)| *to = from);
        out
    }

    /// Reads [`BlobRef::to_binary`]; `None` for anything else.
    #[must_use]
    pub fn from_binary(binary: &[u8]) -> Option<Self> {
        let (hash, rest) = binary.strip_prefix(&[0])?.split_first_chunk::<16>()?;
        let bytes = u64::from_be_bytes(rest.try_into().ok()?);
        Some(Self { hash: *hash, bytes })
    }

    /// What people see where the value itself is not shown.
    #[must_use]
    pub fn mark(self) -> String {
        format!("… {} bytes …", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn blob() -> BlobRef {
        BlobRef { hash: [7; 16], bytes: 70_000 }
    }

    #[test]
    fn a_reference_survives_the_codec_and_is_told_from_numbers() {
        let value = Value::object([("a", Value::Blob(blob())), ("b", Value::Dec("612.10".into()))]);
        let back: Value = crate::wire::decode(&crate::wire::encode(&value).unwrap()).unwrap();
        assert_eq!(back, value);
        for length in 0..LENGTH {
            assert_eq!(BlobRef::from_binary(&blob().to_binary()[..length]), None, "cut to {length}");
        }
        assert_eq!(BlobRef::from_binary(b"170141183460469231731687303715884105728"), None);
    }

    #[test]
    fn json_shows_its_size_and_never_makes_one() {
        assert_eq!(Value::List(vec![Value::Blob(blob())]).to_json(), "[\"… 70000 bytes …\"]");
        let text = Value::from_json(Value::Blob(blob()).to_json().as_bytes()).unwrap();
        assert!(!text.has_blob());
    }

    #[test]
    fn loading_replaces_every_reference_also_those_within_what_was_loaded() {
        let inner = BlobRef { hash: [1; 16], bytes: 1 };
        let mut load = |of: BlobRef| {
            let value = if of == inner { Value::Int(1) } else { Value::List(vec![Value::Blob(inner)]) };
            Ok::<_, ()>(value)
        };
        let given = Value::object([("x", Value::List(vec![Value::Blob(blob()), Value::Bool(true)]))]);
        let loaded = given.loaded(&mut load).unwrap();
        assert_eq!(loaded.to_json(), "{\"x\":[[1],true]}");
        let mut seen = Vec::new();
        given.blobs(&mut |blob| seen.push(blob));
        assert_eq!(seen, [blob()]);
    }
}
