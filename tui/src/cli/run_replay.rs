//! `aura run replay`: one run again from a point, or many that fit a filter; with what it would send shown before.
//!
//! Invariant: with a filter nothing is begun before its number was said and somebody (or `--yes`) agreed; a run and all
//! its replays count as one, by the newest of them, unless `--again` says otherwise: so a stopped command may be given
//! once more, and what a replay has mended is not done again.

use std::collections::HashMap;

use aura_protocol::rpc::{Fate, ReplayPreview, Replayed, RunRef, RunReplay, VersionOf};
use aura_protocol::run::{Point, RunHead, RunState};
use aura_protocol::text::display;
use aura_protocol::{Code, RunId, WireError};
use clap::Args;

use super::many::{self, Rate};
use super::output::{Output, note};
use super::{Ended, files};
use crate::client::Session;
use crate::journal;

/// Previews that a plan adds up.
const PREVIEWED: usize = 200;

/// What is run again.
#[derive(Args, Debug)]
pub struct Which {
    /// Run id, or its start or end
    #[arg(value_name = "RUN", required_unless_present = "filter", conflicts_with = "filter")]
    run: Option<String>,
    /// From this step on: itself, and all that needs it; in a map as ship[KEY]
    #[arg(long, value_name = "STEP", conflicts_with = "item")]
    from: Option<String>,
    /// One item of a map or iteration of a loop, and what needs the map
    #[arg(long, value_name = "STEP:KEY", value_parser = item)]
    item: Option<Item>,
    /// From the step that failed, on the published version: what to do once the flow is mended
    #[arg(long, conflicts_with_all = ["from", "item", "version", "input"])]
    retry: bool,
    /// Another input of the point: body of the event, input of the call, or item; JSON, @file, or - for standard input
    #[arg(long, value_name = "JSON", conflicts_with = "filter")]
    input: Option<String>,
    /// Under which version: old (the run's own), published, draft, or the start of a hash
    #[arg(long, value_name = "VERSION", default_value = "old")]
    version: String,
    /// Calls keep their keys where their input is what it was, so that their peers know them again
    #[arg(long)]
    reuse_keys: bool,
    /// Only say what would be sent
    #[arg(long)]
    preview: bool,
    /// All finished runs that fit, oldest first: `flow=NAME`, `state=failed,cancelled`, `older=30d`, `error:refused`, or `all`
    #[arg(long, value_name = "WORDS", conflicts_with_all = ["from", "item"])]
    filter: Option<String>,
    #[command(flatten)]
    how: many::How,
    /// Also runs that were replayed already, whatever became of that (with --filter)
    #[arg(long, requires = "filter")]
    again: bool,
}

/// An item as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    map: String,
    key: String,
}

fn item(text: &str) -> Result<Item, String> {
    match text.split_once(':') {
        Some((map, key)) if !map.is_empty() && !key.is_empty() => Ok(Item { map: map.to_owned(), key: key.to_owned() }),
        _ => Err("write STEP:KEY, as in ship:A-17".to_owned()),
    }
}

/// A version as it is typed.
pub fn version(text: &str) -> VersionOf {
    match text {
        "old" => VersionOf::Run,
        "published" => VersionOf::Published,
        "draft" => VersionOf::Draft,
        hash => VersionOf::Hash(hash.to_owned()),
    }
}

/// Runs again.
///
/// # Errors
/// What the daemon or the way to it says, or that nobody agreed.
pub async fn replay(which: Which, session: &mut Session, out: &mut Output) -> Ended {
    if let Some(filter) = which.filter.clone() {
        return bulk(&filter, which, session, out).await;
    }
    let run = which.run.clone().unwrap_or_default();
    let input = which.input.as_deref().map(files::json).transpose()?;
    let (point, version) = match which.retry {
        true => (failed(&run, session).await?, VersionOf::Published),
        false => (point(&which), version(&which.version)),
    };
    let preview = which.preview || which.how.plan;
    let request = RunReplay { run: RunRef(run), point, input, version, reuse_keys: which.reuse_keys, preview };
    let answer = ask(request, session).await?;
    if out.json {
        return out.value(&answer).map(|()| 0);
    }
    show(&answer.preview, out)?;
    match &answer.run {
        Some(head) => {
            out.line("")?;
            began(head, out)?;
        }
        None => note("nothing was begun"),
    }
    Ok(0)
}

fn point(which: &Which) -> Point {
    match (&which.from, &which.item) {
        (Some(step), _) => Point::Step(step.clone()),
        (_, Some(item)) => Point::Item { map: item.map.clone(), key: item.key.clone() },
        _ => Point::Start,
    }
}

async fn ask(request: RunReplay, session: &mut Session) -> Result<Replayed, WireError> {
    session
        .call(|rpc, context, call| {
            let request = request.clone();
            async move { rpc.run_replay(context, call, request).await }
        })
        .await
}

