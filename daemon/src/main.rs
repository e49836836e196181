//! `aurad`.
fn main() -> std::process::ExitCode {
    aura_daemon::main()
}
