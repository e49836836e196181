//! `aurad demo`.
use crate::config::Options;
use crate::stop::Stop;
/// Runs the demo.
///
/// # Errors
/// It did not come to its good end.
pub async fn run(_options: Options, _paced: bool) -> Result<(), Stop> {
    Err(Stop::Demo("not written yet".to_owned()))
}
