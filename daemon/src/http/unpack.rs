//! Unpacks the body of a delivery whose trigger asked for it, within bounds.
//!
//! The invariant: what is unpacked is never larger than the trigger's limit, nor than ten times what came (or 64 KiB),
//! and its memory counts as that of any body. It runs after the proof: nobody who is not known makes us unpack.

use std::io::Read;

use aura_protocol::intake::{RATIO_FREE, RATIO_MAX};
use flate2::bufread::GzDecoder;

use crate::http::answer::Refused;
use crate::http::limits::Place;

/// Bytes that are unpacked without giving others a turn: a millisecond's worth.
const TURN: usize = 256 * 1024;

/// The text of a gzip body.
///
/// # Errors
/// Larger than `most`, more than ten times its size, damaged, or no memory for it.
pub async fn gunzip(packed: &[u8], most: usize, place: &mut Place) -> Result<Vec<u8>, Refused> {
    let broken = || Refused::Malformed("the body is no gzip, or damaged".to_owned());
    let free = usize::try_from(RATIO_FREE).unwrap_or(usize::MAX);
    let times = usize::try_from(RATIO_MAX).unwrap_or(usize::MAX);
    let ratio = packed.len().saturating_mul(times).max(free);
    let mut decoder = GzDecoder::new(packed);
    let mut out = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    let mut turn = 0;
    loop {
        let read = decoder.read(&mut piece).map_err(|_| broken())?;
        if read == 0 {
            break;
        }
        if out.len() + read > most {
            return Err(Refused::TooLarge(most));
        }
        if out.len() + read > ratio {
            return Err(Refused::Malformed(format!("the body unpacks to more than {RATIO_MAX} times its size")));
        }
        if !place.grow(packed.len() + out.len() + read) {
            return Err(Refused::Busy(1));
        }
        out.extend_from_slice(piece.get(..read).unwrap_or_default());
        turn += read;
        if turn >= TURN {
            turn = 0;
            tokio::task::yield_now().await;
        }
    }
    // Something behind the end would be proved and then lost.
    if decoder.into_inner().is_empty() { Ok(out) } else { Err(broken()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::http::limits::InFlight;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn what_was_packed_comes_back_and_bombs_do_not() {
        let at_work = InFlight::new(4, 1024 * 1024);
        let mut place = at_work.enter().unwrap();
        let text = br#"{"order": 17, "lines": ["a", "b", "c"]}"#;
        assert_eq!(gunzip(&packed(text), 4096, &mut place).await.unwrap(), text);
        let mut more = packed(text);
        more.push(0);
        let half = packed(text);
        for (bytes, what) in [
            (more.as_slice(), "something behind the end"),
            (&half[..half.len() - 4], "cut off"),
            (text.as_slice(), "not packed"),
            (b"".as_slice(), "nothing"),
        ] {
            let refused = gunzip(bytes, 4096, &mut place).await.unwrap_err();
            assert!(matches!(refused, Refused::Malformed(_)), "{what}: {refused}");
        }
        let zeros = packed(&vec![0; 300_000]);
        assert_eq!(gunzip(&zeros, 4096, &mut place).await.unwrap_err(), Refused::TooLarge(4096));
        let bomb = gunzip(&zeros, 1_000_000, &mut place).await.unwrap_err();
        assert_eq!(bomb, Refused::Malformed("the body unpacks to more than 10 times its size".to_owned()));
        let little = packed(&vec![b'a'; 60_000]);
        assert_eq!(gunzip(&little, 1_000_000, &mut place).await.unwrap().len(), 60_000, "little may pack well");
        let tight = InFlight::new(4, 16 * 1024);
        let mut place = tight.enter().unwrap();
        assert_eq!(gunzip(&little, 1_000_000, &mut place).await.unwrap_err(), Refused::Busy(1));
    }
}
