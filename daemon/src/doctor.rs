//! `aura doctor`: what a careful operator would look at, in plain sentences with what to do.
//!
//! It only reads. `ok` lines are said too, so that a missing check is seen.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use aura_protocol::TenantId;
use aura_protocol::rpc::DoctorFinding;
use aura_protocol::text::display;

use crate::clock::Clock;
use crate::keys;
use crate::rpc::Shared;

/// Free space under which the daemon warns.
const SPACE_WARN: u64 = 2 * 1024 * 1024 * 1024;
/// Free space under which it says that it must fail soon.
const SPACE_FAIL: u64 = 256 * 1024 * 1024;

fn finding(level: &str, subject: &str, message: impl Into<String>, hint: Option<&str>) -> DoctorFinding {
    DoctorFinding {
        level: level.to_owned(),
        subject: subject.to_owned(),
        message: message.into(),
        hint: hint.map(str::to_owned),
    }
}

/// What can be looked at without the store.
#[must_use]
pub fn outside(data_dir: &Path, daemon_clock: &Clock) -> Vec<DoctorFinding> {
    let mut out = Vec::new();
    data(data_dir, &mut out);
    space(data_dir, &mut out);
    clock(daemon_clock.wall_ms(), daemon_clock.apart_ms(), &mut out);
    out
}

/// Looks at the installation; `deep` reads and verifies everything stored.
#[must_use]
pub fn look(shared: &Shared, deep: bool) -> Vec<DoctorFinding> {
    let mut out = Vec::new();
    key(&shared.key_file, keys::credentials().as_deref(), &mut out);
    out.extend(outside(&shared.data_dir, &shared.clock));
    triggers(shared, &mut out);
    secrets(&shared.catalog.now().weak_secrets(), &mut out);
    store(shared, deep, &mut out);
    at_start(shared, &mut out);
    upkeep(shared, &mut out);
    subscriptions(shared, &mut out);
    tunnel(shared, &mut out);
    relays(shared, &mut out);
    out
}

/// What brings deliveries to the door, if the daemon keeps it.
fn tunnel(shared: &Shared, out: &mut Vec<DoctorFinding>) {
    let Some(tunnel) = &shared.tunnel else { return };
    let status = tunnel.status();
    let (level, hint) = match status.state.as_str() {
        "up" => ("ok", None),
        "starting" => ("warn", Some("look again in a few seconds; its lines are in the log at the level `debug`")),
        _ => ("fail", Some(tunnel.advice())),
    };
    out.push(finding(level, "tunnel", status.sentence(), hint));
}

/// What this daemon is as a relay, and the relays that it takes deliveries from.
fn relays(shared: &Shared, out: &mut Vec<DoctorFinding>) {
    let found = crate::rpc::relays::list(shared);
    if let Some(here) = found.serving {
        if here.token_ms.is_none() {
            let hint = "run `aura relay token` here and `aura relay add` at home";
            out.push(finding("warn", "relay", "this relay has no token, so home cannot connect", Some(hint)));
        }
        let full = here.waiting.saturating_mul(10) >= here.waiting_max.saturating_mul(9)
            || here.bytes.saturating_mul(10) >= here.bytes_max.saturating_mul(9);
        let asked = here.asked_ms.map_or_else(
            || "home has not asked since the start".to_owned(),
            |at| format!("home asked last at {}", aura_protocol::event::timestamp(at)),
        );
        let message = format!("{} deliveries wait for home; {asked}", here.waiting);
        let hint = "see why home takes nothing: `aura relay list` there; a full relay answers 503";
        out.push(finding(if full { "warn" } else { "ok" }, "relay", message, full.then_some(hint)));
    }
    for relay in found.relays {
        let name = display(&relay.name);
        if relay.paused {
            let message = format!("{name} is paused: what comes there waits there");
            let hint = format!("run `aura relay resume {name}` to go on");
            out.push(finding("warn", "relay", message, Some(&hint)));
        } else if !relay.connected || !relay.error.is_empty() {
            let why = if relay.error.is_empty() { "it has not answered yet" } else { &relay.error };
            let message = format!("{name} does not work: {}", display(why));
            let hint = "look at `aura doctor` there; what it took waits there";
            out.push(finding("warn", "relay", message, Some(hint)));
        } else {
            let message = format!("{name} answers, and {} deliveries wait there", relay.waiting);
            out.push(finding("ok", "relay", message, None));
        }
        for warning in relay.warnings {
            out.push(finding("warn", "relay", format!("{name}: {}", display(&warning)), None));
        }
    }
}

