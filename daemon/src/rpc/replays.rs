//! `run_replay`: what a replay would do, or the new run.

use aura_protocol::rpc::{Actor, EDIT_MAX, Replayed, RunReplay};
use aura_protocol::{Code, WireError};

use crate::engine::replays::Asked;
use crate::rpc::eyes::Eyes;
use crate::rpc::{Service, refs, runs};

/// Runs something again, or only says what that would do.
///
/// # Errors
/// No such run, version or point; the run goes on; or what the engine says.
pub async fn replay(service: &Service, actor: Actor, request: RunReplay) -> Result<Replayed, WireError> {
    let RunReplay { run, point, input, version, reuse_keys, preview } = request;
    if input.as_ref().is_some_and(|input| input.weight() > EDIT_MAX) {
        let message = format!("the edited input is larger than {} MiB", EDIT_MAX >> 20);
        return Err(WireError::new(Code::Invalid, message));
    }
    let head = service.read(move |shared| refs::find(shared, &run)).await?;
    let flow = service.catalog.chosen(head.flow_id, &head.version, &version).await?;
    let asked = Asked { run: head.run, flow, point, edit: input, reuse_keys };
    if preview {
        let preview = service.read(move |shared| shared.engine.replay_preview(&actor, &asked)).await?;
        return Ok(Replayed { preview, run: None });
    }
    let (engine, catalog, eyes) = (service.engine.clone(), service.catalog.clone(), Eyes::of(&actor));
    let change = async move {
        catalog.keep_version(&actor, &asked.flow).await?;
        engine.replay(&actor, asked).await
    };
    let (preview, head) = service.change(change).await?;
    Ok(Replayed { preview, run: Some(runs::shown(service, &eyes, head)) })
}
