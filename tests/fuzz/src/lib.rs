//! Every parser that meets bytes from outside, as a function of bytes that panics if a property is broken.
//!
//! The same functions serve two drivers: `tests/short.rs` mutates seeds in the gate, `libfuzzer/` runs them under
//! coverage in the long gate. To add a parser: a function in [`targets`] and a line in [`TARGETS`]. An input that
//! once broke something is kept in `corpus/<target>/` and is run first, always.

pub mod mutate;
pub mod targets;

/// A parser with what must hold, and where mutations begin.
pub struct Target {
    /// Name, also of its folder in `corpus`.
    pub name: &'static str,
    /// Panics if a property is broken.
    pub run: fn(&[u8]),
    /// Inputs that reach far into it.
    pub seeds: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "cases", run: targets::cases, seeds: targets::CASES },
    Target { name: "config", run: targets::config, seeds: targets::CONFIG },
    Target { name: "delivery", run: targets::delivery, seeds: targets::DELIVERY },
    Target { name: "expression", run: targets::expression, seeds: targets::EXPRESSION },
    Target { name: "filter", run: targets::filter, seeds: targets::FILTER },
    Target { name: "flow", run: targets::flow, seeds: targets::FLOW },
    Target { name: "ids", run: targets::ids, seeds: targets::IDS },
    Target { name: "json", run: targets::json, seeds: targets::JSON },
    Target { name: "sanitizer", run: targets::sanitizer, seeds: targets::SANITIZER },
    Target { name: "secrets", run: targets::secrets, seeds: targets::SECRETS },
    Target { name: "signature", run: targets::signature, seeds: targets::SIGNATURE },
    Target { name: "tunnel", run: targets::tunnel, seeds: targets::TUNNEL },
    Target { name: "url", run: targets::url, seeds: targets::URL },
    Target { name: "wire", run: targets::wire, seeds: targets::WIRE },
];

/// The target of a name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
