//! A full disk under load: a tmpfs of 64 MiB in a namespace of its own that the test fills to the last byte.
//!
//! The daemon answers 503 with Retry-After and nothing else but promises, keeps serving those who read, cancel and
//! delete, and goes on by itself when there is room. `AURA_FULL_CYCLES` sets how often (default 1).

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aura_protocol::run::RunState;

use crate::judge::{Acked, Evidence};
use crate::kill_loop::number;
use crate::support::daemon::{MASTER, Place};
use crate::support::sender::SECRET;
use crate::support::{Daemon, Hook, LIMIT, Setup, tick, wait_until};

const FLOWS: [&str; 3] = [
    r#"
aura: 1
flow: disk-full
triggers:
  - id: in
    on: webhook
    auth: { scheme: standard_webhooks, secret: sender }
steps:
  - id: facts
    set: { n: "{{ trigger.body.n }}" }
"#,
    r#"
aura: 1
flow: sleeper
triggers: [{ id: go, on: manual }]
steps:
  - id: rest
    sleep: { for: 1h }
"#,
    r#"
aura: 1
flow: done
triggers: [{ id: go, on: manual }]
steps:
  - id: facts
    set: { a: 1 }
"#,
];

/// A small disk that lives as long as the process that holds its namespace.
struct SmallDisk {
    holder: Child,
    dir: PathBuf,
}

