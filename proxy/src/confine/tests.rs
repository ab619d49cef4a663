//! A confined thread, and what it cannot do any more. Each test confines a thread of its own, for good.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use super::{Confine, Confinement, Places, confine};
use crate::worker::Driver;

/// Runs `act` on a thread that may read and log in `directory`, on a kernel that can confine it at all.
fn confined<T: Send>(directory: &Path, act: impl FnOnce() -> T + Send) -> Option<T> {
    let mut places = Places {
        read: vec![directory.to_owned()],
        admin: directory.to_owned(),
        ..Places::default()
    };
    places.add_log(&directory.join("requests.log"));
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let held = confine(Confine::Auto, &places, false, Driver::Epoll)
                .unwrap()
                .unwrap();
            match held {
                Confinement {
                    files: true,
                    calls: Some(_),
                    ..
                } => Some(act()),
                lacking => {
                    eprintln!("not tested here: {lacking}");
                    None
                }
            }
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_confined_thread_reads_and_writes_in_its_folders_only() {
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    std::fs::write(inside.path().join("policy.toll"), "x").unwrap();
    confined(inside.path(), || {
        let refused = |result: io::Result<()>| {
            assert_eq!(
                result.map_err(|error| error.kind()),
                Err(io::ErrorKind::PermissionDenied)
            )
        };
        std::fs::read(inside.path().join("policy.toll")).unwrap();
        std::fs::read_dir(inside.path()).unwrap();
        std::fs::File::create_new(inside.path().join("requests.log"))
            .unwrap()
            .write_all(b"x")
            .unwrap();
        std::fs::read("/etc/hosts").unwrap();
        refused(std::fs::read(&secret).map(drop));
        refused(std::fs::write(&secret, "y"));
        refused(std::fs::write(outside.path().join("new"), "y"));
        refused(std::fs::write("/etc/tollgate-was-here", "y"));
        refused(std::fs::remove_file(&secret));
    });
    assert_eq!(std::fs::read(&secret).unwrap(), b"x");
}

#[test]
fn a_confined_thread_starts_no_program_and_binds_no_port() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    confined(directory.path(), || {
        Command::new("/bin/true").spawn().unwrap_err();
        TcpListener::bind("127.0.0.1:0").unwrap_err();
        TcpStream::connect(address).unwrap();
        std::thread::spawn(|| {
            Command::new("/bin/true").spawn().unwrap_err();
        })
        .join()
        .expect("threads can be started, and are confined too");
    });
}

#[test]
fn a_compiler_cannot_be_confined_and_strict_says_so() {
    let places = Places::default();
    assert_eq!(
        confine(Confine::Auto, &places, true, Driver::Epoll).unwrap(),
        None
    );
    assert_eq!(
        confine(Confine::Off, &places, false, Driver::Epoll).unwrap(),
        None
    );
    let error = confine(Confine::Strict, &places, true, Driver::Epoll).unwrap_err();
    assert!(error.to_string().contains("tollc compile"), "{error}");
}
