//! Closes the process in: no files, no network, no new processes, no executable memory, and little of everything else.
//!
//! Two halves, since a thread must be started between them: [`files`] first, then [`calls`]. A kernel without
//! landlock or seccomp is an error, never a weaker sandbox; what an older landlock does not know (ports, signals) the
//! second wall shuts all the same: `calls.json` is the whole list of system calls that are left, every other answers
//! EPERM, and the one that aborts reaches only the process itself.

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Bytes of data that the whole process may have; the engine of a script has its own, lower limit.
const DATA_MAX: u64 = 256 * 1024 * 1024;
const CALLS: &str = include_str!("calls.json");
/// Stands in that list for the id of the process.
const ITSELF: &str = "4294967295";

/// No file, no port, nothing of other processes, and limits of memory; for this thread and those it starts.
///
/// # Errors
/// The kernel cannot do it.
pub fn files() -> Result<(), String> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| error.to_string())?;
    for (resource, most) in [(Resource::Core, 0), (Resource::Fsize, 0), (Resource::Data, DATA_MAX)] {
        limit(resource, most)?;
    }
    let closed = || {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V6))?
            .handle_access(AccessNet::from_all(ABI::V6))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .restrict_self()
    };
    let status = closed().map_err(|error| error.to_string())?;
    if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
        return Err("this kernel has no landlock; Linux 5.13 and later have it".to_owned());
    }
    Ok(())
}

fn limit(resource: Resource, most: u64) -> Result<(), String> {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        .map_err(|error| format!("the limit {resource:?} cannot be set: {error}"))
}

/// Only the system calls of the list, for every thread.
///
/// # Errors
/// The kernel cannot do it.
pub fn calls() -> Result<(), String> {
    for resource in [Resource::Nproc, Resource::Nofile] {
        limit(resource, 0)?;
    }
    let machine = std::env::consts::ARCH.try_into().map_err(|error| format!("no list of calls: {error}"))?;
    // A process aborts by a signal to itself; it can send none to others.
    let list = CALLS.replace(ITSELF, &std::process::id().to_string());
    let filters = seccompiler::compile_from_json(list.as_bytes(), machine).map_err(|error| error.to_string())?;
    let filter = filters.get("runner").ok_or("the list of calls has no part `runner`")?;
    seccompiler::apply_filter_all_threads(filter).map_err(|error| format!("no seccomp: {error}"))
}
