//! What people are asked: who sees it and decides, from the socket and by signed links (`…/a/{token}`).
//!
//! A token carries run, step and account and a keyed hash of all three, so nothing of it is stored and nobody can make
//! one. It lets that account decide once: whether it has is in the run's journal. Who may decide is judged by the core.

use std::sync::Arc;

use aura_protocol::approval::{MayNot, Question, Vote};
use aura_protocol::rpc::Actor;
use aura_protocol::run::RunHead;
use aura_protocol::{RunId, TenantId, WireError};
use aura_storage::{Store, Txn};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;

use super::core::votes::starters;
use super::core::{Input, Refused};
use super::driver::{Driver, EngineError, lock};
use super::{Engine, Refusal, no_references};

/// Longest token, in bytes: the path of a step within some maps, and a name.
pub(super) const TOKEN_MAX: usize = 1536;
/// Steps of one run that ask at the same time and are shown.
const QUESTIONS_MAX: usize = 100;

/// The token with which an account decides about what a step asks.
pub(crate) fn token(store: &Store, tenant: TenantId, run: RunId, path: &str, account: &str) -> String {
    let mac = mac(store, tenant, run, path, account);
    let length = u16::try_from(account.len()).unwrap_or(u16::MAX).to_be_bytes();
    BASE64.encode([run.bytes().as_slice(), &mac, &length, account.as_bytes(), path.as_bytes()].concat())
}

fn mac(store: &Store, tenant: TenantId, run: RunId, path: &str, account: &str) -> [u8; 16] {
    store.index_hash(tenant, "approval", &[&run.bytes(), account.as_bytes(), path.as_bytes()])
}

/// Run, step and account of a token that this installation made.
pub(super) fn opened(store: &Store, tenant: TenantId, token: &str) -> Option<(RunId, String, String)> {
    let bytes = BASE64.decode(token).ok().filter(|_| token.len() <= TOKEN_MAX)?;
    let (run, rest) = bytes.split_first_chunk::<16>()?;
    let (given, rest) = rest.split_first_chunk::<16>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (account, path) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (account, path) = (std::str::from_utf8(account).ok()?, std::str::from_utf8(path).ok()?);
    let run = RunId::from_bytes(*run);
    let wanted = mac(store, tenant, run, path, account);
    bool::from(subtle::ConstantTimeEq::ct_eq(wanted.as_slice(), given.as_slice()))
        .then(|| (run, path.to_owned(), account.to_owned()))
}

/// What stands behind a link.
#[derive(Clone, Debug, PartialEq)]
pub enum Opened {
    /// A question to this account.
    Asks(String, Box<Question>),
    /// Its step has not begun, or the account is asked later.
    NotYet,
    /// It is decided, by them or without them.
    Over,
    /// They may not decide: why.
    MayNot(String),
    /// There is no such link.
    Unknown,
}

/// What became of a decision by a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VotedBy {
    /// It counts.
    Taken,
    /// Its step has not begun, or the account is asked later.
    NotYet,
    /// It is decided, by them or without them.
    Over,
    /// They may not decide: why.
    MayNot(String),
    /// They saw something else.
    Changed,
    /// What they filled in does not fit: why.
    Unfit(String),
    /// There is no such link.
    Unknown,
}

impl Engine {
    /// Decides about what a step asks people.
    ///
    /// # Errors
    /// Not found, not asked, or decided already.
    pub async fn vote(&self, actor: &Actor, run: RunId, step: &str, vote: Vote) -> Result<RunHead, WireError> {
        no_references(&vote.form)?;
        let vote = Vote { by: actor.name.clone(), ..vote };
        let (tenant, request) = (actor.tenant, actor.request.bytes());
        let vote = Input::Vote { path: step.to_owned(), role: actor.role.word().to_owned(), vote };
        self.detached(|driver| async move { driver.decide_once(tenant, run, vote, request).await }).await
    }

    /// Has somebody else decide; `to` is an account with its role.
    ///
    /// # Errors
    /// Not found, not asked, or the step lets nobody.
    pub async fn delegate(
        &self,
        actor: &Actor,
        run: RunId,
        step: &str,
        to: (String, String),
    ) -> Result<RunHead, WireError> {
        let by = (actor.name.clone(), actor.role.word().to_owned());
        let (tenant, request) = (actor.tenant, actor.request.bytes());
        let input = Input::Delegate { path: step.to_owned(), by, to };
        self.detached(|driver| async move { driver.decide_once(tenant, run, input, request).await }).await
    }

    /// What a run asks people now, and who began it.
    ///
    /// # Errors
    /// No such run, or it cannot be read.
    pub async fn questions(&self, tenant: TenantId, run: RunId) -> Result<(Vec<Question>, Vec<String>), WireError> {
        self.detached(move |driver| async move { driver.questions(tenant, run) }).await
    }

    /// What stands behind a link; looking at it changes nothing.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn opened(&self, token: String) -> Result<Opened, Refusal> {
        let driver = self.driver();
        let work = Arc::clone(&driver);
        let task = driver.tasks.spawn_blocking(move || work.opened(TenantId::DEFAULT, &token));
        match task.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(Refusal::Store(error.to_string())),
            Err(_) => Err(Refusal::Store("the link could not be looked at".to_owned())),
        }
    }

    /// Somebody decides by a link.
    ///
    /// # Errors
    /// Busy, no room or store failure: then nothing is promised.
    pub async fn voted(&self, token: String, vote: Vote) -> Result<VotedBy, Refusal> {
        self.may_take()?;
        if let Err(error) = no_references(&vote.form) {
            return Ok(VotedBy::Unfit(error.message));
        }
        let driver = self.driver();
        let work = Arc::clone(&driver);
        let task = driver.tasks.spawn(async move { work.voted(TenantId::DEFAULT, &token, vote).await });
        match task.await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(error)) => Err(Refusal::Store(error.to_string())),
            Err(_) => Err(Refusal::Store("the decision could not be taken".to_owned())),
        }
    }
}

