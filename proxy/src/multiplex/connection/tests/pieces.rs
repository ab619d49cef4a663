//! Frames that come in pieces, and frames of any bytes.

use super::*;

proptest! {
    #[test]
    fn frames_come_in_pieces_of_any_size(most in 1..60_usize, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut pair = Pair::new();
        let id = pair.client.open().unwrap();
        pair.client.send_block(id, false, request);
        pair.client.send_data(id, &body, true);
        prop_assert_eq!(pair.exchange(most), vec![id]);
        let stream = pair.server.stream(id).unwrap();
        prop_assert_eq!(&*stream.received, &body);
        prop_assert_eq!(stream.remote, Remote::Ended);
    }

    #[test]
    fn no_frames_make_it_panic(
        frames in proptest::collection::vec(
            (0..11_u8, any::<u8>(), 0..8_u32, proptest::collection::vec(any::<u8>(), 0..40)), 0..40),
        started: bool,
    ) {
        let mut input = Vec::new();
        if started {
            input.extend(headers(1, false));
        }
        for (kind, flags, stream, payload) in frames {
            input.extend(frame(kind, flags, stream, &payload));
        }
        let (mut server, _) = attack(&input);
        for id in 0..8 {
            server.release(id);
        }
        let mut client = Connection::new(Role::Client, clock::now());
        client.open();
        let mut settings = Vec::new();
        frame::push_settings(&[], &mut settings);
        let _ = feed(&mut client, &mut [settings, input].concat());
    }
}
