//! Keys: the master key wraps three random keys per tenant (values, index hashes, step keys).
//!
//! master → HKDF-SHA256 → key-encryption key → seals the tenant's row in `Tenants`. A value derived beside it
//! stands in `Meta` and tells a wrong master key from a damaged row. Keys leave memory when dropped and no
//! `Debug` shows them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aura_protocol::{RunId, TenantId};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::seal::{self, SealError};
use crate::table::{Key, Table};

/// The keys of one tenant.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct TenantKeys {
    data: [u8; 32],
    index: [u8; 32],
    step: [u8; 32],
}

impl TenantKeys {
    /// New random ones.
    pub(crate) fn generate() -> Result<Self, SealError> {
        Ok(Self { data: seal::random()?, index: seal::random()?, step: seal::random()? })
    }

    /// The key that values are sealed with.
    pub(crate) fn data(&self) -> &[u8; 32] {
        &self.data
    }

    /// HMAC of labelled parts; every part carries its length, so no two lists of parts are alike.
    pub(crate) fn index_hash(&self, label: &str, parts: &[&[u8]]) -> [u8; 16] {
        let mut length_prefixed = Vec::with_capacity(64);
        for part in std::iter::once(&label.as_bytes()).chain(parts) {
            length_prefixed.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            length_prefixed.extend_from_slice(part);
        }
        first_half(&hmac(&self.index, &[&length_prefixed]))
    }

    /// The idempotency key of a step: 26 lower-case Crockford characters after `aura_`.
    pub(crate) fn step_key(&self, run: RunId, path: &str) -> String {
        let bits = u128::from_be_bytes(first_half(&hmac(&self.step, &[&run.bytes(), path.as_bytes()])));
        format!("aura_{}", aura_protocol::ids::crockford(bits).to_lowercase())
    }
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC keys shorter than a block are padded with zeros (RFC 2104).
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let block: &[u8; 64] = &block;
    let mut mac = <Hmac<Sha256> as KeyInit>::new(block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn first_half(bytes: &[u8; 32]) -> [u8; 16] {
    bytes.first_chunk().copied().unwrap_or_default()
}

/// The master key's derivates and the tenants' keys known so far.
pub(crate) struct Vault {
    wrap: Zeroizing<[u8; 32]>,
    archive: Zeroizing<[u8; 32]>,
    check: [u8; 16],
    tenants: RwLock<HashMap<TenantId, Arc<TenantKeys>>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(***)")
    }
}

impl Vault {
    /// The vault of a master key; no tenant is known yet.
    pub(crate) fn new(master: &[u8; 32]) -> Self {
        let expand = Hkdf::<Sha256>::new(None, master);
        let mut wrap = Zeroizing::new([0; 32]);
        let mut archive = Zeroizing::new([0; 32]);
        let mut check = [0; 16];
        // The lengths are far below what HKDF can give.
        let _ = expand.expand(b"aura key-encryption key 1", wrap.as_mut_slice());
        let _ = expand.expand(b"aura backup root 1", archive.as_mut_slice());
        let _ = expand.expand(b"aura key check 1", &mut check);
        Self { wrap, archive, check, tenants: RwLock::default() }
    }

    /// What the store keeps to recognise the master key.
    pub(crate) fn check(&self) -> [u8; 16] {
        self.check
    }

    /// What the keys of backups are made from.
    pub(crate) fn archive(&self) -> &[u8; 32] {
        &self.archive
    }

    /// The keys of a tenant, if known.
    pub(crate) fn known(&self, tenant: TenantId) -> Option<Arc<TenantKeys>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned()
    }

    /// Remembers a tenant's keys; those known first stay.
    pub(crate) fn learn(&self, tenant: TenantId, keys: TenantKeys) -> Arc<TenantKeys> {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tenants.entry(tenant).or_insert_with(|| Arc::new(keys)))
    }

    /// The stored form of a tenant's keys.
    pub(crate) fn wrap(&self, tenant: TenantId, keys: &TenantKeys) -> Result<Vec<u8>, SealError> {
        let mut record = Zeroizing::new(Vec::with_capacity(97));
        record.push(1);
        for key in [&keys.data, &keys.index, &keys.step] {
            record.extend_from_slice(key);
        }
        seal::seal(&self.wrap, Table::Tenants, &Key::tenant(tenant), &record)
    }

    /// Reads the stored form; `None` if it is damaged.
    pub(crate) fn unwrap(&self, tenant: TenantId, stored: &[u8]) -> Option<TenantKeys> {
        let record = Zeroizing::new(seal::unseal(&self.wrap, Table::Tenants, &Key::tenant(tenant), stored)?);
        let (data, rest) = record.strip_prefix(&[1])?.split_first_chunk::<32>()?;
        let (index, rest) = rest.split_first_chunk::<32>()?;
        let (step, rest) = rest.split_first_chunk::<32>()?;
        rest.is_empty().then_some(TenantKeys { data: *data, index: *index, step: *step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_keys_come_back_only_under_the_same_master_key_and_tenant() {
        let (vault, other) = (Vault::new(&[1; 32]), Vault::new(&[2; 32]));
        let keys = TenantKeys::generate().unwrap();
        let stored = vault.wrap(TenantId::DEFAULT, &keys).unwrap();
        assert_eq!(vault.unwrap(TenantId::DEFAULT, &stored).unwrap().data, keys.data);
        assert!(other.unwrap(TenantId::DEFAULT, &stored).is_none());
        assert!(vault.unwrap(TenantId::from_bytes([9; 16]), &stored).is_none());
        assert_ne!(vault.check(), other.check());
    }

    #[test]
    fn index_hashes_tell_parts_and_labels_apart() {
        let keys = TenantKeys::generate().unwrap();
        let hash = |label: &str, parts: &[&[u8]]| keys.index_hash(label, parts);
        assert_eq!(hash("a", &[b"b", b"c"]), hash("a", &[b"b", b"c"]));
        assert_ne!(hash("a", &[b"b", b"c"]), hash("a", &[b"bc"]));
        assert_ne!(hash("a", &[b"b", b"c"]), hash("a", &[b"bc", b""]));
        assert_ne!(hash("ab", &[b"c"]), hash("a", &[b"bc"]));
        assert_ne!(TenantKeys::generate().unwrap().index_hash("a", &[]), hash("a", &[]), "another tenant");
    }

    #[test]
    fn a_step_key_is_stable_and_has_the_promised_form() {
        let keys = TenantKeys { data: [0; 32], index: [0; 32], step: [7; 32] };
        let run = RunId::from_parts(1_790_000_000_000, &[7; 10]);
        let key = keys.step_key(run, "mail");
        assert_eq!(key, keys.step_key(run, "mail"));
        assert_ne!(key, keys.step_key(run, "offer"));
        assert_eq!(key.len(), 31);
        assert!(
            key.starts_with("aura_")
                && key.bytes().skip(5).all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        );
    }

    #[test]
    fn hmac_agrees_with_the_published_vector() {
        // RFC 4231 test case 1 has a 20-byte key; padding with zeros gives the same HMAC.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let hex: String = hmac(&key, &[b"Hi ", b"There"]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }
}
