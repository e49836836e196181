//! Reads a body within its bounds: bytes, pauses, total time, memory over all deliveries.
//!
//! A body that is refused is read on for a moment and thrown away, so that its sender hears the answer instead of
//! a broken connection.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::http::Limits;
use crate::http::answer::Refused;
use crate::http::limits::Place;

/// Bytes of a refused body that are read and thrown away.
const WASTE_MAX: usize = 8 * 1024 * 1024;
/// How long that may take.
const WASTE_TIME: Duration = Duration::from_secs(2);

/// Reads the body, byte-exact, at most `body_max` bytes of it.
///
/// # Errors
/// Too large, too slow, broken off, or no memory for it.
pub async fn read(
    mut body: Body,
    length: Option<u64>,
    body_max: usize,
    limits: &Limits,
    place: &mut Place,
) -> Result<Vec<u8>, Refused> {
    let most = u64::try_from(body_max).unwrap_or(u64::MAX);
    if length.is_some_and(|length| length > most) {
        waste(&mut body).await;
        return Err(Refused::TooLarge(body_max));
    }
    let until = Instant::now() + limits.body_total;
    let expected = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(expected.min(64 * 1024));
    while let Some(chunk) = next(&mut body, until.min(Instant::now() + limits.body_idle)).await? {
        if bytes.len() + chunk.len() > body_max {
            waste(&mut body).await;
            return Err(Refused::TooLarge(body_max));
        }
        if !place.grow(bytes.len() + chunk.len()) {
            drop((bytes, chunk));
            waste(&mut body).await;
            return Err(Refused::Busy(1));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn next(body: &mut Body, until: Instant) -> Result<Option<Bytes>, Refused> {
    loop {
        match timeout_at(until, body.frame()).await {
            Err(_) => return Err(Refused::Slow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => {
                return Err(Refused::Malformed("the body broke off or its chunks are malformed".to_owned()));
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads a refused body on and throws it away, within bounds.
pub async fn waste(body: &mut Body) {
    let until = Instant::now() + WASTE_TIME;
    let mut left = WASTE_MAX;
    while let Ok(Some(chunk)) = next(body, until).await {
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            return;
        }
    }
}

/// The beginning of a body that is refused in any case, at most `most` bytes of it; and whether that is all.
pub async fn some(body: &mut Body, most: usize, limits: &Limits, place: &mut Place) -> (Vec<u8>, bool) {
    let until = Instant::now() + limits.body_total.min(WASTE_TIME);
    let mut bytes = Vec::new();
    loop {
        match next(body, until.min(Instant::now() + limits.body_idle)).await {
            Ok(Some(chunk)) => {
                let room = most - bytes.len();
                let taken = chunk.len().min(room);
                if !place.grow(bytes.len() + taken) {
                    return (bytes, false);
                }
                bytes.extend_from_slice(chunk.get(..taken).unwrap_or_default());
                if chunk.len() > room {
                    return (bytes, false);
                }
            }
            Ok(None) => return (bytes, true),
            Err(_) => return (bytes, false),
        }
    }
}