impl Driver {
    /// What a run asks people now, and who began it.
    fn questions(&self, tenant: TenantId, run: RunId) -> Result<(Vec<Question>, Vec<String>), EngineError> {
        let cell = self.cell(run);
        let found = {
            let mut place = lock(&cell);
            if place.is_none() {
                match self.load(tenant, run) {
                    Ok(live) => *place = Some(live),
                    Err(error) => {
                        drop(place);
                        self.forget_idle(run, cell);
                        return Err(error);
                    }
                }
            }
            let mut questions = Vec::new();
            let mut begun_by = Vec::new();
            if let Some(live) = place.as_ref() {
                let people = live.state.started.as_deref().map(starters).unwrap_or_default();
                begun_by = people.into_iter().map(str::to_owned).collect();
                let flow = live.state.started.as_ref().map(|started| started.flow.clone()).unwrap_or_default();
                live.state.each_live(&mut |at, cell| {
                    let Some((ask, standing)) = cell.asks().filter(|_| questions.len() < QUESTIONS_MAX) else { return };
                    questions.push(Question {
                        run,
                        flow: flow.clone(),
                        path: live.state.path(&live.plan, at),
                        ask: ask.clone(),
                        standing: standing.clone(),
                        until_ms: cell.wait_until_ms,
                    });
                });
            }
            (questions, begun_by)
        };
        self.forget_idle(run, cell);
        Ok(found)
    }

    fn opened(&self, tenant: TenantId, token: &str) -> Result<Opened, EngineError> {
        let Some((run, path, account)) = opened(&self.deps.store, tenant, token) else { return Ok(Opened::Unknown) };
        let (questions, begun_by) = match self.questions(tenant, run) {
            Err(EngineError::NotFound(_)) => return Ok(Opened::Unknown),
            found => found?,
        };
        let Some(question) = questions.into_iter().find(|question| question.path == path) else {
            return self.not_asking(tenant, run, &path);
        };
        let starters: Vec<&str> = begun_by.iter().map(String::as_str).collect();
        Ok(match question.ask.may(&question.standing, &starters, &account, "") {
            Ok(()) => Opened::Asks(account, Box::new(question)),
            Err(MayNot::Decided) => Opened::Over,
            Err(MayNot::NotYet) => Opened::NotYet,
            Err(why) => Opened::MayNot(format!("{account} {why}")),
        })
    }

    /// Why a step asks nobody now.
    fn not_asking(&self, tenant: TenantId, run: RunId, path: &str) -> Result<Opened, EngineError> {
        let live = self.load(tenant, run)?;
        let begun = match live.state.find(&live.plan, path) {
            Some(at) => live.state.cell(at).is_some_and(|cell| cell.state.is_some() || cell.over),
            None => live.state.has_ended(&live.plan, path),
        };
        let over = begun || live.state.finished.is_some() || live.state.dropping();
        Ok(if over { Opened::Over } else { Opened::NotYet })
    }

    async fn voted(self: &Arc<Self>, tenant: TenantId, token: &str, vote: Vote) -> Result<VotedBy, EngineError> {
        let Some((run, path, by)) = opened(&self.deps.store, tenant, token) else { return Ok(VotedBy::Unknown) };
        let vote = Vote { by, via: "link".to_owned(), ..vote };
        let input = Input::Vote { path, role: String::new(), vote };
        Ok(match self.transition(tenant, run, input, Txn::new()).await {
            Ok(_) => VotedBy::Taken,
            Err(EngineError::Refused(refused)) => {
                // What was decided before may still be on its way to the disk.
                self.deps.store.commit(Txn::new()).await?;
                match refused {
                    Refused::Changed => VotedBy::Changed,
                    Refused::TooMuch(why) => VotedBy::Unfit(why),
                    Refused::NotYet(_) | Refused::MayNot(_, MayNot::NotYet) => VotedBy::NotYet,
                    Refused::MayNot(_, MayNot::Decided) => VotedBy::Over,
                    Refused::MayNot(account, why) => VotedBy::MayNot(format!("{account} {why}")),
                    _ => VotedBy::Over,
                }
            }
            Err(EngineError::NotFound(_)) => VotedBy::Unknown,
            Err(error) => return Err(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use aura_storage::StoreOptions;

    use super::*;

    #[tokio::test]
    async fn a_token_opens_only_as_it_was_made() {
        let store = Store::open(&StoreOptions::in_memory([7; 32])).unwrap();
        let other = Store::open(&StoreOptions::in_memory([8; 32])).unwrap();
        let (tenant, run) = (TenantId::DEFAULT, RunId::now());
        let made = token(&store, tenant, run, "ask[ä]", "anna@shop.example");
        let found = opened(&store, tenant, &made);
        assert_eq!(found, Some((run, "ask[ä]".to_owned(), "anna@shop.example".to_owned())));
        assert_eq!(opened(&other, tenant, &made), None, "of another installation");
        for at in 0..made.len() {
            let mut forged = made.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(opened(&store, tenant, std::str::from_utf8(&forged).unwrap()), None, "byte {at}");
        }
        // Where the name ends and the path begins is part of what is signed.
        assert_ne!(mac(&store, tenant, run, "b", "a"), mac(&store, tenant, run, "", "ab"));
    }
}
