//! stub
/// stub
pub fn store() -> crate::store::Store {
    crate::store::Store::default()
}
