//! Attacks that only HTTP/2 makes possible. Each must end with the connection or stay within bounds of memory and work,
//! while other clients are served.

use std::time::Duration;

use anyhow::{Context, Result};
use tests::{Client, Frame, Frames, Gateway, Nginx, Scratch};

/// `ENHANCE_YOUR_CALM`.
const CALM: Option<u32> = Some(11);

/// A gateway with one worker on an origin that answers at once.
struct Scene {
    nginx: Nginx,
    gateway: Gateway,
}

impl Scene {
    fn new() -> Result<Self> {
        let nginx = Nginx::start("location / { return 200 hello; }")?;
        let gateway = Gateway::builder(crate::one_route(&format!("http://{}", nginx.addr()), "", ""))
            .workers(1)
            .start()?;
        Ok(Self { nginx, gateway })
    }

    fn connect(&self) -> Result<Frames> {
        Frames::connect(self.gateway.addr())
    }

    /// Resident memory in KiB and CPU time in clock ticks.
    fn spent(&mut self) -> Result<(usize, u64)> {
        let process = self.gateway.process();
        Ok((process.resident()? / 1024, process.ticks()?))
    }

    /// Runs an attack, and checks what it cost and that others are served after it.
    fn bounded(self, attack: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.bounded_to(16 * 1024, attack)
    }

    /// The same with a bound of its own for memory, in KiB.
    fn bounded_to(mut self, most: usize, attack: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        assert_eq!(Client::get(self.gateway.addr(), "/", &[])?.status, 200);
        let (memory, work) = self.spent()?;
        attack(&self)?;
        let (memory_after, work_after) = self.spent()?;
        let grown = memory_after.saturating_sub(memory);
        assert!(grown < most, "{grown} KiB more");
        // A second of CPU is many times what any of these needs, and far from what they are meant to cost.
        assert!(work_after - work < 100, "{} ticks", work_after - work);
        assert_eq!(Client::get(self.gateway.addr(), "/", &[])?.status, 200);
        Ok(())
    }
}

/// Sends until the gateway closes or all is sent.
fn flood(frames: &mut Frames, pieces: impl Iterator<Item = Vec<Frame>>) {
    for piece in pieces {
        if frames.push(&piece).is_err() {
            return;
        }
    }
}

fn reset(stream: u32) -> Frame {
    Frame::new(3, 0, stream, &8_u32.to_be_bytes())
}

#[test]
fn rapid_reset() -> Result<()> {
    Scene::new()?.bounded(|scene| {
        let mut frames = scene.connect()?;
        let pieces = (0..100_000_u32).map(|number| {
            let stream = number * 2 + 1;
            vec![Frame::request(stream, "GET", "/", true), reset(stream)]
        });
        flood(&mut frames, pieces);
        assert_eq!(frames.farewell()?, CALM);
        let reached = scene.nginx.access_log()?.lines().count();
        assert!(reached <= 1100, "{reached} requests reached the origin");
        Ok(())
    })
}

