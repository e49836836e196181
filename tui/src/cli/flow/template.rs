//! The flow that `aura flow new` writes: small, complete, and taken by `aura flow check` as it is.

/// The text of a new flow.
#[must_use]
pub fn flow(name: &str) -> String {
    format!(
        "aura: 1
flow: {name}
title: {name}
triggers:
  - id: by_hand
    on: manual
steps:
  - id: greeting
    set:
      text: \"{{{{ `hello ${{input?.name ?? 'world'}}` }}}}\"
  - id: done
    stop: {{ ok: \"{{{{ steps.greeting.output.text }}}}\" }}
"
    )
}
