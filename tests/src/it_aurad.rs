//! `aurad` for behaviour tests: another name, so that Cargo outputs do not collide.
fn main() -> std::process::ExitCode {
    aura_daemon::main()
}
