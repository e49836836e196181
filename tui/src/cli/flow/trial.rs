//! `aura flow test`: files found, cases run, what came of them told.
//!
//! The cases are run by the daemon, or without one by `aurad test` beside this program: both are the same code, and
//! nothing is stored or sent by either. Invariant: the exit code says the worst that was found, and a case that was not
//! run never counts as passed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aura_protocol::flow::cases::read_cases;
use aura_protocol::rpc::{CaseReport, FlowTest, FlowTested, RunRef};
use aura_protocol::text::display;
use aura_protocol::{Code, WireError};
use serde::Serialize;
use tokio::io::AsyncWriteExt;

use super::super::demo::daemon_beside;
use super::super::output::{Output, note};
use super::super::{Ended, files};
use super::junit;
use crate::client::Session;

/// The daemon works at most 20 s on one file; the way takes some too.
const ANSWER_MAX: Duration = Duration::from_secs(40);
/// `aurad test` works at most ten minutes on one file.
const ALONE_MAX: Duration = Duration::from_secs(660);
/// A directory may hold so many files of cases.
const FILES_MAX: usize = 2_000;

/// `aura flow test`.
#[derive(clap::Args, Debug)]
pub struct Test {
    /// Flows, their files of cases (`FLOW.test.yaml`), or directories with such files in them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<String>,
    /// Only the case of this name
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Each case again and again with a crash at every record and around every call: the same must come of it
    #[arg(long)]
    crash: bool,
    /// Write a report for CI as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<String>,
    /// Write a case from a real run into the file, without secrets and with stand-ins for what is about people
    #[arg(long, value_name = "RUN", conflicts_with_all = ["case", "crash", "junit"])]
    record: Option<String>,
}

/// A file of cases and its flow.
pub(in crate::cli) struct Pair {
    /// The file of cases.
    pub cases: PathBuf,
    /// The flow's file.
    pub flow: PathBuf,
}

/// One file and what came of it.
pub struct Tried {
    /// The file of cases.
    pub file: String,
    /// The flow's file.
    pub flow: String,
    /// What came of it.
    pub tested: FlowTested,
}

/// A report as JSON, with its files.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    /// The file of cases, or of the flow.
    pub file: &'a str,
    /// Name of the flow.
    pub flow: &'a str,
    /// The report.
    #[serde(flatten)]
    pub report: &'a CaseReport,
}

/// Runs the cases.
///
/// # Errors
/// A file that cannot be read, or nobody who could run them.
pub async fn test(args: &Test, session: &mut Session, out: &mut Output) -> Ended {
    if let Some(run) = &args.record {
        return record(args, run, session, out).await;
    }
    let mut tried = Vec::new();
    for pair in pairs(&args.paths)? {
        let (file, flow) = (pair.cases.display().to_string(), pair.flow.display().to_string());
        let cases = files::text(&file)?;
        let request = FlowTest {
            flow: files::text(&flow)?,
            cases,
            case: args.case.clone(),
            crash: args.crash,
            ..FlowTest::default()
        };
        let answer = ask(&request, session).await;
        let tested = match answer {
            // The case may stand in another one of the files.
            Err(error) if error.code == Code::NotFound && args.paths.len() + tried.len() > 1 => continue,
            answer => answer?,
        };
        let it = Tried { file, flow, tested };
        told(&it, &request, out)?;
        tried.push(it);
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::xml(&tried))
            .map_err(|error| WireError::new(Code::Invalid, format!("{path} was not written: {error}")))?;
    }
    end(&tried, args, out)
}

/// The sum, and the exit code: 2 or 4 if a file is wrong, 1 if a case failed or was not run.
fn end(tried: &[Tried], args: &Test, out: &mut Output) -> Ended {
    let reports = || tried.iter().flat_map(|it| &it.tested.cases);
    let (all, passed) = (reports().count(), reports().filter(|report| report.passed).count());
    if all == 0 && tried.iter().all(|it| it.tested.flow_findings.is_empty() && it.tested.case_findings.is_empty()) {
        let message = match &args.case {
            Some(name) => format!("no file has a case `{}`", display(name)),
            None => "there are no cases".to_owned(),
        };
        return Err(WireError::new(Code::NotFound, message));
    }
    if !out.json {
        let crashes: u64 = reports().filter_map(|it| it.crashes.as_ref()).map(|it| u64::from(it.runs)).sum();
        let crashes = if crashes > 0 { format!(", {crashes} crashes") } else { String::new() };
        let failed = if all > passed { format!(", {} failed", all - passed) } else { String::new() };
        out.line(&format!("{passed} passed{failed}{crashes}"))?;
    }
    let wrong = |pick: fn(&Tried) -> bool| tried.iter().any(pick);
    Ok(if wrong(|it| aura_protocol::flow::is_refused(&it.tested.flow_findings)) {
        Code::FlowRefused.exit_code()
    } else if wrong(|it| !it.tested.case_findings.is_empty()) {
        Code::Invalid.exit_code()
    } else {
        u8::from(passed < all || wrong(|it| it.tested.not_run.is_some()))
    })
}

