//! The outline of a flow: its steps in written order with their depth, for timelines.

use super::{Flow, Kind, Step};
use crate::rpc::OutlineRow;

/// The steps in written order; bodies and handlers follow their step, one deeper.
#[must_use]
pub fn outline(flow: &Flow) -> Vec<OutlineRow> {
    let mut rows = Vec::new();
    list(&flow.steps, 0, "steps", &mut rows);
    list(&flow.on_error, 0, "on_error", &mut rows);
    list(&flow.finally, 0, "finally", &mut rows);
    rows
}

fn list(steps: &[Step], depth: u32, scope: &str, rows: &mut Vec<OutlineRow>) {
    for step in steps {
        let kind = match &step.kind {
            Kind::Uses { action, .. } => action.clone(),
            other => other.name().to_owned(),
        };
        let kind = if step.each.is_some() { format!("each {kind}") } else { kind };
        rows.push(OutlineRow { step: step.id.clone(), depth, kind, scope: scope.to_owned() });
        match &step.kind {
            Kind::Branch(arms) => {
                for arm in arms {
                    list(&arm.steps, depth + 1, &arm_name(arm.when.as_deref()), rows);
                }
            }
            Kind::Map { steps, .. } | Kind::Loop { steps, .. } => list(steps, depth + 1, step.kind.name(), rows),
            Kind::Try { steps, catch } => {
                list(steps, depth + 1, "try", rows);
                list(catch, depth + 1, "catch", rows);
            }
            _ => {}
        }
        list(&step.on_error, depth + 1, "on_error", rows);
        list(&step.compensate, depth + 1, "compensate", rows);
    }
}

/// `when` and the expression without its braces, or `else`.
fn arm_name(when: Option<&str>) -> String {
    let Some(when) = when else { return "else".to_owned() };
    let bare = when.trim().strip_prefix("{{").and_then(|text| text.strip_suffix("}}")).unwrap_or(when);
    format!("when {}", bare.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_of_the_example_is_in_written_order() {
        let text = include_str!("../../../docs/examples/recover-abandoned-carts.yaml");
        let rows = outline(&crate::flow::read(text).unwrap().flow);
        let lines: Vec<String> =
            rows.iter().map(|row| format!("{} {} {} [{}]", row.depth, row.step, row.kind, row.scope)).collect();
        let arm = "when steps.checkout.output.completedAt == null";
        let expected = [
            "0 checkout shopify.get_abandoned_checkout [steps]".to_owned(),
            "0 still_open branch [steps]".to_owned(),
            format!("1 mail sendgrid.send_template [{arm}]"),
            format!("1 later sleep [{arm}]"),
            format!("1 offer sendgrid.send_template [{arm}]"),
            "2 tell slack.post_message [on_error]".to_owned(),
            "1 done stop [else]".to_owned(),
        ];
        assert_eq!(lines, expected);
    }
}
