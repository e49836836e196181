//! `aura` in a real terminal: what it writes, what a person sees of it, and keys for it.
//!
//! The one invariant: what is kept are the bytes that a terminal would get; [`vt100`] says what they show.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::{LIMIT, tick};

/// `aura` in a terminal.
pub struct Screen {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    input: Box<dyn Write + Send>,
    seen: Arc<Mutex<(vt100::Parser, Vec<u8>)>>,
    _home: tempfile::TempDir,
}

impl Screen {
    /// The screens of a daemon, at a size and with an environment.
    pub fn open(socket: &Path, columns: u16, rows: u16, environment: &[(&str, &str)]) -> Self {
        let socket = socket.to_str().expect("a path");
        Self::run(&["--socket", socket], columns, rows, environment)
    }

    /// `aura` with arguments.
    pub fn run(arguments: &[&str], columns: u16, rows: u16, environment: &[(&str, &str)]) -> Self {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let home = tempfile::tempdir().expect("a home");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_it-aura"));
        command.env_clear();
        for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("TZ", "UTC")] {
            command.env(name, value);
        }
        command.env("HOME", home.path());
        for (name, value) in environment {
            command.env(name, value);
        }
        command.args(arguments);
        let child = pair.slave.spawn_command(command).expect("aura starts");
        drop(pair.slave);
        let parser = vt100::Parser::new(rows.try_into().expect("rows"), columns.try_into().expect("columns"), 0);
        let seen = Arc::new(Mutex::new((parser, Vec::new())));
        let mut reader = pair.master.try_clone_reader().expect("a reader");
        let sink = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count) = reader.read(&mut piece) {
                if count == 0 {
                    return;
                }
                let mut seen = sink.lock().expect("the screen");
                seen.0.process(&piece[..count]);
                seen.1.extend_from_slice(&piece[..count]);
            }
        });
        let input = pair.master.take_writer().expect("a writer");
        Self { child, master: pair.master, input, seen, _home: home }
    }

    /// What a person sees.
    pub fn text(&self) -> String {
        self.seen.lock().expect("the screen").0.screen().contents()
    }
    /// Bytes written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen.lock().expect("the screen").1.clone()
    }
    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<u32> {
        self.child.try_wait().expect("its state").map(|status| status.exit_code())
    }
    /// Waits until nothing more is written.
    pub fn drained(&self) {
        let (mut before, mut since) = (self.bytes().len(), Instant::now());
        while since.elapsed() < std::time::Duration::from_millis(60) {
            tick();
            let now = self.bytes().len();
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
    }
    /// Types keys.
    pub fn type_keys(&mut self, keys: &str) {
        self.input.write_all(keys.as_bytes()).and_then(|()| self.input.flush()).expect("typed keys");
    }
    /// Waits until the screen shows something.
    pub fn wait(&self, what: &str, ask: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        loop {
            let text = self.text();
            if ask(&text) {
                return;
            }
            assert!(begin.elapsed() < LIMIT, "waited in vain for {what}; the screen shows:\n{text}");
            tick();
        }
    }
    /// Changes the size.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.seen
            .lock()
            .expect("the screen")
            .0
            .screen_mut()
            .set_size(rows.try_into().expect("rows"), columns.try_into().expect("columns"));
        self.master.resize(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).expect("a new size");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