/// Asks whoever can run cases: the daemon, else the one beside this program.
pub(super) async fn ask(request: &FlowTest, session: &mut Session) -> Result<FlowTested, WireError> {
    let more = request.part.is_some() || request.generate || request.from_run.is_some();
    let needed = if more { "flow_part" } else { "flow_test" };
    let knows = match session.client().await {
        Ok(client) => client.hello.capabilities.iter().any(|name| name == needed),
        Err(_) => false,
    };
    if !knows {
        return alone(request).await;
    }
    let answer = session
        .call_for(ANSWER_MAX, |rpc, context, call| {
            let request = request.clone();
            async move { rpc.flow_test(context, call, request).await }
        })
        .await;
    match answer {
        Err(error) if matches!(error.code, Code::Locked | Code::Forbidden) => alone(request).await,
        answer => answer,
    }
}

/// `aurad test` beside this program.
async fn alone(request: &FlowTest) -> Result<FlowTested, WireError> {
    let daemon = daemon_beside(&std::env::current_exe().unwrap_or_default()).map_err(|error| {
        let message = format!("no aurad answered that could run the cases, and {}", error.message);
        WireError::new(Code::Unreachable, message).hint("start aurad, or put it beside aura")
    })?;
    by(&daemon, request).await
}

/// `aurad test` of that program.
pub(in crate::cli) async fn by(daemon: &Path, request: &FlowTest) -> Result<FlowTested, WireError> {
    let lost = |error: String| WireError::internal(format!("`{} test`: {error}", daemon.display()));
    let mut command = tokio::process::Command::new(daemon);
    command.arg("test").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| {
        let message = format!("{} cannot be started: {error}", display(&daemon.display().to_string()));
        WireError::new(Code::Invalid, message).hint("name a program that is an aurad")
    })?;
    let text = serde_json::to_vec(request).map_err(|error| lost(error.to_string()))?;
    let mut stdin = child.stdin.take().ok_or_else(|| lost("it takes no request".to_owned()))?;
    stdin.write_all(&text).await.map_err(|error| lost(error.to_string()))?;
    drop(stdin);
    let said = match tokio::time::timeout(ALONE_MAX, child.wait_with_output()).await {
        Ok(said) => said.map_err(|error| lost(error.to_string()))?,
        Err(_) => return Err(lost("it did not end in time".to_owned())),
    };
    if !said.status.success() {
        return Err(lost(String::from_utf8_lossy(&said.stderr).trim().to_owned()));
    }
    let report: Result<FlowTested, WireError> =
        serde_json::from_slice(&said.stdout).map_err(|error| lost(format!("its report is broken: {error}")))?;
    report
}

/// Files of cases with their flows, in the order of their names.
pub(in crate::cli) fn pairs(paths: &[String]) -> Result<Vec<Pair>, WireError> {
    let mut found = Vec::new();
    for path in paths {
        let path = Path::new(path);
        if path.is_dir() {
            let mut below = Vec::new();
            collect(path, &mut below)?;
            below.sort();
            if below.is_empty() {
                let message = format!("{} holds no file that ends in .test.yaml", path.display());
                return Err(WireError::new(Code::NotFound, message));
            }
            for cases in below {
                found.push(pair(cases)?);
            }
        } else {
            found.push(pair(path.to_owned())?);
        }
    }
    Ok(found)
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) -> Result<(), WireError> {
    let unread =
        |error: std::io::Error| WireError::new(Code::Invalid, format!("{} cannot be read: {error}", dir.display()));
    for entry in std::fs::read_dir(dir).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(unread)?);
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        // Links are not followed, so this ends.
        if kind.is_dir() {
            collect(&path, found)?;
        } else if is_cases(&path) {
            found.push(path);
        }
        if found.len() > FILES_MAX {
            let message = format!("{} holds more than {FILES_MAX} files of cases", dir.display());
            return Err(WireError::new(Code::Invalid, message).hint("name a directory further down"));
        }
    }
    Ok(())
}

fn is_cases(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.ends_with(".test.yaml") || name.ends_with(".test.yml")
}

