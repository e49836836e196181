//! What people do to a run in the simulator: they decide, hand on, and bring what a step waits for, early, late, twice.

use aura_protocol::Value;
use aura_protocol::approval::Vote;
use aura_protocol::run::Record;

use super::{Fault, Input, Sim, id_of, records};

impl Sim {
    /// Somebody decides about what a step asks; whether it changed anything.
    pub(super) fn vote(&mut self) -> Result<bool, Fault> {
        let mut asking = Vec::new();
        self.state.each_live(&mut |at, cell| {
            if let Some((ask, _)) = cell.asks() {
                asking.push((self.state.path(&self.plan, at), ask.hash.clone()));
            }
        });
        if asking.is_empty() {
            return Ok(false);
        }
        let (path, hash) = asking.swap_remove(self.pick(asking.len()));
        let anybody = ["a", "b", "c", "d", "x", "z"];
        let by = anybody[self.pick(anybody.len())].to_owned();
        let before = self.points;
        if self.pick(5) == 2 {
            let to = anybody[self.pick(anybody.len())].to_owned();
            self.apply(Input::Delegate { path, by: (by, "viewer".into()), to: (to, "viewer".into()) })?;
            return Ok(self.points != before);
        }
        let hash = if self.pick(17) == 3 { "what was asked yesterday".to_owned() } else { hash };
        let approve = self.pick(7) > 1;
        let vote = Vote { by, approve, hash, form: Value::Null, comment: String::new(), via: String::new(), at_ms: 0 };
        self.apply(Input::Vote { path, role: "viewer".into(), vote })?;
        Ok(self.points != before)
    }

    /// Somebody outside sends what a step waits for, or will wait for; and again until it is taken.
    pub(super) fn signal(&mut self) -> Result<(), Fault> {
        let which = self.pick(self.waits.len());
        let id = self.waits[which].clone();
        let mut paths = Vec::new();
        self.state.each_live(&mut |at, cell| {
            let path = self.state.path(&self.plan, at);
            if cell.awaits.is_some() && id_of(&path) == id {
                paths.push(path);
            }
        });
        let path = paths.first().cloned().unwrap_or(id);
        let data = Value::from(format!("for {path}"));
        self.now_ms += 1;
        let before = self.points;
        self.apply(Input::Signal { path: path.clone(), data: data.clone(), by: "test".into() })?;
        if self.points == before {
            // Nobody waits for it any more.
            self.waits.remove(which);
        } else if records(self).any(|record| matches!(record, Record::Signalled { path: of, .. } if *of == path)) {
            self.waits.remove(which);
            // Whoever did not hear the answer sends it again.
            self.apply(Input::Signal { path, data, by: "again".into() })?;
        }
        Ok(())
    }
}
