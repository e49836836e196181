//! One binary for every target: `AURA_FUZZ_TARGET` names it, see `aura_fuzz::TARGETS`.
#![no_main]

use std::sync::OnceLock;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("AURA_FUZZ_TARGET").expect("AURA_FUZZ_TARGET names a target of aura-fuzz");
        aura_fuzz::target(&name).unwrap_or_else(|| panic!("there is no target {name}")).run
    });
    target(bytes);
});
