//! Ending a run by hand, whatever state it is in: also one whose journal or version cannot be read any more.
//!
//! Invariant: afterwards the run has ended, nothing wakes it, whoever waited behind it goes on, and its journal says who
//! did that and why.

use std::sync::Arc;

use aura_protocol::run::{ErrorClass, Record, RunHead, RunState as State, StepError, Transition};
use aura_protocol::{RunId, TenantId, Value};
use aura_storage::rows::{LiveRow, journal_key, run_key, timer_key};
use aura_storage::{ReadError, Table, TailEntry, Txn};

use super::core::{Input, Refused};
use super::driver::{Driver, EngineError, empty_head};

impl Driver {
    /// Ends a run as it stands.
    pub(crate) async fn force_finish(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        (state, by, reason): (State, String, String),
        request: [u8; 16],
    ) -> Result<RunHead, EngineError> {
        let input = Input::ForceFinish { state, by: by.clone(), reason: reason.clone() };
        match self.decide_once(tenant, run, input, request).await {
            Err(EngineError::Read(ReadError::Corrupt { .. }) | EngineError::Plan(_)) => {
                tracing::warn!(%run, "a run that cannot be read is ended by hand");
                self.end_unread(tenant, run, (state, by, reason)).await
            }
            other => other,
        }
    }

    /// What `decide_once` would write, from the rows alone.
    async fn end_unread(
        self: &Arc<Self>,
        tenant: TenantId,
        run: RunId,
        (state, by, reason): (State, String, String),
    ) -> Result<RunHead, EngineError> {
        let (store, key) = (&self.deps.store, run_key(tenant, run));
        let Some(live) = store.get::<LiveRow>(tenant, Table::Live, &key)? else {
            return Err(EngineError::Refused(Refused::Ended));
        };
        // Its row in the list may be damaged too.
        let known: Option<RunHead> = store.get(tenant, Table::Runs, &key).unwrap_or_default();
        let now_ms = self.deps.clock.now_ms();
        let number = live.transition + 1;
        let message = format!("ended by hand by {by}: {reason}");
        let error = (state != State::Succeeded).then(|| StepError::new(ErrorClass::Cancelled, message));
        let records = vec![
            Record::ForceFinished { state, by, reason },
            Record::RunFinished { state, error: error.clone(), output: Value::Null },
        ];
        let head = RunHead {
            flow_id: live.flow,
            state,
            created_ms: live.created_ms,
            finished_ms: Some(now_ms),
            blocked_by: None,
            error,
            transition: number,
            ..known.unwrap_or_else(|| empty_head(run))
        };
        let mut txn = Txn::new();
        txn.expect_present(Table::Live, key.clone());
        let transition = Transition { number, at_ms: now_ms, records };
        store.put(&mut txn, tenant, Table::Journal, journal_key(tenant, run, number), &transition)?;
        store.put(&mut txn, tenant, Table::Runs, key.clone(), &head)?;
        txn.delete(Table::Live, key);
        if let Some(due_ms) = live.due_ms {
            txn.delete(Table::Timers, timer_key(due_ms, tenant, run.bytes()));
        }
        txn.tell(TailEntry::Run(tenant, run, number));
        store.commit(txn).await?;
        self.count(Some(live.state), None);
        self.answer_waiting(run, None);
        self.release(live.slot, run);
        Ok(head)
    }
}