#[test]
fn made_you_reset() -> Result<()> {
    for fault in [
        Frame::new(8, 0, 0, &0_u32.to_be_bytes()),
        Frame::new(8, 0, 0, &0x7fff_ffff_u32.to_be_bytes()),
        Frame::new(0, 0, 0, b"x"),
    ] {
        Scene::new()?.bounded(|scene| {
            let mut frames = scene.connect()?;
            let pieces = (0..20_000_u32).map(|number| {
                let stream = number * 2 + 1;
                let fault = Frame {
                    stream,
                    ..fault.clone()
                };
                vec![Frame::request(stream, "GET", "/", true), fault]
            });
            flood(&mut frames, pieces);
            assert_eq!(frames.farewell()?, CALM);
            let reached = scene.nginx.access_log()?.lines().count();
            assert!(reached <= 1100, "{reached} requests reached the origin");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn heads_without_end() -> Result<()> {
    Scene::new()?.bounded(|scene| {
        let mut frames = scene.connect()?;
        let start = Frame {
            flags: 0,
            ..Frame::request(1, "GET", "/", true)
        };
        frames.push(&[start])?;
        let more = Frame::new(9, 0, 1, &Frame::field("x", &"y".repeat(1000)));
        flood(&mut frames, (0..100_000).map(|_| vec![more.clone()]));
        assert_eq!(frames.farewell()?, CALM);
        Ok(())
    })
}

#[test]
fn floods_of_small_frames() -> Result<()> {
    for small in [
        Frame::new(4, 0, 0, &[]),
        Frame::new(6, 0, 0, &[0; 8]),
        Frame::new(2, 0, 1, &[0, 0, 0, 3, 0]),
        Frame::new(0, 0, 1, &[]),
        Frame::new(8, 0, 1, &1_u32.to_be_bytes()),
    ] {
        Scene::new()?.bounded(|scene| {
            let mut frames = scene.connect()?;
            frames.push(&[Frame::request(1, "POST", "/", false)])?;
            let piece = vec![small.clone(); 100];
            flood(&mut frames, (0..2000).map(|_| piece.clone()));
            assert_eq!(frames.farewell()?, CALM, "{small:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// One large entry of the table, and heads that are nothing but references to it.
#[test]
fn a_bomb_of_compressed_heads() -> Result<()> {
    Scene::new()?.bounded(|scene| {
        let mut frames = scene.connect()?;
        let mut entry = Frame::field("x", &"y".repeat(3900));
        entry[0] = 0x40;
        frames.push(&[Frame::request(1, "GET", "/", true).and(&entry)])?;
        for number in 1..200_u32 {
            let bomb = Frame::request(number * 2 + 1, "GET", "/", true).and(&[0xbe; 12_000]);
            frames.push(&[bomb])?;
            // Answered 431 (or refused while there are many), never served.
            frames
                .find(|frame| frame.stream == number * 2 + 1)?
                .context("an answer")?;
        }
        Ok(())
    })
}

/// Cookies that come apart byte by byte are bounded as any other fields are.
#[test]
fn a_bomb_of_cookie_crumbs() -> Result<()> {
    Scene::new()?.bounded(|scene| {
        let mut frames = scene.connect()?;
        let mut crumb = Frame::field("cookie", "");
        crumb[0] = 0x40;
        frames.push(&[Frame::request(1, "GET", "/", true).and(&crumb)])?;
        frames
            .find(|frame| frame.stream == 1 && frame.kind == 1)?
            .context("an answer")?;
        frames.push(&[Frame::request(3, "GET", "/", true).and(&[0xbe; 16_000])])?;
        let answer = frames
            .find(|frame| frame.stream == 3 && frame.kind == 1)?
            .context("an answer")?;
        assert!(answer.payload.windows(3).any(|it| it == b"431"), "{answer:?}");
        Ok(())
    })
}

/// A hundred answers that the client has no room for are held in bounded memory, and others go on.
#[test]
fn windows_that_never_open() -> Result<()> {
    let files = Scratch::new()?;
    let large = files.write("large", vec![b'x'; 200_000])?;
    let nginx = Nginx::start(&format!(
        "location / {{ return 200 hello; }} location = /large {{ alias {}; }}",
        large.display()
    ))?;
    let gateway = Gateway::builder(crate::one_route(&format!("http://{}", nginx.addr()), "", ""))
        .workers(1)
        .start()?;
    // 500 exchanges stand still, each with what an exchange holds: a part of the answer on its way in and out.
    Scene { nginx, gateway }.bounded_to(500 * 80, |scene| {
        let mut held = Vec::new();
        for _ in 0..5 {
            let mut frames = scene.connect()?;
            // SETTINGS_INITIAL_WINDOW_SIZE 0, then drips of one byte.
            frames.push(&[Frame::new(4, 0, 0, &[0, 4, 0, 0, 0, 0])])?;
            let requests = (0..100_u32).map(|number| Frame::request(number * 2 + 1, "GET", "/large", true));
            frames.push(&requests.collect::<Vec<_>>())?;
            held.push(frames);
        }
        std::thread::sleep(Duration::from_secs(1));
        for frames in &mut held {
            for stream in (0..100).map(|number| number * 2 + 1) {
                frames.push(&[Frame::new(8, 0, stream, &1_u32.to_be_bytes())])?;
            }
        }
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    })
}

/// A client that asks for much and reads nothing.
#[test]
fn answers_that_nobody_reads() -> Result<()> {
    Scene::new()?.bounded(|scene| {
        let mut frames = scene.connect()?;
        frames.push(&[
            Frame::new(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]),
            Frame::new(8, 0, 0, &0x7000_0000_u32.to_be_bytes()),
        ])?;
        let pieces = (0..100_000_u32).map(|number| vec![Frame::request(number * 2 + 1, "GET", "/", true)]);
        // It stands still, or the gateway lets it go; either way nothing piles up.
        let sending = std::thread::spawn(move || flood(&mut frames, pieces));
        std::thread::sleep(Duration::from_secs(2));
        drop(sending);
        Ok(())
    })
}