/// The step that failed, as the run's error names it.
async fn failed(run: &str, session: &mut Session) -> Result<Point, WireError> {
    let run = RunRef(run.to_owned());
    let detail = session
        .call(|rpc, context, call| {
            let run = run.clone();
            async move { rpc.run_show(context, call, run).await }
        })
        .await?;
    point_of_failure(&detail.head)
}

/// Where a run failed.
///
/// # Errors
/// It did not.
pub fn point_of_failure(head: &RunHead) -> Result<Point, WireError> {
    match &head.error {
        Some(error) if !error.step.is_empty() => Ok(Point::Step(error.step.clone())),
        Some(_) => Ok(Point::Start),
        None => Err(WireError::new(Code::Conflict, format!("{} has no error: {}", head.run, head.state.word()))
            .hint("say with --from where it is to be run again")),
    }
}

fn began(head: &RunHead, out: &mut Output) -> Result<(), WireError> {
    let why = head.blocked_by.as_ref().map_or(String::new(), |why| format!(": {}", display(&why.reason)));
    out.line(&format!("{} {}{why}", head.run, head.state.word()))
}

/// What a replay does, in lines.
#[must_use]
pub fn lines(preview: &ReplayPreview) -> Vec<String> {
    let version: String = preview.version.chars().take(8).collect();
    let whose = if preview.same_version { "the version of that run" } else { "another version than that run's" };
    let mut lines = vec![
        display(&format!("{} again from {}", preview.of, preview.point)),
        display(&format!("{} {version}, {whose}", preview.flow)),
        format!("{} steps are copied, {} run again", preview.copied, preview.again),
    ];
    if preview.calls.is_empty() {
        lines.push("it sends nothing".to_owned());
    }
    let wide = |text: &dyn Fn(usize) -> usize| (0..preview.calls.len()).map(text).max().unwrap_or(0).min(40);
    let path = wide(&|at| preview.calls.get(at).map_or(0, |call| call.path.chars().count()));
    let calls = wide(&|at| preview.calls.get(at).map_or(0, |call| call.calls.chars().count()));
    for call in &preview.calls {
        let effect = journal::effect_word(&call.effect);
        let line =
            format!("{:<19}  {:<path$}  {:<calls$}  {effect:<10}  {}", call.said(), call.path, call.calls, call.why);
        lines.push(display(&line).trim_end().to_owned());
    }
    if preview.more > 0 {
        lines.push(format!("and {} more", preview.more));
    }
    lines
}

fn show(preview: &ReplayPreview, out: &mut Output) -> Result<(), WireError> {
    for line in lines(preview) {
        out.line(&line)?;
    }
    Ok(())
}

async fn bulk(filter: &str, which: Which, session: &mut Session, out: &mut Output) -> Ended {
    let Chosen { mut found, replayed, mended } = chosen(filter, which.again, session).await?;
    // In the order in which they were.
    found.reverse();
    let request = |head: &RunHead, preview: bool| -> RunReplay {
        let failed = which.retry.then(|| point_of_failure(head).ok()).flatten();
        let version = if which.retry { VersionOf::Published } else { version(&which.version) };
        RunReplay {
            run: RunRef(head.run.to_string()),
            point: failed.unwrap_or_default(),
            input: None,
            version,
            reuse_keys: which.reuse_keys,
            preview,
        }
    };
    let mut sums = [0_u64; 3];
    let mut refused = Vec::new();
    for head in found.iter().take(PREVIEWED) {
        match ask(request(head, true), session).await {
            Ok(answer) => {
                for call in &answer.preview.calls {
                    let place = match call.fate {
                        Fate::NewKey => 0,
                        Fate::SameKey => 1,
                        Fate::Copied => 2,
                    };
                    if let Some(sum) = sums.get_mut(place) {
                        *sum += 1;
                    }
                }
            }
            Err(error) => refused.push((head.run, error.message)),
        }
    }
    let of = if found.len() > PREVIEWED { format!(" (of the first {PREVIEWED})") } else { String::new() };
    let [new, same, copied] = sums;
    let sentence = format!(
        "{} runs would be run again, {replayed} were already ({mended} of them with success); calls{of}: {new} sent with \
         a new key, {same} with the same key, {copied} copied",
        found.len()
    );
    for (run, why) in &refused {
        note(&display(&format!("{run} cannot be run again: {why}")));
    }
    if which.how.plan || which.preview || found.is_empty() {
        if out.json {
            let runs: Vec<String> = found.iter().map(|head| head.run.to_string()).collect();
            let plan = serde_json::json!({ "runs": runs, "already": replayed, "mended": mended, "new_key": new, "same_key": same,
                "copied": copied, "refused": refused.len() });
            return out.value(&plan).map(|()| 0);
        }
        return out.line(&sentence).map(|()| 0);
    }
    which.how.agreed(&sentence, "run them again")?;
    let mut pace = which.how.rate.map(Rate::pace);
    let mut failures = 0_u32;
    for head in &found {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        match ask(request(head, false), session).await {
            Ok(Replayed { run: Some(new), .. }) if out.json => out.value(&new)?,
            Ok(Replayed { run: Some(new), .. }) => {
                out.line(&format!("{} again as {} {}", head.run, new.run, new.state.word()))?;
            }
            Ok(Replayed { run: None, .. }) => {}
            // Whoever is away is so for the next one too.
            Err(error) if matches!(error.code, Code::Unreachable | Code::Protocol | Code::Forbidden) => {
                return Err(error);
            }
            Err(error) => {
                failures += 1;
                note(&display(&format!("{} not run again: {}", head.run, error.message)));
            }
        }
    }
    Ok(if failures == 0 { 0 } else { Code::Conflict.exit_code() })
}

