//! What format 1 has and this build does not execute: refused with a sentence, never ignored.
//!
//! The lists are in [`super::super::support`]; this file only finds what is written beyond them.

use super::super::path::Path;
use super::super::suggest::{nearest, one_of};
use super::super::{Effect, InDoubtPolicy, Step, Trigger, keys, support};
use super::Checks;

impl Checks<'_> {
    pub(super) fn executed(&mut self) {
        let flow = &self.document.flow;
        let root = Path::root();
        let written = [
            ("subject", flow.subject.is_some()),
            ("input", flow.input.is_some()),
            ("rate", flow.rate.is_some()),
            ("priority", flow.priority.is_some()),
            ("index", !flow.index.is_empty()),
            ("retention", flow.retention.is_some()),
        ];
        for (key, _) in written.iter().filter(|(key, written)| *written && !support::FLOW_KEYS.contains(key)) {
            self.error(&root.field(key), format!("the flow key `{key}` is not executed by this build"), "leave it out");
        }
        for (number, trigger) in flow.triggers.iter().enumerate() {
            self.executed_trigger(trigger, &root.field("triggers").item(number));
        }
        let scopes = self.scopes;
        for (_, step, path) in scopes.steps() {
            self.executed_step(step, &path);
        }
    }

    fn executed_trigger(&mut self, trigger: &Trigger, path: &Path) {
        let on = trigger.on.as_str();
        if !on.contains('.') && !support::TRIGGERS.contains(&on) {
            let kinds = support::TRIGGERS.iter().copied().chain(["connector.event as in shopify.checkout_updated"]);
            let (message, hint) = if keys::TRIGGER_KINDS.contains(&on) {
                (format!("triggers of kind `{on}` are not executed by this build"), one_of(kinds))
            } else {
                let hint = nearest(on, keys::TRIGGER_KINDS.iter().copied());
                let hint = hint.map_or_else(|| one_of(kinds), |near| format!("did you mean `{near}`?"));
                (format!("`{}` is no kind of trigger", crate::text::display(on)), hint)
            };
            self.error(&path.field("on"), message, hint);
        }
        let written = [("batch", trigger.batch.is_some()), ("throttle", trigger.throttle.is_some())];
        for (key, _) in written.iter().filter(|(key, written)| *written && !support::TRIGGER_KEYS.contains(key)) {
            self.error(
                &path.field(key),
                format!("the trigger policy `{key}` is not executed by this build"),
                "leave it out",
            );
        }
    }

    fn executed_step(&mut self, step: &Step, path: &Path) {
        let kind = step.kind.name();
        if !support::KINDS.contains(&kind) {
            let hint = format!("it executes: {}", support::KINDS.join(", "));
            self.error(&path.field(kind), format!("steps of kind `{kind}` are not executed by this build"), hint);
        }
        let written = [
            ("needs", step.needs.is_some()),
            ("join", step.join.is_some()),
            ("losers", step.losers.is_some()),
            ("each", step.each.is_some()),
            ("compensate", !step.compensate.is_empty()),
            ("limit", step.limit.is_some()),
        ];
        for (key, _) in written.iter().filter(|(key, written)| *written && support::MODIFIERS_LATER.contains(key)) {
            let message = format!("the modifier `{key}` is not executed by this build");
            self.error(&path.field(key), message, "leave it out");
        }
        if step.effect == Some(Effect::Lookup) {
            let hint = "use `once`: what stays unknown goes to a person";
            self.error(&path.field("effect"), "the effect `lookup` is not executed by this build", hint);
        }
        if step.in_doubt == Some(InDoubtPolicy::Probe) {
            let hint = "use `ask` or `fail`";
            self.error(&path.field("in_doubt"), "the policy `in_doubt: probe` is not executed by this build", hint);
        }
    }
}
