//! Reads a backup from front to end: every frame opens, every sum is right, every value fits its row.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use aura_protocol::TenantId;

use super::frames::Opener;
use super::{ArchiveError, DAMAGED_MAX, Head, Manifest, Progress, Proved, Sum, TableSum};
use crate::migrate::LAYOUT;
use crate::seal;
use crate::table::{Key, Table};
use crate::vault::Vault;

/// Largest head or list of sums, in bytes.
const RECORD_MAX: u32 = 1024 * 1024;

/// Reads all of it and gives what it holds; nothing is written anywhere.
pub(crate) fn prove(path: &Path, vault: &Vault, progress: &Progress) -> Result<Proved, ArchiveError> {
    let mut damaged = Vec::new();
    let mut damaged_rows = 0_u64;
    let (manifest, file_bytes) = each(path, vault, progress, &mut |table, key, value| {
        if !fits(vault, table, key, value) {
            damaged_rows += 1;
            if damaged.len() < DAMAGED_MAX {
                damaged.push(format!("{} {}", table.name(), key.hex()));
            }
        }
        Ok(())
    })?;
    Ok(Proved { manifest, file_bytes, damaged, damaged_rows })
}

/// Whether a stored value opens; tenants become known as their rows come by.
pub(crate) fn fits(vault: &Vault, table: Table, key: &Key, value: &[u8]) -> bool {
    if table.is_plain() {
        return seal::unplain(table, key, value).is_some();
    }
    let Some(tenant) = key.id_at(0).map(TenantId::from_bytes) else { return false };
    if table == Table::Tenants {
        return vault.unwrap(tenant, value).is_some_and(|keys| {
            let _ = vault.learn(tenant, keys);
            true
        });
    }
    vault.known(tenant).is_some_and(|keys| seal::unseal(keys.data(), table, key, value).is_some())
}

/// What is done with each row.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(Table, &Key, &[u8]) -> Result<(), ArchiveError>;

/// Visits every row in order; the sums are proved at the end.
pub(crate) fn each(
    path: &Path,
    vault: &Vault,
    progress: &Progress,
    visit: Visit<'_>,
) -> Result<(Manifest, u64), ArchiveError> {
    let file = File::open(path).map_err(|error| ArchiveError::io("open", path, &error))?;
    let meta = file.metadata().map_err(|error| ArchiveError::io("read", path, &error))?;
    if !meta.is_file() {
        return Err(ArchiveError::Foreign(path.display().to_string()));
    }
    progress.begin(meta.len());
    let mut from = Opener::new(BufReader::with_capacity(256 * 1024, file), path, vault)?;
    let head: Head = record(&mut from, path)?;
    if head.layout > LAYOUT.number {
        let program = aura_protocol::text::display(&head.program).chars().take(40).collect();
        let path = path.display().to_string();
        return Err(ArchiveError::Newer { path, found: head.layout, known: LAYOUT.number, program });
    }
    let mut current: Option<(Table, Sum)> = None;
    let mut sums: Vec<TableSum> = Vec::new();
    let mut rows = 0_u64;
    loop {
        let [number] = from.bytes::<1>()?;
        if number == 0 {
            break;
        }
        let table = Table::ALL.iter().copied().find(|table| table.number() == number);
        let table = table.ok_or_else(|| ArchiveError::damaged(path, format!("it has an unknown table {number}")))?;
        let key = usize::from(u16::from_be_bytes(from.bytes()?));
        let value = usize::try_from(u32::from_be_bytes(from.bytes()?)).unwrap_or(usize::MAX);
        let (key, value) = (Key(from.vec(key)?), from.vec(value)?);
        if current.as_ref().is_none_or(|(of, _)| *of != table)
            && let Some((of, sum)) = current.replace((table, Sum::default()))
        {
            sums.push(sum.end(of));
        }
        if let Some((_, sum)) = &mut current {
            sum.add(&key, &value);
        }
        visit(table, &key, &value)?;
        progress.add(key.0.len() + value.len());
        rows += 1;
        if rows.is_multiple_of(4_096) {
            progress.go_on()?;
        }
    }
    if let Some((of, sum)) = current {
        sums.push(sum.end(of));
    }
    let tables: Vec<TableSum> = record(&mut from, path)?;
    from.end()?;
    if tables.iter().filter(|sum| sum.rows > 0).ne(sums.iter()) {
        return Err(ArchiveError::damaged(path, "its rows are not those that its sums tell"));
    }
    Ok((Manifest { head, tables }, meta.len()))
}

fn record<T: serde::de::DeserializeOwned, R: std::io::Read>(
    from: &mut Opener<'_, R>,
    path: &Path,
) -> Result<T, ArchiveError> {
    let length = u32::from_be_bytes(from.bytes()?);
    if length > RECORD_MAX {
        return Err(ArchiveError::damaged(path, "its head is too long"));
    }
    let bytes = from.vec(usize::try_from(length).unwrap_or(usize::MAX))?;
    aura_protocol::wire::decode(&bytes).map_err(|error| ArchiveError::damaged(path, format!("not decoded: {error}")))
}
