//! Random programs: what the verifier admits runs on the machine as the reference interpreter says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::Policy;
use policy::artifact::Limits;
use sample::Scene;
use sample::random::{Entropy, program, request};

#[allow(dead_code, reason = "shared with the claims of the policy crate")]
#[path = "../../../policy/tests/claims/agreement.rs"]
mod agreement;
#[allow(dead_code, reason = "shared with the claims of the policy crate")]
#[path = "../../../policy/tests/claims/reference.rs"]
mod reference;
#[allow(dead_code, reason = "shared with the claims of the policy crate")]
#[path = "../../../policy/tests/claims/sample/mod.rs"]
mod sample;

fuzz_target!(|input: &[u8]| {
    let (code, requests) = input.split_at(input.len() / 2);
    let mut scene = Scene::new();
    let code = program(&mut Entropy::new(code), &scene.builder, 28);
    scene.program("random", code);
    let Ok((file, routes)) = scene.try_finish() else {
        return;
    };
    let Ok(policy) = Policy::load(&file, Limits::default()) else {
        return;
    };
    for bytes in requests.chunks(48).take(16) {
        agreement::compare(&policy, routes["random"], &request(&mut Entropy::new(bytes)));
    }
});
