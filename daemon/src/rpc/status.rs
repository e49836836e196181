//! Handshake and status: what the daemon is, and whether the two sides speak alike.

use aura_protocol::rpc::{Actor, HelloReply, HelloRequest, RoomStatus, StatusReply};
use aura_protocol::text::display;
use aura_protocol::{Code, TenantId, WireError, version};
use aura_storage::{Key, Table};

use crate::room::Tight;
use crate::rpc::Shared;
use crate::tunnel::Tunnel;

/// Compares protocol numbers.
///
/// # Errors
/// They differ: the sentence says which side is older.
pub fn hello(actor: &Actor, request: &HelloRequest) -> Result<HelloReply, WireError> {
    let (theirs, ours) = (request.protocol, version::PROTOCOL);
    if theirs != ours {
        let build: String = request.build.chars().take(40).collect();
        let (older, hint) = if theirs < ours {
            ("aura is older than this aurad", "install the `aura` that came with this daemon")
        } else {
            ("aura is newer than this aurad", "update and restart the daemon")
        };
        return Err(WireError::new(
            Code::Protocol,
            format!(
                "{older}: aura {} speaks protocol {theirs}, aurad {} speaks {ours}",
                display(&build),
                version::BUILD
            ),
        )
        .hint(hint));
    }
    Ok(HelloReply {
        protocol: ours,
        build: version::BUILD.to_owned(),
        capabilities: version::CAPABILITIES.iter().map(|&name| name.to_owned()).collect(),
        account: actor.name.clone(),
        role: actor.role,
    })
}

/// What `aura status` shows.
#[must_use]
pub fn status(shared: &Shared) -> StatusReply {
    // Before the runs: what fires in between is among these then, and never nowhere.
    let held = shared.engine.held();
    StatusReply {
        build: version::BUILD.to_owned(),
        pid: std::process::id(),
        state: state(shared),
        profile: shared.profile.clone(),
        listen: shared.listen.clone(),
        data_dir: shared.data_dir.display().to_string(),
        up_ms: u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        now_ms: shared.clock.now_ms(),
        store_bytes: shared.store.bytes(),
        cursor: *shared.store.newest().borrow(),
        live: shared.engine.live(),
        held,
        room: room(shared),
        checked: shared.upkeep.at_start.seen(),
        tunnel: shared.tunnel.as_ref().map(Tunnel::status),
    }
}

fn room(shared: &Shared) -> RoomStatus {
    let look = shared.room.now();
    let all = Key::tenant(TenantId::DEFAULT);
    let oldest = shared.store.keys(Table::Runs, &all, &all.after_prefix(), 1).unwrap_or_default();
    // An id begins with its time, in milliseconds of six bytes.
    let oldest = oldest.first().and_then(|key| key.number_at(16)).map(|start| start >> 16);
    RoomStatus {
        stored: shared.store.stored(),
        quota: shared.quota,
        oldest_ms: oldest.and_then(|at| i64::try_from(at).ok()),
        disk_free: look.free,
        disk_reserve: look.reserve,
        tight: look.tight.map(|why| why.word().to_owned()),
    }
}

/// `ready`, or what keeps the daemon from taking events, in a few words for the first line of every screen.
fn state(shared: &Shared) -> String {
    if shared.tasks.closing.is_cancelled() {
        return "closing".to_owned();
    }
    if let Some(why) = shared.engine.hold().why() {
        return why.text();
    }
    match shared.room.tight() {
        Some(Tight::Disk) => "disk low: no event is taken".to_owned(),
        Some(Tight::Quota) => "quota reached: no event is taken".to_owned(),
        None if shared.upkeep.at_start.seen().is_some_and(|seen| seen.damaged > 0) => {
            "ready, with damage found at the start: see `aura doctor`".to_owned()
        }
        None => relaying(shared),
    }
}

/// `ready`, with what there is to say of relays.
fn relaying(shared: &Shared) -> String {
    if let Some(here) = &shared.door.relay {
        return match here.queue().waiting().count {
            0 => "ready as a relay".to_owned(),
            1 => "ready as a relay; 1 delivery waits for home".to_owned(),
            more => format!("ready as a relay; {more} deliveries wait for home"),
        };
    }
    shared.relays.say().map_or_else(|| "ready".to_owned(), |away| format!("ready; {away}"))
}

#[cfg(test)]
mod tests {
    use aura_protocol::RequestId;
    use aura_protocol::rpc::Role;

    use super::*;

    #[test]
    fn a_client_of_another_protocol_hears_which_side_is_older() {
        let actor =
            Actor { name: "anna".to_owned(), role: Role::Owner, tenant: TenantId::DEFAULT, request: RequestId::now() };
        let ask = |protocol| hello(&actor, &HelloRequest { protocol, build: "0.0.9".to_owned() });
        assert_eq!(ask(version::PROTOCOL).unwrap().account, "anna");
        let old = ask(version::PROTOCOL - 1).unwrap_err();
        assert_eq!(old.code, Code::Protocol);
        assert!(old.message.starts_with("aura is older than this aurad: aura 0.0.9"), "{old}");
        let new = ask(version::PROTOCOL + 1).unwrap_err();
        assert!(new.message.starts_with("aura is newer than this aurad"), "{new}");
    }
}