impl SmallDisk {
    /// `None` where namespaces or mounts are not allowed.
    fn new(dir: &Path, mib: u32) -> Option<Self> {
        let dir = dir.join("disk");
        fs::create_dir(&dir).expect("a directory");
        let script = format!("mount -t tmpfs -o size={mib}m,mode=0700 tmpfs \"$0\" && echo ready && exec cat");
        let mut holder = Command::new("unshare");
        holder.args(["--map-root-user", "--mount", "sh", "-c", &script]).arg(&dir);
        let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("its output")).read_line(&mut line).expect("a line or its end");
        if line.trim() != "ready" {
            holder.wait().expect("its end");
            return None;
        }
        Some(Self { holder, dir })
    }

    /// How a program gets onto it.
    fn through(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        ["nsenter", "--target", &target, "--user", "--mount", concat!("--preserve-cred", "entials"), "--"]
            .map(str::to_owned)
            .to_vec()
    }

    /// The same directory, seen from outside.
    fn seen(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.holder.id()))
            .join(self.dir.strip_prefix("/").expect("absolute"))
            .join(name)
    }

    /// Takes every block that is left.
    fn fill(&self) -> u64 {
        let mut file = fs::File::create(self.seen("filler")).expect("a file");
        let mut bytes = 0;
        for piece in [1 << 20, 4096, 1] {
            let piece = vec![7_u8; piece];
            loop {
                match file.write(&piece) {
                    Ok(written) => bytes += written as u64,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        bytes
    }

    fn free(&self) {
        fs::remove_file(self.seen("filler")).expect("a filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

#[derive(Default)]
struct Heard {
    stop: AtomicBool,
    next: AtomicU64,
    refused: AtomicU64,
    acks: Mutex<Vec<Acked>>,
}

impl Heard {
    fn acked(&self) -> usize {
        self.acks.lock().expect("acks").len()
    }

    fn send(&self, hook: &Hook) {
        let pad = "x".repeat(16_000);
        while !self.stop.load(Ordering::SeqCst) {
            let message = self.next.fetch_add(1, Ordering::SeqCst);
            let body = format!("{{\"n\":{message},\"pad\":\"{pad}\"}}");
            loop {
                let reply = hook.send(&format!("msg_{message}"), &body).expect("an answer, also when the disk is full");
                if (200..300).contains(&reply.status) {
                    let event = reply.event().expect("the header that promises").parse().expect("an event id");
                    self.acks.lock().expect("acks").push(Acked { message, event });
                    break;
                }
                assert_eq!(reply.status, 503, "{}", reply.text());
                let after: u32 = reply.header("retry-after").expect("Retry-After").parse().expect("whole seconds");
                assert!(after >= 1);
                self.refused.fetch_add(1, Ordering::SeqCst);
                let until = Instant::now() + Duration::from_millis(50);
                while Instant::now() < until {
                    tick();
                }
            }
        }
    }
}

#[test]
fn a_full_disk_is_refused_politely_loses_nothing_and_is_over_when_there_is_room() {
    let folder = tempfile::tempdir().expect("a directory");
    let Some(disk) = SmallDisk::new(folder.path(), 64) else {
        println!("not run: this machine allows no mount in a namespace (unshare --map-root-user --mount)");
        return;
    };
    let environment = [("AURA_DISK_RESERVE_MIB", "6"), ("AURA_BALLAST_MIB", "4")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut place = Place::new(Setup { environment, data_dir: Some(disk.dir.join("data")), ..Setup::default() });
    place.wrapper = disk.through();
    let mut daemon = Daemon::start_at(place);
    assert!(disk.seen("data/aura.ballast").exists(), "the ballast is made at the start");
    daemon.secret("sender", SECRET);
    FLOWS.iter().for_each(|flow| _ = daemon.publish(flow));
    let hook = daemon.hook("disk-full");
    let heard = Arc::new(Heard { next: AtomicU64::new(1), ..Heard::default() });
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (heard, hook) = (Arc::clone(&heard), hook.clone());
            std::thread::spawn(move || heard.send(&hook))
        })
        .collect();
    for _ in 0..number("AURA_FULL_CYCLES", 1) {
        let sleeper = daemon.run("sleeper", "{}");
        let done = daemon.run("done", "{}");
        daemon.wait_state(sleeper, RunState::Waiting);
        daemon.wait_state(done, RunState::Succeeded);
        let before = heard.acked();
        wait_until("some promises", LIMIT, || heard.acked() > before + 20);
        disk.fill();
        let refused = heard.refused.load(Ordering::SeqCst);
        wait_until("the daemon to give its ballast back", LIMIT, || !disk.seen("data/aura.ballast").exists());
        wait_until("intake to stop", LIMIT, || {
            heard.refused.load(Ordering::SeqCst) > refused + 20
                && daemon.ask().status(()).is_ok_and(|status| status.room.tight.as_deref() == Some("disk"))
        });
        // Those who read, end and remove are served.
        assert!(daemon.runs("disk-full").len() > 20);
        daemon.aura(&["run", "show", &done.to_string()]).success();
        daemon.aura(&["run", "cancel", &sleeper.to_string()]).success();
        daemon.wait_state(sleeper, RunState::Cancelled);
        let deleted = daemon.aura(&["run", "delete", "--filter", "flow=done", "--yes", "--json"]).success().json();
        assert_eq!(deleted["runs"], 1, "{deleted}");
        assert_eq!(daemon.aura(&["flow", "run", "done"]).code, 9, "nothing new is begun by hand either");
        let status = daemon.aura(&["status"]).success().out;
        assert!(status.contains("no room"), "{status}");

        let promised = heard.acked();
        disk.free();
        let freed = Instant::now();
        wait_until("promises again, by itself within 30 s", Duration::from_secs(30), || heard.acked() > promised + 20);
        println!(
            "went on {:?} after there was room, {} refused",
            freed.elapsed(),
            heard.refused.load(Ordering::SeqCst)
        );
        wait_until("the ballast to be made again", LIMIT, || disk.seen("data/aura.ballast").exists());
    }
    heard.stop.store(true, Ordering::SeqCst);
    senders.into_iter().for_each(|sender| sender.join().expect("a sender that heard only promises and 503"));
    daemon.wait_quiet(Duration::from_secs(60));
    assert!(daemon.stop().success(), "{}", daemon.place.said());
    let mut evidence = Evidence { acks: heard.acks.lock().expect("acks").clone(), ..Evidence::default() };
    evidence.read(&disk.seen("data"), MASTER);
    // The others were cancelled or deleted by hand.
    evidence.runs.retain(|run| run.head.flow == "disk-full");
    let broken = evidence.faults();
    assert!(broken.is_empty(), "{} broken promises: {:#?}", broken.len(), broken.first());
    println!("{} promises, all kept", evidence.acks.len());
}
