//! Answers of DNS servers: no panic, what is not an answer to the question is foreign, and every bound holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::limits;
use proxy::upstream::resolve::message::{Foreign, Kind, Question, Reply};

fuzz_target!(|input: (u8, u16, bool, &[u8])| {
    let (kind, id, grounded, bytes) = input;
    let kind = [Kind::A, Kind::Aaaa, Kind::Srv][usize::from(kind % 3)];
    let question = Question::new("web.test", kind).expect("a name");
    // Most inputs would end at the id or the question: some get both right, and only the rest is invented.
    let mut message = question.write(id, false);
    if grounded && let Some((counts, tail)) = bytes.split_first_chunk::<5>() {
        message[2] = 0x80 | counts[0] & 0x02;
        message[3] = counts[1] & 0x0f;
        for (place, count) in [7, 9, 11].into_iter().zip(&counts[2..]) {
            message[place] = count % 32;
        }
        message.extend_from_slice(tail);
    } else {
        message = bytes.to_vec();
    }
    let reply = question.read(id, &message);
    assert_eq!(reply, question.read(id, &message));
    if message.len() > 2 {
        let other = u16::from_be_bytes([message[0], message[1]]).wrapping_add(1);
        assert_eq!(question.read(other, &message), Err(Foreign));
    }
    match reply {
        Ok(Reply::Addresses(found, ttl_s)) => {
            assert!((1..=limits::DNS_RECORDS).contains(&found.len()) && kind != Kind::Srv);
            assert!(ttl_s <= i32::MAX as u32);
        }
        Ok(Reply::Services(found, _)) => {
            assert!((1..=limits::DNS_RECORDS).contains(&found.len()) && kind == Kind::Srv);
            // Whatever a server calls a host can be asked for, or is no name at all.
            found.iter().for_each(|service| drop(Question::new(&service.target, Kind::A)));
        }
        Ok(Reply::Alias(name, _)) => drop(Question::new(&name, kind)),
        _ => {}
    }
});
