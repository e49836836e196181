//! The `aura` binary: all of it stands in the library, so that tests can start it under another name.

fn main() -> std::process::ExitCode {
    aura_tui::main()
}
