//! The deliveries of a daemon, each once and in order, whatever happens to the link.
//!
//! Invariant: the cursor moves only with an answer whose deliveries are given out; a link that is lost is tried again
//! for ever with longer pauses, and where the tail was trimmed meanwhile the list of deliveries fills the gap.

use std::time::Duration;

use aura_protocol::rpc::{
    DeliveryFeed, DeliveryNews, DeliveryPage, DeliveryQuery, DeliveryRow, RAW_MAX, RawDelivery, RawQuery,
};
use aura_protocol::{Code, DeliveryId, WireError};

use super::seen::Seen;
use crate::client::Session;

/// One question waits so long at the daemon.
const WAIT: Duration = Duration::from_secs(20);
/// What an answer may take beyond that.
const ANSWER: Duration = Duration::from_secs(10);
/// An accepted delivery has its id so long before its commit, in milliseconds.
const BEFORE_MS: u64 = 5_000;
/// Pauses between tries of a lost link.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(15)];
/// Rows of one page of the list.
const PAGE: u32 = 200;
/// Most deliveries of before that are given out.
const BEFORE: usize = 10_000;
/// Pages of the list that are read for them.
const PAGES: usize = 1_000;
/// Largest body that is fetched.
const BODY_MAX: u64 = 64 * 1024 * 1024;

/// What is said about the way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The link is lost, and why.
    Lost(String),
    /// It is back.
    Back,
    /// The tail was trimmed while nobody asked: so many deliveries come from the list.
    Caught(usize),
    /// There were more of before than are given out.
    TooMany,
}

/// The feed of one daemon.
pub struct Follow {
    feed: DeliveryFeed,
    seen: Seen,
    lost: Option<Duration>,
}

/// Whether an error is one of the way, or of a daemon that ends.
fn passes(error: &WireError) -> bool {
    matches!(error.code, Code::Unreachable | Code::Busy)
}

impl Follow {
    /// Begins now, or so many milliseconds before; gives what came since.
    ///
    /// # Errors
    /// What the daemon or the way to it says.
    pub async fn begin(
        feed: DeliveryFeed,
        since_ms: Option<u64>,
        session: &mut Session,
        say: &mut impl FnMut(Word),
    ) -> Result<(Self, Vec<DeliveryRow>), WireError> {
        let request = DeliveryFeed { cursor: None, ..feed };
        let now = session
            .call(|rpc, context, call| {
                let request = request.clone();
                async move { rpc.webhook_feed(context, call, request).await }
            })
            .await?;
        let wall_ms = u64::try_from(now.wall_ms).unwrap_or(0);
        let floor = since_ms.map_or(wall_ms.saturating_sub(BEFORE_MS), |since| wall_ms.saturating_sub(since));
        let feed = DeliveryFeed {
            cursor: Some(now.cursor),
            wait_ms: u32::try_from(WAIT.as_millis()).unwrap_or(20_000),
            ..request
        };
        let mut follow = Self { feed, seen: Seen::from(floor), lost: None };
        let rows = match since_ms {
            Some(_) => follow.list(floor, session, say).await?,
            None => Vec::new(),
        };
        Ok((follow, rows))
    }

    /// What came next; empty after a while without news.
    ///
    /// # Errors
    /// What the daemon says; a lost link is none.
    pub async fn next(
        &mut self,
        session: &mut Session,
        say: &mut impl FnMut(Word),
    ) -> Result<Vec<DeliveryRow>, WireError> {
        loop {
            let request = self.feed.clone();
            let asked = session
                .call_once(
                    WAIT + ANSWER,
                    |rpc, context, call| async move { rpc.webhook_feed(context, call, request).await },
                )
                .await;
            let Some(news) = self.held(asked, say).await? else { continue };
            let DeliveryNews { deliveries, cursor, cut, .. } = news;
            if cut {
                // The list is read behind the new cursor, so between the two nothing is missing.
                let rows = match self.list(self.seen.look_from(), session, say).await {
                    Err(error) if passes(&error) => {
                        self.rest(&error.message, say).await;
                        continue;
                    }
                    other => other?,
                };
                self.feed.cursor = Some(cursor);
                say(Word::Caught(rows.len()));
                return Ok(rows);
            }
            self.feed.cursor = Some(cursor);
            return Ok(deliveries.into_iter().filter(|row| self.seen.is_new(row)).collect());
        }
    }

