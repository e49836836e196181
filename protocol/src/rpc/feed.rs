//! Requests and replies of `aura listen`: deliveries as they come, behind a cursor, and their bytes for a copy.
//!
//! Invariant: what the feed gives is decided by [`DeliveryFeed::takes`] alone, which daemon and client share; a cursor
//! is one of the tail, so between two answers nothing is left out, whatever happened to the link or the daemon.

use serde::{Deserialize, Serialize};

use super::webhooks::DeliveryRow;
use crate::event::EventState;
use crate::ids::{DeliveryId, RunId};

/// Longest wait of one question, in milliseconds.
pub const FEED_WAIT_MS_MAX: u32 = 25_000;
/// Most endpoints and flows that one feed names.
pub const FEED_NAMES_MAX: usize = 64;
/// Most bytes of a body in one answer.
pub const RAW_MAX: u32 = 1024 * 1024;

/// A flow, or one endpoint of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookName {
    /// The flow.
    pub flow: String,
    /// One trigger of it; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
}

/// `aura listen`: which deliveries, and behind what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryFeed {
    /// Only to these; empty: to all.
    #[serde(default)]
    pub only: Vec<HookName>,
    /// Also what an endpoint refused, or answered as a handshake.
    #[serde(default)]
    pub refused: bool,
    /// Also what nobody takes: to unknown addresses, closed endpoints and disabled flows.
    #[serde(default)]
    pub unclaimed: bool,
    /// Their bytes will be asked for: whoever may not see these hears it at once.
    #[serde(default)]
    pub bodies: bool,
    /// Behind this cursor of the tail; none: only say where now is.
    #[serde(default)]
    pub cursor: Option<u64>,
    /// Wait so long for news, at most [`FEED_WAIT_MS_MAX`].
    #[serde(default)]
    pub wait_ms: u32,
}

impl DeliveryFeed {
    /// Whether a delivery is asked for. Repeats of an accepted one are not: their bodies are kept nowhere.
    #[must_use]
    pub fn takes(&self, row: &DeliveryRow) -> bool {
        let named = self.only.is_empty()
            || self.only.iter().any(|name| {
                name.flow == row.flow && name.trigger.as_ref().is_none_or(|trigger| *trigger == row.trigger)
            });
        match row.state {
            Some(EventState::Duplicate) => false,
            Some(_) => named,
            None => {
                let free = row.verdict.claimable() && row.event.is_none();
                let nowhere = row.flow.is_empty();
                (self.refused && !nowhere && named) || (self.unclaimed && free && (nowhere || named))
            }
        }
    }
}

/// What came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryNews {
    /// In the order in which they were stored. One that was held is told again when it moves.
    pub deliveries: Vec<DeliveryRow>,
    /// For the next question.
    pub cursor: u64,
    /// The tail does not reach back to the cursor that was asked with: look into the list of deliveries.
    #[serde(default)]
    pub cut: bool,
    /// The daemon's wall clock, by which ids are made, in Unix milliseconds.
    pub wall_ms: i64,
    /// Refused ones since the daemon's start that were not kept: too many at once, or no room.
    #[serde(default)]
    pub unkept: u64,
}

/// The bytes of one delivery, in windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawQuery {
    /// Which.
    pub id: DeliveryId,
    /// The run that it began, if one is known: spares a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// From this byte of the body.
    #[serde(default)]
    pub offset: u64,
    /// At most so many bytes, at most [`RAW_MAX`].
    pub limit: u32,
}

/// One delivery as it came, unmasked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawDelivery {
    /// Method.
    pub method: String,
    /// The path it was asked for; of an accepted one that of its endpoint today.
    pub path: String,
    /// Query without `?`.
    pub query: String,
    /// Headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Names of headers that came and are never kept, where that is known.
    #[serde(default)]
    pub withheld: Vec<String>,
    /// A window of the body.
    #[serde(with = "crate::bytes")]
    pub body: Vec<u8>,
    /// Length of the whole body that is kept.
    pub total: u64,
    /// All of the body is kept, byte for byte.
    pub whole: bool,
    /// It holds a link that is not for whoever asks, so nothing of it is given.
    #[serde(default)]
    pub masked: bool,
}

#[cfg(test)]
mod tests {
    use super::super::webhooks::Verdict;
    use super::*;

    #[test]
    fn a_feed_takes_what_was_asked_for_and_nothing_else() {
        let row = |place: &str, verdict, state| {
            let (flow, trigger) = place.split_once('/').unwrap_or(("", ""));
            DeliveryRow { flow: flow.into(), trigger: trigger.into(), verdict, state, ..DeliveryRow::default() }
        };
        let only = |names: &[&str]| -> Vec<HookName> {
            names
                .iter()
                .map(|name| {
                    let (flow, trigger) = name.split_once('/').map_or((*name, None), |(flow, of)| (flow, Some(of)));
                    HookName { flow: flow.into(), trigger: trigger.map(str::to_owned) }
                })
                .collect()
        };
        let rows = [
            ("shop/paid", Verdict::Proved, Some(EventState::Started)),
            ("shop/paid", Verdict::Proved, Some(EventState::Duplicate)),
            ("shop/paid", Verdict::Digest, None),
            ("shop/paid", Verdict::Disabled, None),
            ("shop/back", Verdict::Open, Some(EventState::Held)),
            ("", Verdict::NoEndpoint, None),
        ];
        let check = |names: &[&str], refused, unclaimed, expected: &[usize]| {
            let feed = DeliveryFeed { only: only(names), refused, unclaimed, ..DeliveryFeed::default() };
            let taken = |at: &usize| {
                rows.get(*at).is_some_and(|(place, verdict, state)| feed.takes(&row(place, *verdict, *state)))
            };
            let found: Vec<usize> = (0..rows.len()).filter(taken).collect();
            assert_eq!(found, expected, "{names:?} {refused} {unclaimed}");
        };
        check(&[], false, false, &[0, 4]);
        check(&["shop/back"], false, false, &[4]);
        check(&["shop"], true, false, &[0, 2, 3, 4]);
        check(&["other"], true, true, &[5]);
        check(&[], false, true, &[0, 3, 4, 5]);
        check(&["shop/paid"], true, true, &[0, 2, 3, 5]);
        let claimed = DeliveryRow { event: Some(crate::EventId::now()), ..row("", Verdict::NoEndpoint, None) };
        assert!(!DeliveryFeed { unclaimed: true, ..DeliveryFeed::default() }.takes(&claimed));
    }
}