/// Receivers of outgoing webhooks that fail.
fn subscriptions(shared: &Shared, out: &mut Vec<DoctorFinding>) {
    for record in shared.catalog.subscription_records() {
        let Ok(health) = shared.engine.subscription_health(TenantId::DEFAULT, record.id) else { continue };
        let name = display(&record.name);
        if let Some((_, cause)) = health.disabled {
            let message = format!("{name} was disabled: {}", cause.text());
            let hint = format!("ask its owner, then run: aura subscription enable {name}");
            out.push(finding("warn", "subscriptions", message, Some(&hint)));
        } else if let Some(since) = health.failing_since_ms {
            let message = format!("{name} fails since {}", aura_protocol::event::timestamp(since));
            let hint = format!("see `aura subscription sendings {name}`");
            out.push(finding("warn", "subscriptions", message, Some(&hint)));
        }
    }
}

fn key(file: &Path, credentials: Option<&Path>, out: &mut Vec<DoctorFinding>) {
    if file.as_os_str().is_empty() {
        out.push(finding("ok", "master key", "the key lives only in memory, as the data does only in this demo", None));
        return;
    }
    let mark = keys::copied_mark(file, credentials);
    match fs::metadata(file) {
        Err(error) => out.push(finding(
            "fail",
            "master key",
            format!("{} cannot be read any more: {error}", file.display()),
            Some("restore it from its copy before the daemon is restarted; without it nothing stored can be read"),
        )),
        Ok(meta) if meta.mode() & 0o077 != 0 && !keys::handed_out(file, credentials) => {
            out.push(finding(
                "fail",
                "master key",
                format!("{} can be read by others (mode {:04o})", file.display(), meta.mode() & 0o7777),
                Some("run chmod 600 on it"),
            ));
        }
        Ok(_) if mark.exists() => {
            out.push(finding(
                "ok",
                "master key",
                format!("{} is private and a copy was confirmed", file.display()),
                None,
            ));
        }
        Ok(_) => out.push(finding(
            "warn",
            "master key",
            format!("nobody confirmed a copy of {}: if it is lost, all data is lost", file.display()),
            Some(&format!("copy it to a safe place, then run: touch {}", mark.display())),
        )),
    }
}

fn data(dir: &Path, out: &mut Vec<DoctorFinding>) {
    for path in [dir.to_owned(), dir.join("aura.redb")] {
        match fs::metadata(&path) {
            Ok(meta) if meta.mode() & 0o007 != 0 => out.push(finding(
                "warn",
                "data directory",
                format!("{} is open to everybody (mode {:04o})", path.display(), meta.mode() & 0o7777),
                Some("values are sealed, but take the rights of others away: chmod o-rwx"),
            )),
            Ok(_) => out.push(finding("ok", "data directory", format!("{} is private", path.display()), None)),
            Err(_) => {}
        }
    }
}

fn space(dir: &Path, out: &mut Vec<DoctorFinding>) {
    let Ok(stat) = rustix::fs::statvfs(dir) else { return };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let message = format!("{} MiB are free for {}", free / (1024 * 1024), dir.display());
    let level = match free {
        free if free < SPACE_FAIL => "fail",
        free if free < SPACE_WARN => "warn",
        _ => "ok",
    };
    let hint = (level != "ok").then_some("make room: when the disk is full no event can be accepted");
    out.push(finding(level, "disk space", message, hint));
}

fn clock(now_ms: i64, apart_ms: i64, out: &mut Vec<DoctorFinding>) {
    if apart_ms != 0 {
        let way = if apart_ms > 0 { "forward" } else { "back" };
        out.push(finding(
            "warn",
            "clock",
            format!("the system's clock was set {way} by {} s under what waits", apart_ms.unsigned_abs() / 1000),
            Some("what waits goes on as if it had not been, and records are dated so, until nothing waits or the machine is started again"),
        ));
    }
    // This build was made in 2026: a clock before that is wrong, one after 2100 too.
    let sane = (1_767_225_600_000..4_102_444_800_000).contains(&now_ms);
    let text = aura_protocol::event::timestamp(now_ms);
    out.push(if sane {
        finding("ok", "clock", format!("the clock says {text}"), None)
    } else {
        finding(
            "fail",
            "clock",
            format!("the clock says {text}, which cannot be"),
            Some("set the system's clock; sleeps and signatures depend on it"),
        )
    });
}

fn triggers(shared: &Shared, out: &mut Vec<DoctorFinding>) {
    for name in shared.catalog.open_triggers() {
        out.push(finding(
            "warn",
            "trigger",
            format!("{name} takes deliveries from anybody (auth: none)"),
            Some("give it a scheme or a bearer secret if it can be reached from outside"),
        ));
    }
    let mut missing = 0;
    for webhook in shared.catalog.webhooks("").into_iter().filter(|webhook| !webhook.secret_set) {
        missing += 1;
        out.push(finding(
            "fail",
            "trigger",
            format!("{}/{} has no secret and refuses every delivery", webhook.flow, webhook.trigger),
            Some("set it with `aura connection add`"),
        ));
    }
    if missing == 0 {
        out.push(finding("ok", "trigger", "every trigger that needs a secret has one", None));
    }
}

