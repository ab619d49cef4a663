//! Peers that ask for much and give little.

use super::*;

#[test]
fn streams_are_refused_above_the_bound_and_may_be_tried_again() {
    let mut input = Vec::new();
    for number in 0..=limits::H2_STREAMS {
        input.extend(headers(number * 2 + 1, true));
    }
    let (server, opened) = attack(&input);
    assert_eq!(opened.unwrap().len(), limits::H2_STREAMS as usize);
    let refused = frame(3, 0, limits::H2_STREAMS * 2 + 1, &7_u32.to_be_bytes());
    assert!(server.out.ends_with(&refused));
}

#[test]
fn rapid_reset_ends_the_connection() {
    // Each stream is let go at once by who serves it; only the budget stops the client.
    let mut server = Connection::new(Role::Server, clock::refresh());
    let mut input = PREFACE.to_vec();
    frame::push_settings(&[], &mut input);
    for number in 0..5000_u32 {
        let id = number * 2 + 1;
        input.extend(headers(id, true));
        input.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
        match feed(&mut server, &mut input) {
            Ok(_) => server.release(id),
            Err(code) => {
                assert_eq!(code, ErrorCode::EnhanceYourCalm);
                assert!((1000..=1100).contains(&number), "{number}");
                return;
            }
        }
    }
    panic!("5000 resets went through");
}

#[test]
fn being_reset_for_ones_own_fault_costs_as_much() {
    // Window updates of nothing, and a window that overflows.
    for update in [0_u32, 0x7fff_ffff] {
        let mut server = Connection::new(Role::Server, clock::refresh());
        let mut input = PREFACE.to_vec();
        frame::push_settings(&[], &mut input);
        let end = (0..5000_u32).find(|number| {
            let id = number * 2 + 1;
            input.extend(headers(id, true));
            input.extend(frame(8, 0, id, &update.to_be_bytes()));
            let fed = feed(&mut server, &mut input);
            server.release(id);
            fed == Err(ErrorCode::EnhanceYourCalm)
        });
        assert!(end.is_some_and(|number| number <= 1100), "{update} {end:?}");
    }
}

#[test]
fn floods_of_small_talk_end_the_connection() {
    for (what, flood) in [
        ("settings", frame(4, 0, 0, &[])),
        ("acknowledgements", frame(4, 1, 0, &[])),
        ("ping", frame(6, 0, 0, &[0; 8])),
        ("priority", frame(2, 0, 1, &[0, 0, 0, 3, 0])),
        ("empty data", frame(0, 0, 1, &[])),
        ("window updates", frame(8, 0, 1, &1_u32.to_be_bytes())),
        ("unknown frames", frame(99, 0, 1, &[])),
    ] {
        let (server, result) = attack(&[headers(1, false), flood.repeat(20_000)].concat());
        assert_eq!(result, Err(ErrorCode::EnhanceYourCalm), "{what}");
        assert!(server.out.len() < 200_000, "{what}: {}", server.out.len());
    }
}

#[test]
fn heads_that_never_end_are_given_up() {
    let start = frame(1, 0, 1, b"\x82");
    let one = frame(9, 0, 1, b"\x84");
    assert_eq!(attack(&[&start[..], &one.repeat(7)].concat()).1, Ok(vec![]));
    assert_eq!(
        attack(&[&start[..], &one.repeat(8)].concat()).1,
        Err(ErrorCode::EnhanceYourCalm)
    );
    let large = frame(9, 0, 1, &[0x84; 16_384]);
    assert_eq!(
        attack(&[&start[..], &large.repeat(5)].concat()).1,
        Err(ErrorCode::EnhanceYourCalm)
    );
}

#[test]
fn what_is_said_to_the_dead_is_not_free() {
    let gone = [headers(1, true), frame(3, 0, 1, &8_u32.to_be_bytes())].concat();
    for (what, flood) in [
        ("heads", headers(1, true)),
        ("data", frame(0, 0, 1, &[])),
        ("goodbyes", frame(7, 0, 0, &[0; 8])),
    ] {
        let (_, result) = attack(&[&gone[..], &flood.repeat(20_000)].concat());
        assert_eq!(result, Err(ErrorCode::EnhanceYourCalm), "{what}");
    }
    // An upstream's resets of streams that are no more.
    let mut client = Connection::new(Role::Client, clock::refresh());
    let id = client.open().unwrap();
    client.release(id);
    let mut input = Vec::new();
    frame::push_settings(&[], &mut input);
    input.extend(frame(3, 0, id, &[0; 4]).repeat(20_000));
    assert_eq!(feed(&mut client, &mut input), Err(ErrorCode::EnhanceYourCalm));
}
