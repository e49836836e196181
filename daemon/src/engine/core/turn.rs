//! Whose turn has come: needs and joins among the steps of one scope (design §3 rules 1, 4 and 5).
//!
//! Invariant: a join never hangs. Every need settles one day, and once all have, the step either runs or is
//! skipped; skipping spreads along a `when` that did not come true and to steps of whose needs none is alive.

use aura_protocol::run::StepState;

use super::bugs::{Bug, has};
use super::frames::{Frame, StepCell};
use super::plan::{Join, PlanStep, When};

/// What a step may do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Wait.
    Wait,
    /// Run; these needs (positions) were not waited for and are to be cancelled.
    Go(Vec<usize>),
    /// Be skipped.
    Skip,
}

/// How one need stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It has not settled.
    Open,
    /// It came true.
    True,
    /// It settled otherwise than wanted.
    Untrue,
    /// Its step did not come: a loser, or skipped by spread.
    Dead,
}

/// Whose turn it is not yet, or how a step goes on.
#[must_use]
pub fn turn(frame: &Frame, step: &PlanStep) -> Turn {
    // The usual case, without a list: the step written before.
    if let (Join::All, [need]) = (step.join, step.needs.as_slice()) {
        return match frame.cells.get(need.position).map_or(Stand::Open, |cell| stand(cell, need.when)) {
            Stand::Open => Turn::Wait,
            Stand::True => Turn::Go(Vec::new()),
            Stand::Untrue | Stand::Dead => Turn::Skip,
        };
    }
    let stands: Vec<(usize, Stand)> = step
        .needs
        .iter()
        .filter_map(|need| Some((need.position, stand(frame.cells.get(need.position)?, need.when))))
        .collect();
    let count = |wanted: Stand| stands.iter().filter(|(_, stand)| *stand == wanted).count();
    if stands.is_empty() {
        return Turn::Go(Vec::new());
    }
    let open = count(Stand::Open);
    match step.join {
        Join::All if open > 0 => Turn::Wait,
        Join::All if count(Stand::Untrue) > 0 || count(Stand::Dead) == stands.len() => Turn::Skip,
        Join::All => Turn::Go(Vec::new()),
        Join::First(wanted) => {
            let skipped = if has(Bug::JoinCountsSkipped) { count(Stand::Dead) } else { 0 };
            if count(Stand::True) + skipped >= wanted {
                let losers = stands.iter().filter(|(_, stand)| step.cancel_losers && *stand == Stand::Open);
                Turn::Go(losers.map(|(position, _)| *position).collect())
            } else if open > 0 {
                Turn::Wait
            } else {
                Turn::Skip
            }
        }
    }
}

fn stand(cell: &StepCell, when: When) -> Stand {
    if !cell.over {
        return Stand::Open;
    }
    if cell.lost || cell.spread {
        return Stand::Dead;
    }
    let came = match when {
        When::Settled => true,
        When::Succeeded => cell.state == Some(StepState::Succeeded),
        When::Failed => cell.state == Some(StepState::Failed),
    };
    if came { Stand::True } else { Stand::Untrue }
}