/// The file of cases of a flow, or the other way round.
fn pair(path: PathBuf) -> Result<Pair, WireError> {
    if !is_cases(&path) {
        let cases = cases_of(&path);
        if !cases.is_file() {
            let message = format!("{} has no cases: there is no {}", path.display(), cases.display());
            return Err(WireError::new(Code::NotFound, message)
                .hint("write it (docs/testing-flows.md), or record a run with --record RUN"));
        }
        return pair(cases);
    }
    let text = files::text(&path.display().to_string())?;
    // A broken file is told by whoever runs it; its flow stands beside it.
    let named = read_cases(&text).ok().and_then(|file| file.flow);
    let flow = match named {
        Some(name) => path.with_file_name(name),
        None => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            path.with_file_name(name.replace(".test.y", ".y"))
        }
    };
    if !flow.is_file() {
        let message = format!("the flow of {} is missing: no {}", path.display(), flow.display());
        return Err(WireError::new(Code::NotFound, message).hint("name it in the file: `flow: other.yaml`"));
    }
    Ok(Pair { cases: path, flow })
}

/// Where the cases of a flow stand.
fn cases_of(flow: &Path) -> PathBuf {
    let stem = flow.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    flow.with_file_name(format!("{stem}.test.yaml"))
}

/// What came of one file.
fn told(it: &Tried, request: &FlowTest, out: &mut Output) -> Result<(), WireError> {
    super::findings(&it.tested.flow_findings, &it.flow, &request.flow, out)?;
    super::findings(&it.tested.case_findings, &it.file, &request.cases, out)?;
    if !out.json {
        out.line(&display(&it.file))?;
    }
    for report in &it.tested.cases {
        if out.json {
            out.value(&Row { file: &it.file, flow: &it.tested.flow, report })?;
            continue;
        }
        out.line(&line(report))?;
        report.notes.iter().try_for_each(|said| out.line(&display(&format!("          {said}"))))?;
        for problem in &report.problems {
            let place = format!("{}:{}:{}", it.file, problem.line, problem.column);
            out.line(&display(&format!("{place}: {}", problem.message)))?;
            problem.lines.iter().try_for_each(|line| out.line(&display(&format!("          {line}"))))?;
        }
    }
    if let Some(case) = &it.tested.not_run {
        note(&format!("{}: time was up before the case `{case}`; run fewer at once", it.file));
    }
    Ok(())
}

