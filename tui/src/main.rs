//! `aura`.
fn main() -> std::process::ExitCode {
    aura_tui::main()
}