/// Which runs are run again.
struct Chosen {
    /// Newest first.
    found: Vec<RunHead>,
    /// Runs that fit and are left out, since one of their family is newer.
    replayed: usize,
    /// Of those, runs of which a newer one of their family succeeded.
    mended: usize,
}

/// Runs and their replays, and replays of those: what a family has come to is what its newest run came to.
#[derive(Default)]
struct Families {
    /// Replays with what they are of, newest first.
    replays: Vec<(RunId, RunId, bool)>,
}

/// What is known of a family: its newest run, and the newest replay that succeeded.
type Newest = (RunId, Option<RunId>);

impl Families {
    /// Reads a run; the newest come first.
    fn read(&mut self, head: &RunHead) {
        let ok = head.state == RunState::Succeeded;
        self.replays.extend(head.origin.map(|of| (head.run, of, ok)));
    }

    /// What is known of the family of each run that has one.
    fn newest(&self) -> HashMap<RunId, Newest> {
        let mut firsts: HashMap<RunId, RunId> = HashMap::new();
        let mut families: HashMap<RunId, Newest> = HashMap::new();
        for (run, of, ok) in self.replays.iter().rev() {
            let first = firsts.get(of).copied().unwrap_or(*of);
            firsts.extend([(*run, first), (first, first)]);
            let (newest, succeeded) = families.entry(first).or_insert((*run, None));
            *newest = *run;
            if *ok {
                *succeeded = Some(*run);
            }
        }
        firsts.into_iter().filter_map(|(run, first)| Some((run, *families.get(&first)?))).collect()
    }
}

async fn chosen(filter: &str, again: bool, session: &mut Session) -> Result<Chosen, WireError> {
    let status = session.call(|rpc, context, call| async move { rpc.status(context, call, ()).await }).await?;
    let filter = many::read(filter)?;
    let (mut families, mut fitting) = (Families::default(), Vec::new());
    // Of all states: a replay that goes on counts too.
    many::each(many::flow(&filter), Vec::new(), session, |head| {
        families.read(&head);
        // What ends from now on is not meant.
        let ended = head.finished_ms.is_some_and(|at| at <= status.now_ms);
        if head.state.is_final() && ended && many::fits(&filter, &head, status.now_ms) {
            fitting.push(head);
        }
    })
    .await?;
    let newest = families.newest();
    let mut chosen = Chosen { found: Vec::new(), replayed: 0, mended: 0 };
    for head in fitting {
        match newest.get(&head.run).filter(|(newest, _)| *newest != head.run && !again) {
            None => chosen.found.push(head),
            Some((_, succeeded)) => {
                chosen.replayed += 1;
                chosen.mended += usize::from(succeeded.is_some_and(|replay| replay > head.run));
            }
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_and_versions_are_read_as_typed() {
        assert_eq!(item("ship:A:17").unwrap(), Item { map: "ship".into(), key: "A:17".into() });
        for text in ["ship", ":a", "ship:", ""] {
            assert!(item(text).is_err(), "{text}");
        }
        assert_eq!(version("old"), VersionOf::Run);
        assert_eq!(version("published"), VersionOf::Published);
        assert_eq!(version("draft"), VersionOf::Draft);
        assert_eq!(version("1a2b"), VersionOf::Hash("1a2b".into()));
    }

    #[test]
    fn a_family_is_what_its_newest_run_is() {
        let run = |number: u64| RunId::from_parts(number, &[0; 10]);
        // 1 <- 3 <- 5 (succeeded), 1 <- 6; 2 <- 4; 9 is of one that is deleted.
        let replays = [(9, 7, false), (6, 1, false), (5, 3, true), (4, 2, false), (3, 1, false)];
        let families = Families { replays: replays.map(|(it, of, ok)| (run(it), run(of), ok)).into() };
        let newest = families.newest();
        let check = |of: u64, expected: Option<(u64, Option<u64>)>| {
            let expected = expected.map(|(newest, ok)| (run(newest), ok.map(run)));
            assert_eq!(newest.get(&run(of)).copied(), expected, "{of}");
        };
        for of in [1, 3, 5, 6] {
            check(of, Some((6, Some(5))));
        }
        check(2, Some((4, None)));
        check(4, Some((4, None)));
        check(9, Some((9, None)));
        check(8, None);
    }
}