/// A time as people say it: its two largest parts.
pub(super) fn lived(ms: u64) -> String {
    const UNITS: &[(u64, &str)] =
        &[(604_800_000, "w"), (86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let mut rest = ms;
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        if rest >= *unit && parts.len() < 2 {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

fn line(report: &CaseReport) -> String {
    let word = if report.passed { "ok  " } else { "FAIL" };
    let lived = lived(report.lived_ms);
    let crashes = report.crashes.as_ref().map(|it| {
        let doubt = if it.in_doubt > 0 { format!(", {} with a call in doubt", it.in_doubt) } else { String::new() };
        format!("; {} crashes at {} records{doubt}", it.runs, it.records)
    });
    display(&format!("    {word}  {} ({lived} in {} us{})", report.name, report.took_us, crashes.unwrap_or_default()))
}

/// Writes a case from a run.
async fn record(args: &Test, run: &str, session: &mut Session, out: &mut Output) -> Ended {
    let [path] = args.paths.as_slice() else {
        return Err(WireError::new(Code::Invalid, "--record writes one file: name one flow or file of cases"));
    };
    let run = RunRef(run.to_owned());
    let text = session
        .call(|rpc, context, call| {
            let run = run.clone();
            async move { rpc.run_record(context, call, run).await }
        })
        .await?;
    if path == "-" {
        return out.line(text.trim_end()).map(|()| 0);
    }
    let flow = Path::new(path);
    let file = if is_cases(flow) { flow.to_owned() } else { cases_of(flow) };
    let name = file.display().to_string();
    fits(flow, &text)?;
    let written = match std::fs::read_to_string(&file) {
        Ok(before) => added(&before, &text).map_err(|why| {
            WireError::new(Code::Conflict, format!("the case was not added to {}: {why}", display(&name)))
                .hint("print it with `aura flow test - --record RUN`")
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => text,
        Err(error) => return Err(WireError::new(Code::Invalid, format!("{name} cannot be read: {error}"))),
    };
    std::fs::write(&file, written)
        .map_err(|error| WireError::new(Code::Invalid, format!("{name} was not written: {error}")))?;
    if out.json {
        return out.value(&serde_json::json!({ "file": name })).map(|()| 0);
    }
    out.line(&format!("wrote {}; next: aura flow test {0}", display(&name))).map(|()| 0)
}

/// Whether the run is of the flow beside whose text its case is to stand.
fn fits(path: &Path, text: &str) -> Result<(), WireError> {
    // Of what the case says of itself: `# Recorded from run_… of FLOW (…).`
    let of = text.lines().next().and_then(|line| line.split_once(" of ")?.1.split(' ').next());
    let file = if is_cases(path) { pair(path.to_owned()).map(|pair| pair.flow) } else { Ok(path.to_owned()) };
    // A file that is not there yet belongs to no flow.
    let Some((flow, of)) = file.ok().filter(|file| file.is_file()).zip(of) else { return Ok(()) };
    let shown = display(&flow.display().to_string());
    let own = aura_protocol::flow::read(&files::text(&flow.display().to_string())?).map_err(|found| {
        let first = found.first().map(|finding| format!(": {}", finding.message)).unwrap_or_default();
        WireError::new(Code::FlowRefused, format!("{shown} is no flow{first}")).hint("mend it, then record")
    })?;
    if own.flow.flow == of {
        return Ok(());
    }
    let message = format!("the run is of the flow {}, and {shown} is {}", display(of), own.flow.flow);
    Err(WireError::new(Code::Conflict, message).hint("name the file of its flow, or a run of this one"))
}

/// A file with the case of another one at its end.
fn added(before: &str, text: &str) -> Result<String, String> {
    let there = read_cases(before).map_err(|found| {
        let first = found.first().map(|finding| format!(" (line {}: {})", finding.line, finding.message));
        format!("it has errors{}", first.unwrap_or_default())
    })?;
    let new = read_cases(text).ok().and_then(|file| file.cases.into_iter().next()).unwrap_or_default();
    if there.cases.iter().any(|case| case.name == new.name) {
        return Err(format!("it has a case `{}` already; delete or rename that one", display(&new.name)));
    }
    let cannot = || "its list of cases is not written one case a line, so nothing can be put at its end".to_owned();
    let (head, case) = text.split_once("cases:\n").ok_or_else(cannot)?;
    let comments: String =
        head.lines().filter(|line| line.starts_with('#')).map(|line| format!("  {line}\n")).collect();
    let whole = format!("{}\n{comments}{case}", before.trim_end());
    let cases = read_cases(&whole).map(|file| file.cases.len());
    if cases == Ok(there.cases.len() + 1) { Ok(whole) } else { Err(cannot()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_and_their_cases_find_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(dir.path().join("more")).unwrap();
        write("a.yaml", "");
        write("a.test.yaml", "aura: 1\ncases: []");
        write("b.yaml", "");
        write("more/b.test.yaml", "aura: 1\nflow: ../b.yaml\ncases: []");
        let check = |paths: &[String], expected: &[(&str, &str)]| {
            let pairs = pairs(paths).unwrap();
            let met: Vec<(PathBuf, PathBuf)> =
                pairs.into_iter().map(|pair| (pair.cases, std::fs::canonicalize(pair.flow).unwrap())).collect();
            let wanted: Vec<(PathBuf, PathBuf)> = expected
                .iter()
                .map(|(cases, flow)| (path(cases).into(), std::fs::canonicalize(path(flow)).unwrap()))
                .collect();
            assert_eq!(met, wanted);
        };
        check(&[path("a.yaml")], &[("a.test.yaml", "a.yaml")]);
        check(&[path("a.test.yaml")], &[("a.test.yaml", "a.yaml")]);
        check(&[path("")], &[("a.test.yaml", "a.yaml"), ("more/b.test.yaml", "b.yaml")]);
        let refused = |name: &str| pairs(&[path(name)]).map(drop).unwrap_err().message;
        assert!(refused("b.yaml").contains("has no cases"));
        std::fs::remove_file(dir.path().join("a.yaml")).unwrap();
        assert!(refused("a.test.yaml").contains("is missing"));
    }

    #[test]
    fn a_recorded_case_is_added_at_the_end() {
        let before = "# mine\naura: 1\ncases:\n  - name: a # keep me\n";
        let text = "# Recorded from run_1\naura: 1\ncases:\n  - name: b\n    input: 1\n";
        let whole = added(before, text).unwrap();
        assert_eq!(
            whole,
            "# mine\naura: 1\ncases:\n  - name: a # keep me\n  # Recorded from run_1\n  - name: b\n    input: 1\n"
        );
        let why = |before: &str| added(before, text).unwrap_err();
        assert!(why("aura: 1\ncases: [{ name: a }]\n").contains("nothing can be put at its end"));
        assert!(why(&whole).contains("it has a case `b` already"));
        assert!(why("aura: 1\ncases: 7\n").contains("it has errors (line 2"));
    }
}
