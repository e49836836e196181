//! `aurad`.

/// Steps are many small values: under load the system's allocator took a fifth of all CPU time.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    aura_daemon::main()
}
