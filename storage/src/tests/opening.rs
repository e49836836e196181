//! What is refused, each with a sentence, and what the file looks like.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::support::{MASTER, TENANT, block_on, put};
use crate::backend::redb::{File, Redb};
use crate::backend::{Backend, Change};
use crate::store::{OpenError, Store, StoreOptions};
use crate::table::{Key, Table};
use crate::writer::{Schema, meta, stored};

fn refused(dir: &tempfile::TempDir, expected: &str) {
    let error = Store::open(&StoreOptions::in_dir(dir.path(), MASTER)).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

/// A directory with a closed store that holds a secret.
fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreOptions::in_dir(dir.path(), MASTER)).unwrap();
    block_on(async {
        let key = Key::tenant(TENANT).number(1);
        store.commit(put(&store, Table::Flows, key, "sealed-canary-4711")).await.unwrap();
        store.close().await;
    });
    dir
}

#[test]
fn a_second_opener_is_refused_and_told_where() {
    let dir = filled();
    let store = Store::open(&StoreOptions::in_dir(dir.path(), MASTER)).unwrap();
    let error = Store::open(&StoreOptions::in_dir(dir.path(), MASTER)).unwrap_err();
    assert!(matches!(&error, OpenError::InUse { pid, .. } if *pid == std::process::id().to_string()), "{error:?}");
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    drop(store);
    assert!(Store::open(&StoreOptions::in_dir(dir.path(), MASTER)).is_ok());
}

#[test]
fn another_master_key_is_refused_and_changes_nothing() {
    let dir = filled();
    let before = fs::read(dir.path().join("aura.redb")).unwrap();
    let error = Store::open(&StoreOptions::in_dir(dir.path(), [8; 32])).unwrap_err();
    assert!(error.to_string().contains("the master key does not fit this store"), "{error}");
    assert_eq!(before.len(), fs::read(dir.path().join("aura.redb")).unwrap().len());
    let store = Store::open(&StoreOptions::in_dir(dir.path(), MASTER)).unwrap();
    assert_eq!(store.epoch(), 2, "the refused start is not counted");
}

#[test]
fn a_newer_file_is_refused_with_both_versions() {
    let dir = filled();
    let backend = Redb::open(File(dir.path().join("aura.redb")), 1 << 20).unwrap();
    let known = crate::migrate::LAYOUT.number;
    let schema = Schema { schema: known + 1, program: "9.9.9".into() };
    let value = stored(Table::Meta, &meta::schema(), &schema).unwrap();
    backend.write(vec![Change { table: Table::Meta, key: meta::schema(), value: Some(value) }]).unwrap();
    backend.close().unwrap();
    let newer = known + 1;
    refused(&dir, &format!("layout {newer} (written by aura 9.9.9) and this program knows layouts up to {known}"));
}

#[test]
fn cut_and_foreign_files_are_refused() {
    let dir = filled();
    let path = dir.path().join("aura.redb");
    let whole = fs::read(&path).unwrap();
    for length in [0, 4, 9, 100, 512, 4_096, 8_192, whole.len() / 2, whole.len() - 4_096, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Store::open(&StoreOptions::in_dir(dir.path(), MASTER)).expect_err(&length.to_string());
        assert!(matches!(error, OpenError::Damaged { .. }), "{length}: {error:?}");
    }
    fs::write(&path, b"SQLite format 3\0 and so on").unwrap();
    refused(&dir, "is not a store of aura");
    fs::write(&path, [&whole[..9], &[0xA5; 20_000]].concat()).unwrap();
    refused(&dir, "is damaged");
    fs::write(&path, &whole).unwrap();
    assert!(Store::open(&StoreOptions::in_dir(dir.path(), MASTER)).is_ok());
}

#[test]
fn a_database_of_somebody_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = redb::Database::create(dir.path().join("aura.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(redb::TableDefinition::<u64, u64>::new("other")).unwrap();
    txn.commit().unwrap();
    drop(database);
    refused(&dir, "its table `meta` is missing");
}

#[test]
fn a_creation_that_was_cut_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("aura.new"), b"half").unwrap();
    assert_eq!(Store::open(&StoreOptions::in_dir(dir.path(), MASTER)).unwrap().epoch(), 1);
    assert!(!dir.path().join("aura.new").exists());
}

#[test]
fn files_are_private_and_show_nothing() {
    let dir = filled();
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["aura.lock", "aura.redb"]);
    for name in names {
        let path = dir.path().join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let content = fs::read(&path).unwrap();
        for secret in [&b"sealed-canary"[..], &MASTER] {
            assert!(!content.windows(secret.len()).any(|part| part == secret), "{}", path.display());
        }
    }
    let options = format!("{:?}", StoreOptions::in_dir(dir.path(), MASTER));
    assert!(!options.contains("7, 7"), "{options}");
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    let error = Store::open(&StoreOptions::in_dir(dir.path().join("file/below"), MASTER)).unwrap_err();
    assert!(error.to_string().contains("could not create"), "{error}");
}

#[test]
fn stores_of_earlier_releases_open_and_are_whole() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");
    let mut opened = 0;
    for entry in fs::read_dir(golden).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("aura.redb").exists() {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::copy(path.join("aura.redb"), dir.path().join("aura.redb")).unwrap();
        let options = StoreOptions::in_dir(dir.path(), *b"a master key that only tests use");
        let store = Store::open(&options).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(store.check(true), Ok(vec![]), "{}", path.display());
        let schema: Schema = store.get(TENANT, Table::Meta, &meta::schema()).unwrap().unwrap();
        assert_eq!(schema.schema, crate::migrate::LAYOUT.number, "{}", path.display());
        block_on(store.close());
        assert_eq!(Store::open(&options).unwrap().check(true), Ok(vec![]), "{}: a second time", path.display());
        opened += 1;
    }
    assert!(opened > 0, "no golden store was found");
}
