//! `aurad` for behaviour tests: another name, so that Cargo outputs do not collide.
fn main() -> std::process::ExitCode {
    // A daemon with a deliberate bug: the tests that look for secrets must find them in what it says.
    match std::env::var_os("AURA_IT_LEAKS") {
        Some(_) => aura_daemon::main_that_leaks(),
        None => aura_daemon::main(),
    }
}
