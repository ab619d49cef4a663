//! Two ends that do anything, in any order.

use super::*;

/// What one of two ends does next. Numbers choose among the streams that are open.
#[derive(Clone, Debug)]
enum Move {
    Open {
        end: bool,
    },
    Send {
        client: bool,
        stream: usize,
        bytes: usize,
        end: bool,
    },
    Answer {
        stream: usize,
        end: bool,
    },
    Take {
        client: bool,
        stream: usize,
    },
    Reset {
        client: bool,
        stream: usize,
    },
    Release {
        client: bool,
        stream: usize,
    },
    Window {
        client: bool,
        size: u32,
    },
    Carry {
        most: usize,
    },
}

fn moves() -> impl Strategy<Value = Move> {
    let size = prop_oneof![Just(0_u32), Just(1), 0..200_000_u32];
    prop_oneof![
        3 => any::<bool>().prop_map(|end| Move::Open { end }),
        6 => (any::<bool>(), 0..8_usize, 0..40_000_usize, any::<bool>())
            .prop_map(|(client, stream, bytes, end)| Move::Send { client, stream, bytes, end }),
        3 => (0..8_usize, any::<bool>()).prop_map(|(stream, end)| Move::Answer { stream, end }),
        4 => (any::<bool>(), 0..8_usize).prop_map(|(client, stream)| Move::Take { client, stream }),
        1 => (any::<bool>(), 0..8_usize).prop_map(|(client, stream)| Move::Reset { client, stream }),
        2 => (any::<bool>(), 0..8_usize).prop_map(|(client, stream)| Move::Release { client, stream }),
        1 => (any::<bool>(), size).prop_map(|(client, size)| Move::Window { client, size }),
        6 => (1..70_000_usize).prop_map(|most| Move::Carry { most }),
    ]
}

impl Pair {
    fn end(&mut self, client: bool) -> &mut Connection {
        if client {
            &mut self.client
        } else {
            &mut self.server
        }
    }

    fn make(&mut self, step: &Move) {
        let chosen = |end: &Connection, number: usize| {
            let mut ids: Vec<u32> = end.streams.keys().copied().collect();
            ids.sort_unstable();
            ids.get(number).copied()
        };
        match *step {
            Move::Open { end } => {
                if let Some(id) = self.client.open() {
                    self.client.send_block(id, end, request);
                }
            }
            Move::Send {
                client,
                stream,
                bytes,
                end,
            } => {
                let from = self.end(client);
                let Some(id) = chosen(from, stream) else { return };
                // Nobody sends a body before its head.
                let answered = client || from.stream(id).unwrap().interim == usize::MAX;
                if answered {
                    let room = from.sendable(id).min(bytes);
                    from.send_data(id, &vec![7; room], end && room == bytes);
                }
            }
            Move::Answer { stream, end } => {
                let Some(id) = chosen(&self.server, stream) else {
                    return;
                };
                // A server's streams have no interim heads: marks what was answered.
                let mark = &mut self.server.stream(id).unwrap().interim;
                if std::mem::replace(mark, usize::MAX) != usize::MAX {
                    self.server.send_block(id, end, |out| encode::status(200, out));
                }
            }
            Move::Take { client, stream } => {
                let end = self.end(client);
                let Some(id) = chosen(end, stream) else { return };
                let taken = std::mem::take(&mut end.stream(id).unwrap().received).len();
                end.consumed(id, taken);
            }
            Move::Reset { client, stream } => {
                let end = self.end(client);
                let Some(id) = chosen(end, stream) else { return };
                end.reset_stream(id, ErrorCode::Cancel, clock::now()).unwrap();
            }
            Move::Release { client, stream } => {
                let end = self.end(client);
                if let Some(id) = chosen(end, stream) {
                    end.release(id);
                }
            }
            Move::Window { client, size } => frame::push_settings(&[(4, size)], &mut self.end(client).out),
            Move::Carry { most } => {
                carry(&mut self.client, &mut self.server, most).unwrap();
                carry(&mut self.server, &mut self.client, most).unwrap();
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_two_ends_do_all_windows_come_back(steps in proptest::collection::vec(moves(), 0..120)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.make(step);
            for end in [&pair.client, &pair.server] {
                prop_assert!(end.window >= 0 && end.room >= 0, "{} {}", end.window, end.room);
                prop_assert!(end.streams.values().all(|stream| stream.room >= 0 && stream.window <= frame::WINDOW_MAX));
            }
        }
        pair.exchange(usize::MAX);
        for client in [true, false] {
            let ids: Vec<u32> = pair.end(client).streams.keys().copied().collect();
            for id in ids {
                pair.end(client).release(id);
            }
        }
        pair.exchange(usize::MAX);
        prop_assert_eq!((pair.client.open_streams(), pair.server.open_streams()), (0, 0));
        for (from, to) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
            let whole = match to.role {
                Role::Server => limits::H2_WINDOW_BYTES,
                Role::Client => limits::H2_STREAMS * limits::H2_STREAM_WINDOW_BYTES,
            };
            prop_assert_eq!(to.room + i64::try_from(to.credit).unwrap(), i64::from(whole));
            prop_assert_eq!(from.window, to.room, "both count alike");
        }
    }
}
