//! The socket: who may serve it, what is left behind, and what lies in the way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use super::socket::bind;

#[tokio::test]
async fn a_socket_is_private_taken_once_and_removed_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/aurad.sock");
    let bound = bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o750);
    let error = bind(&path).unwrap_err();
    assert!(error.to_string().contains("another aurad serves it"), "{error}");
    assert_eq!(error.exit_code(), 69);
    drop(bound);
    assert!(!path.exists());
    bind(&path).unwrap();
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_everything_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let stale = dir.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    bind(&stale).unwrap();

    let living = dir.path().join("living.sock");
    let other = UnixListener::bind(&living).unwrap();
    let error = bind(&living).unwrap_err();
    assert!(error.to_string().contains("another program answers"), "{error}");
    drop(other);

    let file = dir.path().join("file");
    fs::write(&file, "precious").unwrap();
    let error = bind(&file).unwrap_err();
    assert!(error.to_string().contains("no socket lies there"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let long = dir.path().join("x".repeat(120));
    assert!(bind(&long).unwrap_err().to_string().contains("longer than 100 bytes"));
}