    /// An answer; nothing if the link was lost, after a pause.
    async fn held<T>(
        &mut self,
        asked: Result<Option<T>, WireError>,
        say: &mut impl FnMut(Word),
    ) -> Result<Option<T>, WireError> {
        match asked {
            Ok(Some(answer)) => {
                if self.lost.take().is_some() {
                    say(Word::Back);
                }
                Ok(Some(answer))
            }
            Ok(None) => {
                self.rest("the connection ended", say).await;
                Ok(None)
            }
            Err(error) if passes(&error) => {
                self.rest(&error.message, say).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn rest(&mut self, why: &str, say: &mut impl FnMut(Word)) {
        let [first, longest] = PAUSES;
        if self.lost.is_none() {
            say(Word::Lost(why.to_owned()));
        }
        let pause = self.lost.unwrap_or(first);
        self.lost = Some((pause * 2).min(longest));
        tokio::time::sleep(pause).await;
    }

    /// What the list has from a time on, oldest first, that was not given out.
    async fn list(
        &mut self,
        from_ms: u64,
        session: &mut Session,
        say: &mut impl FnMut(Word),
    ) -> Result<Vec<DeliveryRow>, WireError> {
        let one = match self.feed.only.as_slice() {
            [one] if !self.feed.unclaimed => Some(one.clone()),
            _ => None,
        };
        let (flow, trigger) = one.map_or((None, None), |one| (Some(one.flow), one.trigger));
        let after = Some(DeliveryId::from_parts(from_ms, &[0; 10]));
        let mut query = DeliveryQuery { flow, trigger, after, limit: PAGE, ..DeliveryQuery::default() };
        let mut rows = Vec::new();
        for _ in 0..PAGES {
            let page: DeliveryPage = session
                .call(|rpc, context, call| {
                    let query = query.clone();
                    async move { rpc.webhook_deliveries(context, call, query).await }
                })
                .await?;
            rows.extend(page.deliveries.into_iter().filter(|row| self.feed.takes(row)));
            if rows.len() > BEFORE {
                rows.truncate(BEFORE);
                say(Word::TooMany);
                break;
            }
            query.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        rows.reverse();
        rows.retain(|row| self.seen.is_new(row));
        Ok(rows)
    }

    /// The bytes of a delivery; why there are none.
    ///
    /// # Errors
    /// What the daemon says about more than this delivery.
    pub async fn bytes(
        &mut self,
        row: &DeliveryRow,
        session: &mut Session,
        say: &mut impl FnMut(Word),
    ) -> Result<Result<RawDelivery, String>, WireError> {
        let mut whole: Option<RawDelivery> = None;
        loop {
            let offset = whole.as_ref().map_or(0, |have| u64::try_from(have.body.len()).unwrap_or(u64::MAX));
            let query = RawQuery { id: row.id, run: row.run, offset, limit: RAW_MAX };
            let asked = session
                .call_once(
                    ANSWER + ANSWER,
                    |rpc, context, call| async move { rpc.webhook_raw(context, call, query).await },
                )
                .await;
            let piece = match self.held(asked, say).await {
                Ok(Some(piece)) => piece,
                Ok(None) => continue,
                Err(error) if error.code == Code::Forbidden => return Err(error),
                Err(error) => return Ok(Err(error.message)),
            };
            if let Some(why) = unfit(&piece) {
                return Ok(Err(why));
            }
            let (total, came) = (piece.total, piece.body.len());
            let have = match whole.take() {
                None => piece,
                Some(mut have) => {
                    have.body.extend_from_slice(&piece.body);
                    have
                }
            };
            let length = u64::try_from(have.body.len()).unwrap_or(u64::MAX);
            if length >= total {
                return Ok(Ok(have));
            }
            if came == 0 {
                return Ok(Err("its body changed while it was fetched".to_owned()));
            }
            whole = Some(have);
        }
    }
}

/// Why a delivery cannot be handed on byte for byte.
fn unfit(raw: &RawDelivery) -> Option<String> {
    if raw.masked {
        return Some("it holds a link that only an admin may see".to_owned());
    }
    if !raw.whole {
        return Some(format!("of its body only {} bytes are kept", raw.total));
    }
    (raw.total > BODY_MAX).then(|| format!("its body is larger than {} MiB", BODY_MAX >> 20))
}

#[cfg(test)]
mod tests {
    use aura_protocol::event::EventState;

    use super::*;
    use crate::fake::{Fake, Script};

    fn row(ms: u64, number: u8, state: EventState) -> DeliveryRow {
        let id = DeliveryId::from_parts(ms, &[number; 10]);
        DeliveryRow { id, flow: "shop".into(), state: Some(state), ..DeliveryRow::default() }
    }

    #[tokio::test]
    async fn where_the_tail_was_trimmed_the_list_fills_the_gap_each_once_and_oldest_first() {
        const NOW: u64 = 1_000_000_000;
        let all: Vec<DeliveryRow> =
            (1..=7).map(|at| row(NOW + u64::from(at) * 1000, at, EventState::Started)).collect();
        let old = row(NOW - 600_000, 9, EventState::Started);
        // It waited at a relay.
        let waited = DeliveryRow { relay: Some("dmz".into()), ..row(NOW - 500_000, 10, EventState::Started) };
        let repeat = row(NOW + 500, 8, EventState::Duplicate);
        let news = |rows: &[DeliveryRow], cursor, cut| DeliveryNews {
            deliveries: rows.to_vec(),
            cursor,
            cut,
            wall_ms: i64::try_from(NOW).unwrap(),
            ..DeliveryNews::default()
        };
        let mut listed = [&[old.clone(), repeat][..], &all[..6]].concat();
        listed.sort_by_key(|row| std::cmp::Reverse(row.id));
        let script = Script {
            feed: vec![
                news(&[], 10, false),
                news(&[all[0].clone(), old, waited.clone()], 11, false),
                news(&[], 50, true),
                // What was listed comes again behind the new cursor.
                news(&[all[5].clone(), all[6].clone(), all[0].clone()], 51, false),
            ],
            deliveries: listed,
            ..Script::default()
        };
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("aurad.sock");
        let _running = Fake::new(script).listen(&socket);
        let mut session = Session::new(socket);
        let mut words = Vec::new();
        let mut say = |word| words.push(word);
        let (mut follow, first) = Follow::begin(DeliveryFeed::default(), None, &mut session, &mut say).await.unwrap();
        let mut told = first;
        for _ in 0..3 {
            told.extend(follow.next(&mut session, &mut say).await.unwrap());
        }
        let mut expected = all;
        expected.insert(1, waited);
        assert_eq!(told, expected);
        assert_eq!(words, [Word::Caught(5)]);
        assert_eq!(follow.feed.cursor, Some(51));
    }

    #[test]
    fn what_cannot_be_handed_on_byte_for_byte_says_why() {
        let raw = |masked, whole, total| RawDelivery { masked, whole, total, ..RawDelivery::default() };
        assert_eq!(unfit(&raw(false, true, 5)), None);
        let check =
            |raw: RawDelivery, part: &str| assert!(unfit(&raw).is_some_and(|why| why.contains(part)), "{raw:?}");
        check(raw(true, true, 5), "only an admin may see");
        check(raw(false, false, 65_536), "only 65536 bytes");
        check(raw(false, true, BODY_MAX + 1), "larger than 64 MiB");
    }
}
