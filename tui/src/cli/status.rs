//! `aura status`: what the daemon is and how it is, on a few lines.
//!
//! Invariant: what is printed is one reply, so its figures belong together.

use aura_protocol::rpc::{RoomStatus, StartChecked};

use super::Ended;
use super::output::Output;
use crate::client::Session;
use crate::times;

/// Prints the daemon's status.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn status(session: &mut Session, out: &mut Output) -> Ended {
    let status = session.call(|rpc, context, call| async move { rpc.status(context, call, ()).await }).await?;
    if out.json {
        out.value(&status)?;
        return Ok(0);
    }
    let live: Vec<String> = status.live.iter().map(|(state, count)| format!("{count} {}", state.word())).collect();
    let tunnel = status.tunnel.as_ref().map_or("none".to_owned(), aura_protocol::rpc::TunnelStatus::sentence);
    let rows = [
        ("daemon", format!("{} {}, {}", status.profile, status.build, status.state)),
        ("process", format!("{}, up {}", status.pid, times::took(i64::try_from(status.up_ms).unwrap_or(i64::MAX)))),
        ("clock", times::full(status.now_ms, &out.zone)),
        ("listens", status.listen),
        ("tunnel", tunnel),
        ("data", format!("{}, {}", status.data_dir, times::bytes(status.store_bytes))),
        ("cursor", status.cursor.to_string()),
        ("runs", if live.is_empty() { "none unfinished".to_owned() } else { live.join(", ") }),
        ("held", format!("{} events", status.held)),
        ("stored", stored(&status.room, &out.zone)),
        ("disk", disk(&status.room)),
        ("checked", checked(status.checked)),
    ];
    for (name, value) in rows {
        out.line(&format!("{name:<8} {}", aura_protocol::text::display(&value)))?;
    }
    Ok(0)
}

/// What the check of the start found.
fn checked(checked: Option<StartChecked>) -> String {
    let Some(seen) = checked else { return "what lives is still being checked".to_owned() };
    let looked = format!("{} unfinished and {} recent runs at the start", seen.live, seen.recent);
    match seen.damaged {
        0 => format!("{looked}, all whole"),
        damaged => format!("{looked}, {damaged} rows damaged or missing: run `aura doctor`"),
    }
}

/// What is stored, of how much, since when.
fn stored(room: &RoomStatus, zone: &jiff::tz::TimeZone) -> String {
    let quota = if room.quota == 0 { "no quota".to_owned() } else { format!("quota {}", times::bytes(room.quota)) };
    let oldest = room.oldest_ms.map_or("no run yet".to_owned(), |at| format!("oldest run {}", times::full(at, zone)));
    let full = if room.tight.as_deref() == Some("quota") { "; no room: the quota is used up" } else { "" };
    format!("{}, {quota}, {oldest}{full}", times::bytes(room.stored))
}

/// Room on the disk.
fn disk(room: &RoomStatus) -> String {
    let free = room.disk_free.map_or("not known".to_owned(), |free| format!("{} free", times::bytes(free)));
    let full = if room.tight.as_deref() == Some("disk") { "; no room: nothing new is accepted" } else { "" };
    format!("{free}, {} reserved{full}", times::bytes(room.disk_reserve))
}
