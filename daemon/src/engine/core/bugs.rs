//! Deliberate bugs: they stay in the tree and prove that the simulator and the behaviour tests find their kind.
//!
//! [`has`] is constantly false and costs nothing but in unit tests, and in a build with the feature `bugs`: there the
//! variable `AURA_BUG` switches one on in the whole process, for `docs/rivals.md` and the tests that it names.

use aura_protocol::run::{Record, Transition};

/// A bug that a test can switch on: for its own thread, or in a daemon that was built for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// After a restart a `once` call that was started is simply sent again.
    OnceIsRepeated,
    /// Attempts are not counted: retries never end.
    AttemptsAreForgotten,
    /// The key of a call changes with its attempt.
    KeyPerAttempt,
    /// `finally` runs only after success.
    FinallyOnlyWhenGreen,
    /// A handled failure is not remembered.
    HandledIsForgotten,
    /// A cancel is answered but does not stop the next step.
    CancelDoesNotStick,
    /// A step that was skipped because what it needs did not come counts as one that came, for a join.
    JoinCountsSkipped,
    /// Steps are undone in the order in which they were done.
    CompensationInOrder,
    /// `losers: cancel` marks the losers and lets them run on.
    LosersGoOn,
    /// After a restart an item is known by its position, not by its key.
    ItemKeyIsForgotten,
    /// A `kv` step reads what is durable and forgets what is on its way.
    KvPendingIsForgotten,
    /// A `kv` step that writes over an expired row counts its name once more.
    KvExpiredIsCountedAgain,
    /// The simulator's driver writes what a `kv` step keeps before the transition that records it.
    KvIsWrittenAhead,
    /// A journal row does not hold the large input of a call.
    InputsAreNotHeld,
    /// Retention does not give back the large input of a call.
    InputsAreNotGivenBack,
    /// A `try` whose body failed goes on without its `catch`.
    CatchIsSkipped,
    /// A loop goes on beyond its `max_iterations`.
    LoopCapIsForgotten,
    /// After `break_if` the rest of the iteration still begins.
    BreakGoesOn,
    /// A step with steps in it may take as long as it likes.
    LimitIsForgotten,
    /// A step whose time is over fails while a call in it is still out.
    LimitFailsAtOnce,
    /// A signal that came before its step waited is forgotten.
    EarlySignalIsForgotten,
    /// A wait whose deadline passed goes on as if something had come.
    DeadlineIsGreen,
    /// A step whose called run failed goes on.
    CalledFailureIsGreen,
    /// A cancel does not reach the runs that were called.
    ChildrenAreForgotten,
    /// A paused run goes on with its next step.
    PauseDoesNotStick,
    /// The time of a run goes on while it is paused.
    PausedTimeCounts,
    /// What is used of a rate does not count.
    RateIsForgotten,
    /// A limit lets everybody in.
    LimitIsIgnored,
    /// Who came first goes first, whatever the priority.
    PriorityIsForgotten,
    /// A tenant with many waiting holds up the others.
    FairnessIsForgotten,
    /// Whoever began a run may approve it although the step says no.
    OwnVoteCounts,
    /// One agreement is enough whatever the quorum.
    QuorumIsOne,
    /// A decision about something else than what is asked counts.
    AnyHashCounts,
    /// A failure goes past the flow's handler.
    FlowHandlerIsSkipped,
    /// A step that failed for good goes on to the next one without its handler.
    HandlerIsSkipped,
    /// What undoes a step of a part that lost a join counts as lost too.
    UndoOfLosersIsLost,
    /// What was done is not undone.
    UndoIsForgotten,
    /// The next attempt comes sooner than the peer asked.
    RetryAfterIsIgnored,
    /// A call is repeated under a key that its peer has forgotten.
    KeyWindowIsForgotten,
    /// The answer of an earlier attempt counts for the one at work.
    LateAnswerCounts,
    /// The end of a called run counts as often as it is told.
    ReturnCountsTwice,
    /// An item that failed is left out of its map.
    ItemFailureIsGreen,
    /// A run may take as long as it likes.
    TimeoutIsForgotten,
    /// A sleep ends before its time.
    SleepEndsEarly,
    /// After a restore what was scheduled before is simply sent.
    RestoreIsForgotten,
    /// A replay copies what needs the point.
    ReplayCopiesTooMuch,
    /// A replay does again what does not need the point.
    ReplayCopiesTooLittle,
    /// A replay copies what was undone.
    ReplayCopiesWhatWasUndone,
    /// A replay keeps a key although the input is another one.
    ReplayKeepsEveryKey,
    /// While a flow has a draft nobody finds its address.
    DraftClosesTheDoor,
    /// Each publication makes new addresses.
    AddressPerPublication,
    /// A run with a call out is not ended by hand.
    ForceFinishWaits,
    /// The row of a live run stays when it ends.
    EndedRunStaysLive,
    /// What a schedule fired is neither marked nor remembered.
    InstantsAreForgotten,
    /// A schedule begins anew with each start.
    MissedInstantsAreForgotten,
    /// An output may be as large as it likes.
    LargeOutputPasses,
    /// A large value stays in its run.
    LargeValuesStayInTheRun,
    /// A script's time runs while it waits for a runner.
    WaitingIsTimed,
    /// What is deleted gives no room back.
    RoomIsNotGivenBack,
    /// A sender hears its promise before the commit.
    PromiseBeforeCommit,
    /// Attempts go on beyond `max_elapsed`.
    MaxElapsedIsForgotten,
    /// A flow is published whatever check found.
    FindingsAreIgnored,
    /// A run that is read again goes on under the version that is published now.
    VersionIsNotPinned,
    /// All keys of a limit are one.
    KeysAreOne,
    /// A full batch takes further events.
    FullBatchGoesOn,
    /// The last event of a batch is not in its run.
    LastOfBatchIsLost,
    /// After a restart those who wait go by the clock, and of two in one moment either goes first.
    TurnsAreForgotten,
}

/// The journal row as a bug sees it that overlooks the inputs of calls.
#[must_use]
pub fn without_inputs(transition: &Transition) -> Transition {
    let records = transition.records.iter().filter(|record| !matches!(record, Record::Scheduled { .. }));
    Transition { records: records.cloned().collect(), ..*transition }
}

#[cfg(test)]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Whether a bug is switched on here.
#[cfg(test)]
pub fn has(bug: Bug) -> bool {
    ACTIVE.with(|active| active.get() == Some(bug))
}

/// Whether a bug is switched on in this process.
#[cfg(all(feature = "bugs", not(test)))]
#[must_use]
pub fn has(bug: Bug) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("AURA_BUG").ok());
    chosen.as_ref().is_some_and(|name| format!("{bug:?}") == *name)
}

/// Whether a bug is switched on here: never.
#[cfg(not(any(test, feature = "bugs")))]
#[must_use]
pub const fn has(_bug: Bug) -> bool {
    false
}

/// Runs something with a bug switched on.
#[cfg(test)]
pub fn with<T>(bug: Option<Bug>, run: impl FnOnce() -> T) -> T {
    ACTIVE.with(|active| active.set(bug));
    let result = run();
    ACTIVE.with(|active| active.set(None));
    result
}
