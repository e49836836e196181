//! The bin and the pause of flows: `delete`, `restore`, `list --deleted`, `pause`, `resume`.

use aura_protocol::rpc::{FlowPause, FlowRow, Removed};
use aura_protocol::text::display;

use super::super::Ended;
use super::super::output::Output;
use super::said;
use crate::client::Session;
use crate::times;

/// What is in the bin, of one kind.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn list(kind: &str, session: &mut Session, out: &mut Output) -> Ended {
    let rows = session.call(|rpc, context, call| async move { rpc.bin_list(context, call, ()).await }).await?;
    let rows: Vec<_> = rows.into_iter().filter(|row| row.kind == kind).collect();
    if out.json {
        for row in &rows {
            out.value(row)?;
        }
        return Ok(0);
    }
    let zone = out.zone.clone();
    let cells = rows
        .into_iter()
        .map(|row| vec![row.name, times::full(row.deleted_ms, &zone), row.by, times::full(row.until_ms, &zone)]);
    out.table(&["NAME", "DELETED", "BY", "KEPT UNTIL"], &cells.collect::<Vec<_>>())?;
    Ok(0)
}

/// Says what went into the bin.
///
/// # Errors
/// If standard output takes no more.
pub fn removed(removed: &Removed, out: &mut Output) -> Ended {
    if out.json {
        out.value(removed)?;
    } else {
        let until = times::full(removed.until_ms, &out.zone);
        out.line(&display(&format!("{} is in the bin; it can be restored until {until}", removed.name)))?;
    }
    Ok(0)
}

/// Puts a flow into the bin.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn delete(name: String, session: &mut Session, out: &mut Output) -> Ended {
    let gone = session
        .call(|rpc, context, call| {
            let name = name.clone();
            async move { rpc.flow_delete(context, call, name).await }
        })
        .await?;
    removed(&gone, out)
}

/// Takes a flow out of the bin.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn restore(name: String, session: &mut Session, out: &mut Output) -> Ended {
    let row = session
        .call(|rpc, context, call| {
            let name = name.clone();
            async move { rpc.flow_restore(context, call, name).await }
        })
        .await?;
    said(&row, "restored", out).map(|()| 0)
}

/// Holds the events of a flow, or starts them.
///
/// # Errors
/// What the daemon or the way to it says.
pub async fn pause(name: String, paused: bool, session: &mut Session, out: &mut Output) -> Ended {
    let request = FlowPause { flow: name, paused };
    let row = session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_pause(context, call, request).await }
        })
        .await?;
    let held = match row.held {
        0 => String::new(),
        1 => ": 1 event was held".to_owned(),
        held => format!(": {held} events were held"),
    };
    let what = if paused { "is paused: its events are held".to_owned() } else { format!("goes on{held}") };
    said(&row, &what, out).map(|()| 0)
}

/// The state of a flow in one word.
#[must_use]
pub fn state(row: &FlowRow) -> String {
    match (&row.published, row.enabled, row.paused) {
        (None, ..) => "draft".to_owned(),
        (Some(_), false, _) => "off".to_owned(),
        (Some(_), true, true) => format!("paused, {} held", row.held),
        (Some(_), true, false) if row.held > 0 => format!("on, {} held", row.held),
        (Some(_), true, false) => "on".to_owned(),
    }
}