/// Those that cannot be taken out of what leaves.
fn secrets(weak: &[String], out: &mut Vec<DoctorFinding>) {
    let shown: Vec<&str> = weak.iter().take(5).map(String::as_str).collect();
    let more = weak.len().saturating_sub(shown.len());
    if !weak.is_empty() {
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        out.push(finding(
            "warn",
            "secrets",
            format!(
                "{}{more}: too short or too plain to be told from other words in logs and answers",
                shown.join(", ")
            ),
            Some(
                "give them at least 6 characters with letters and digits, or 12 of any kind: `aura connection rotate`, \
                 of subscriptions `aura subscription edit --secret-header`",
            ),
        ));
    }
}

fn store(shared: &Shared, deep: bool, out: &mut Vec<DoctorFinding>) {
    let what = if deep { "everything stored" } else { "the structure of the store" };
    match shared.store.check(deep) {
        Err(error) => out.push(finding("fail", "store", format!("{what} could not be checked: {error}"), None)),
        Ok(findings) => {
            let damaged = findings.iter().filter(|found| found.damage).count();
            for found in findings.into_iter().take(1000) {
                let level = if found.damage { "fail" } else { "ok" };
                let hint = found.damage.then_some("restore from a backup; a damaged value is never served");
                out.push(finding(level, &found.subject, found.message, hint));
            }
            if damaged == 0 {
                out.push(finding("ok", "store", format!("{what} was checked and is whole"), None));
            }
        }
    }
}

/// What the check of this start found.
fn at_start(shared: &Shared, out: &mut Vec<DoctorFinding>) {
    let checked = &shared.upkeep.at_start;
    if let Some(why) = checked.failed() {
        return out.push(finding("fail", "start", format!("what lives could not be checked: {why}"), None));
    }
    let Some(seen) = checked.seen() else {
        return out.push(finding("ok", "start", "what lives is still being checked", None));
    };
    let looked = format!("{} unfinished runs and the {} created last were checked", seen.live, seen.recent);
    let rest = if seen.whole { "" } else { "; there are more, which this command looked at now" };
    out.push(match seen.damaged {
        0 => finding("ok", "start", format!("{looked} and are whole{rest}"), None),
        damaged => finding(
            "fail",
            "start",
            format!("{looked}: {damaged} rows were damaged or missing{rest}"),
            Some("the log of the start names them; a run whose journal has a gap does not go on; restore a backup"),
        ),
    });
}

/// Whether things may start, and what the last scrub found.
fn upkeep(shared: &Shared, out: &mut Vec<DoctorFinding>) {
    if let Some(why) = shared.engine.hold().why() {
        let hint = why.restored_ms.is_some().then_some("look at the runs in doubt, then run `aura resume`");
        out.push(finding("warn", "state", why.text(), hint));
    }
    match shared.store.scrubbed() {
        Err(error) => out.push(finding("fail", "scrub", format!("what the last scrub found is lost: {error}"), None)),
        Ok(None) => out.push(finding("ok", "scrub", "there was no scrub yet; the first one comes within a day", None)),
        Ok(Some(seen)) => {
            let at = aura_protocol::event::timestamp(seen.at_ms);
            out.push(match seen.damaged {
                0 => finding("ok", "scrub", format!("all {} values opened at {at}", seen.rows), None),
                damaged => finding(
                    "fail",
                    "scrub",
                    format!("{damaged} of {} values did not open at {at}", seen.rows),
                    Some("`aura doctor --deep` names them; restore a backup made before"),
                ),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_judged_by_who_handed_it_out_and_its_advice_can_be_followed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("master.key");
        let check = |mode: u32, credentials: Option<&Path>, level: &str, part: &str| {
            fs::write(&file, [7; 32]).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let mut out = Vec::new();
            key(&file, credentials, &mut out);
            let [found] = out.as_slice() else { panic!("{out:?}") };
            assert_eq!(found.level, level, "{found:?}");
            assert!(format!("{} {:?}", found.message, found.hint).contains(part), "{found:?}");
        };
        let elsewhere = tempfile::tempdir().unwrap();
        check(0o440, None, "fail", "can be read by others (mode 0440)");
        check(0o440, Some(elsewhere.path()), "fail", "can be read by others");
        let mark = crate::paths::config_dir().join("master.copied");
        if !mark.exists() {
            check(0o440, Some(dir.path()), "warn", &format!("touch {}", mark.display()));
        }
        let beside = dir.path().join("master.copied");
        check(0o400, None, "warn", &format!("touch {}", beside.display()));
        fs::write(&beside, "").unwrap();
        check(0o400, None, "ok", "a copy was confirmed");
    }
}
