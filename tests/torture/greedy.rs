//! Clients that want more than their share: of memory, of descriptors, of the worker. Others get theirs all the same.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tests::{Client, Gateway, Origin, Script, Step};

use crate::client::{connect, fresh_address};
use crate::pressure::{HELD_UP, busy_ticks, descriptors, gateway, ordinary, resident_kib};
use crate::subject::answer;

/// slow read: clients that ask for much and take nothing. What the gateway holds for each is bounded.
#[test]
fn answers_that_nobody_takes_are_not_piled_up() -> Result<()> {
    const ANSWER: usize = 4 << 20;
    const CLIENTS: usize = 40;
    let origin = Origin::start(|request| match request.target.as_str() {
        "/much" => Script::respond(200, &[], vec![b'm'; ANSWER]),
        _ => answer(request),
    })?;
    let mut gateway = gateway(&origin)?;
    ordinary(&gateway)?;
    let before = resident_kib(gateway.process().id())?;
    let mut idle = Vec::new();
    for _ in 0..CLIENTS {
        let mut stream = connect(fresh_address(), gateway.addr())?;
        socket2::SockRef::from(&stream).set_recv_buffer_size(4096)?;
        stream.write_all(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")?;
        idle.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    ensure!(ordinary(&gateway)? < HELD_UP, "others are held up");
    let grown = resident_kib(gateway.process().id())?.saturating_sub(before);
    ensure!(
        grown < CLIENTS as u64 * 256,
        "{grown} KiB for {CLIENTS} clients that take nothing"
    );
    Ok(())
}

/// Pipelined bytes that come while an answer streams wait in the socket, not in the gateway.
#[test]
fn bytes_that_come_while_an_answer_streams_are_not_piled_up() -> Result<()> {
    const EVENTS: usize = 30;
    let origin = Origin::start(|request| {
        if request.target != "/stream" {
            return answer(request);
        }
        let mut script = Script::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..EVENTS {
            script = script
                .then(Step::Pause(Duration::from_millis(100)))
                .then(Step::Send(b"5\r\nevent\r\n".to_vec()));
        }
        script.then(Step::Send(b"0\r\n\r\n".to_vec()))
    })?;
    let mut gateway = gateway(&origin)?;
    ordinary(&gateway)?;
    let before = resident_kib(gateway.process().id())?;
    let mut stream = connect(fresh_address(), gateway.addr())?;
    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut flood = stream.try_clone()?;
    flood.set_write_timeout(Some(Duration::from_millis(200)))?;
    let sender = std::thread::spawn(move || {
        let junk = [b'j'; 64 * 1024];
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < Duration::from_secs(3) {
            sent += flood.write(&junk).unwrap_or(0);
        }
        sent
    });
    let mut grown = 0;
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        grown = grown.max(resident_kib(gateway.process().id())?.saturating_sub(before));
    }
    let sent = sender.join().unwrap_or_default() / 1024;
    ensure!(
        grown < 8 * 1024,
        "grew by {grown} KiB for one client that sent {sent} KiB"
    );
    Ok(())
}

/// Connections that only come and go, or come and stay.
#[test]
fn connections_that_say_nothing_hold_up_nobody() -> Result<()> {
    let origin = Origin::start(answer)?;
    let mut gateway = gateway(&origin)?;
    ordinary(&gateway)?;
    let open = descriptors(gateway.process().id())?;
    let silent: Vec<TcpStream> = (0..300)
        .map(|_| connect(fresh_address(), gateway.addr()))
        .collect::<Result<_>>()?;
    for _ in 0..1000 {
        drop(connect(fresh_address(), gateway.addr())?);
    }
    ensure!(ordinary(&gateway)? < HELD_UP, "others are held up");
    drop(silent);
    let deadline = Instant::now() + Duration::from_secs(10);
    while descriptors(gateway.process().id())? > open + 4 {
        let now = descriptors(gateway.process().id())?;
        ensure!(
            Instant::now() < deadline,
            "{now} descriptors are open, {open} were"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Out of descriptors: accepting pauses, without turning in circles, and goes on when some are free again.
#[test]
fn a_gateway_out_of_descriptors_waits_and_recovers() -> Result<()> {
    let origin = Origin::start(answer)?;
    let mut gateway = gateway(&origin)?;
    ordinary(&gateway)?;
    let process = gateway.process().id();
    let most = descriptors(process)? as u64 + 20;
    let limits = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    let pid = Pid::from_raw(process.try_into()?).context("a process id")?;
    prlimit(Some(pid), Resource::Nofile, limits)?;
    let crowd: Vec<TcpStream> = (0..100)
        .map(|_| connect(fresh_address(), gateway.addr()))
        .collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_millis(500));
    let before = busy_ticks(process)?;
    std::thread::sleep(Duration::from_secs(2));
    let busy = busy_ticks(process)? - before;
    ensure!(busy < 60, "busy for {busy} of 200 ticks with nothing to do");
    drop(crowd);
    let began = Instant::now();
    while ordinary(&gateway).is_err() {
        ensure!(began.elapsed() < Duration::from_secs(10), "does not recover");
    }
    Ok(())
}

/// A client that was refused may send on for a while, so that it gets to read why; not for ever.
#[test]
fn who_is_refused_and_sends_on_is_cut_off() -> Result<()> {
    let origin = Origin::start(answer)?;
    let gateway = gateway(&origin)?;
    let mut stream = connect(fresh_address(), gateway.addr())?;
    stream.write_all(b"GET / HTTP/9.9\r\nHost: a\r\n\r\n")?;
    let began = Instant::now();
    let junk = [b'j'; 64 * 1024];
    let mut sent = 0;
    while stream.write_all(&junk).is_ok() {
        sent += junk.len();
        ensure!(sent < 64 << 20, "it took {sent} bytes after a refusal");
        ensure!(
            began.elapsed() < Duration::from_secs(20),
            "it reads on after a refusal"
        );
    }
    ordinary(&gateway)?;
    Ok(())
}

/// Clients that never stop asking take turns with everybody else.
#[test]
fn clients_that_never_stop_asking_hold_up_nobody() -> Result<()> {
    let origin = Origin::start(answer)?;
    let gateway = gateway(&origin)?;
    let longest = longest_beside(&gateway, |stop| flood(&gateway, stop))?;
    ensure!(
        longest.is_some_and(|it| it < HELD_UP),
        "an ordinary request took {longest:?}"
    );
    Ok(())
}

/// The longest of some ordinary requests while a few threads do `work` until they are told to stop; `None` when one was
/// not answered at all.
fn longest_beside(
    gateway: &Gateway,
    work: impl Fn(&AtomicBool) -> Result<()> + Sync,
) -> Result<Option<Duration>> {
    ordinary(gateway)?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let working: Vec<_> = (0..3).map(|_| scope.spawn(|| work(&stop))).collect();
        std::thread::sleep(Duration::from_millis(300));
        let took: Result<Vec<Duration>> = (0..20).map(|_| ordinary(gateway)).collect();
        stop.store(true, Ordering::Release);
        for worker in working {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(took.ok().and_then(|took| took.into_iter().max()))
    })
}

/// Downloads that never pause take turns with everybody else.
#[test]
fn downloads_that_never_pause_hold_up_nobody() -> Result<()> {
    let origin = Origin::start(|request| match request.target.as_str() {
        "/much" => Script::respond(200, &[], vec![b'm'; 8 << 20]),
        _ => answer(request),
    })?;
    let gateway = gateway(&origin)?;
    let longest = longest_beside(&gateway, |stop| {
        while !stop.load(Ordering::Acquire) {
            let answer = Client::get(gateway.addr(), "/much", &[])?;
            ensure!(answer.body.len() == 8 << 20, "got {} bytes", answer.body.len());
        }
        Ok(())
    })?;
    ensure!(
        longest.is_some_and(|it| it < HELD_UP),
        "an ordinary request took {longest:?}"
    );
    Ok(())
}

/// Uploads that never pause take turns with everybody else.
#[test]
fn uploads_that_never_pause_hold_up_nobody() -> Result<()> {
    let origin = Origin::start(answer)?;
    let gateway = gateway(&origin)?;
    let body = vec![b'm'; 8 << 20];
    let longest = longest_beside(&gateway, |stop| {
        while !stop.load(Ordering::Acquire) {
            let answer = Client::fetch(gateway.addr(), "POST", "/much", &[], &body)?;
            ensure!(answer.status == 200, "got {}", answer.status);
        }
        Ok(())
    })?;
    ensure!(
        longest.is_some_and(|it| it < HELD_UP),
        "an ordinary request took {longest:?}"
    );
    Ok(())
}

/// Asks for what is refused without an upstream, as fast as the gateway takes it.
fn flood(gateway: &Gateway, stop: &AtomicBool) -> Result<()> {
    let mut stream = connect(fresh_address(), gateway.addr())?;
    let mut answers = stream.try_clone()?;
    let batch = b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = vec![0; 1 << 20];
            while let Ok(1..) = answers.read(&mut buffer) {}
        });
        stream.set_write_timeout(Some(Duration::from_millis(100)))?;
        while !stop.load(Ordering::Acquire) {
            // A flood that is held up by another one goes on when it can.
            let _ = stream.write(&batch);
        }
        Ok(stream.shutdown(Shutdown::Both)?)
    })
}
