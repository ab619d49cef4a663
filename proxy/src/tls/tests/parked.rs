use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::node::DriverChoice;
use crate::tls::ParkedStream;
use crate::worker::Driver;
use crate::worker::tests::on;

fn each_driver(test: impl Fn(Driver)) {
    if let Ok(uring) = Driver::choose(DriverChoice::Uring) {
        test(uring);
    }
    test(Driver::Epoll);
}

/// A session with an echoing server of this version.
async fn opened(version: &'static SupportedProtocolVersion) -> Stream {
    let authority = Authority::new();
    let identity = authority.sign("up.test");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.der()], identity.key())
        .unwrap();
    let address = echo_server(config, 1);
    let tls = configs(&authority).get(&Demands::STRICT).unwrap();
    let mut stream = open(address, &tls, "up.test").await.unwrap();
    // Tickets of TLS 1.3 come before the first answer.
    echo(&mut stream, &b"bytes ".repeat(30_000)).await.unwrap();
    stream
}

fn put_away(stream: Stream) -> Option<ParkedStream> {
    let duplicate = stream.conn().duplicate().unwrap();
    stream.park(duplicate)
}

#[test]
fn a_session_goes_on_wherever_it_is_adopted() {
    for version in [&TLS12, &TLS13] {
        each_driver(|driver| {
            let mut parked = on(driver, move || async move { put_away(opened(version).await) });
            for _ in 0..3 {
                let here = parked.take().expect("it holds no byte");
                assert!(!here.is_stale());
                parked = on(driver, move || async move {
                    let mut stream = here.adopt().unwrap();
                    let agreed = stream.tls().and_then(|tls| tls.protocol_version());
                    assert_eq!(agreed, Some(version.version));
                    echo(&mut stream, &b"further ".repeat(30_000)).await.unwrap();
                    put_away(stream)
                });
            }
        });
    }
}

#[test]
fn what_holds_bytes_that_nobody_asked_for_is_closed() {
    on_each_driver(|| async {
        let mut stream = opened(&TLS13).await;
        if let Stream::Tls(session) = &mut stream {
            session.incoming.extend_from_slice(b"what was not decrypted yet");
        }
        assert!(put_away(stream).is_none());
    });
}
