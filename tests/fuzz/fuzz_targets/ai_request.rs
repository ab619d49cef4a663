//! Model calls: no panic; what is passed on is JSON, has the cap and the model that were accounted for, and can be read
//! again to the same call.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::table::{RouteType, Streaming};
use proxy::ai::request::{Terms, read};

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, body) = input;
    let terms = Terms {
        route_type: [RouteType::Chat, RouteType::Completions, RouteType::Embeddings][usize::from(choice % 3)],
        model: if choice & 4 == 0 { "" } else { "m" },
        streaming: if choice & 8 == 0 { Streaming::Allow } else { Streaming::Deny },
        temperature: None,
        top_p: None,
        top_k: None,
        max_tokens: u64::from(choice >> 4),
        default_cap: (choice & 8 == 0).then_some(4096),
    };
    let mut sent = Vec::new();
    let Ok(call) = read(body, &terms, &mut sent) else { return };
    let json: serde_json::Value = serde_json::from_slice(&sent).expect("what is sent is JSON");
    assert_eq!(json["model"], *call.model, "the model that is counted is the one that is asked");
    let mut again = Vec::new();
    let second = read(&sent, &terms, &mut again).expect("what was sent is acceptable");
    assert_eq!((second.model, second.completion_upper), (call.model, call.completion_upper));
});
