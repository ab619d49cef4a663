//! `cargo xtask demo`: the gateway on examples/quickstart.yaml, with an origin and a provider of its own.
//!
//! Shows with a handful of requests what each rule of the file does, then stays up and says how to go on.

use std::net::SocketAddr;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{Client, Driver, Gateway, Llm, Origin, Response, Scenario, Script};

use crate::step;

const POLICY: &str = "examples/quickstart.yaml";
const PROVIDER_KEY: &str = "sk-demo-never-shown-to-clients";

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

#[derive(clap::Args)]
pub(crate) struct Options {
    /// End after the requests instead of staying up
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    step::say("build (release)");
    step::run(step::cargo().args([
        "build",
        "--release",
        "--package",
        "proxy",
        "--package",
        "policy-compiler",
    ]))?;
    let origin = shop()?;
    let llm = Llm::start(Scenario {
        tokens: 12,
        delay: std::time::Duration::from_millis(20),
        ..Scenario::default()
    })?;
    let policy = std::fs::read_to_string(step::root().join(POLICY)).context(POLICY)?;
    let gateway = Gateway::builder(policy)
        .programs(&step::target_dir().join("release"))
        .env("DECK_SHOP_URL", &origin.url())
        .env("DECK_LLM_URL", &llm.url(""))
        .env("PROVIDER_KEY", PROVIDER_KEY)
        .driver(Driver::Auto)
        .quiet()
        .start()?;
    let driver = gateway.ready()["driver"].as_str().unwrap_or_default().to_owned();
    step::say(&format!(
        "tollgate listens on {} ({driver}), governed by {POLICY}",
        gateway.addr()
    ));
    rest(gateway.addr(), &origin)?;
    chat(gateway.addr(), &llm)?;
    if options.once {
        return Ok(ExitCode::SUCCESS);
    }
    invite(&gateway);
    loop {
        std::thread::park();
    }
}

fn shop() -> Result<Origin> {
    Origin::start(|request| {
        let order = json!({"order": 7, "for": request.header("X-Consumer-Username"), "path": request.target});
        Script::respond(200, &[("Content-Type", "application/json")], order.to_string())
    })
}

/// key-auth, acl and rate-limiting in front of a REST service.
fn rest(addr: SocketAddr, origin: &Origin) -> Result<()> {
    step::say("a REST service: key-auth, acl, rate-limiting");
    let get = |key: Option<&str>| -> Result<Response> {
        let headers: Vec<(&str, &str)> = key.map(|key| ("apikey", key)).into_iter().collect();
        Client::get(addr, "/orders/7", &headers)
    };
    show("no key", "key-auth asks who you are", &get(None)?, 401)?;
    show(
        "a key nobody has",
        "key-auth does not know it",
        &get(Some("guess"))?,
        401,
    )?;
    show(
        "bob's key",
        "acl: bob is known, but not in group shop",
        &get(Some("bob-key"))?,
        403,
    )?;
    show(
        "ada's key",
        "passed on; the origin learns that it was ada",
        &get(Some("ada-key"))?,
        200,
    )?;
    let mut answers = Vec::new();
    while answers
        .last()
        .is_none_or(|answer: &Response| answer.status == 200)
    {
        ensure!(answers.len() < 10, "five an hour was not five an hour");
        answers.push(get(Some("ada-key"))?);
    }
    let refusal = answers.pop().context("no answer")?;
    show(
        &format!("ada {} times more", answers.len() + 1),
        "rate-limiting: five an hour, exactly",
        &refusal,
        429,
    )?;
    note(&format!(
        "the origin saw {} of {} requests, none with a key in it",
        origin.requests().len(),
        5 + answers.len()
    ));
    Ok(())
}

/// ai-proxy and ai-rate-limiting-advanced in front of a provider.
fn chat(addr: SocketAddr, llm: &Llm) -> Result<()> {
    step::say("an LLM: ai-proxy, ai-rate-limiting-advanced (1,000 tokens an hour)");
    let ask = |stream: bool| -> Result<Response> {
        let body = json!({
            "messages": [{"role": "user", "content": "Say something."}],
            "max_tokens": 200,
            "stream": stream,
        });
        Client::post_json(addr, "/v1/chat/completions", &[("apikey", "ada-key")], &body)
    };
    show(
        "a chat call",
        "the gateway adds the provider's key and the model's name",
        &ask(false)?,
        200,
    )?;
    let stream = ask(true)?;
    show(
        "the same, streamed",
        "events pass as they come; usage is counted, and not shown unasked",
        &stream,
        200,
    )?;
    let statuses = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..20).map(|_| scope.spawn(|| ask(true))).collect();
        let joined = calls
            .into_iter()
            .map(|call| call.join().map_err(|_panic| anyhow::anyhow!("a call panicked"))?);
        joined
            .map(|answer| Ok(answer?.status))
            .collect::<Result<Vec<u16>>>()
    })?;
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    show_line(
        "20 calls at once",
        &format!("{admitted} × 200, {} × 429", statuses.len() - admitted),
        "each reserves all it might use; what does not fit is refused before it starts",
    );
    let spent = llm.bill().total_tokens();
    ensure!(spent <= 1000, "the provider billed {spent} tokens of 1000");
    note(&format!(
        "the provider's bill: {spent} of 1,000 tokens; what was reserved and not used is free again"
    ));
    Ok(())
}

fn show(what: &str, why: &str, answer: &Response, expected: u16) -> Result<()> {
    ensure!(
        answer.status == expected,
        "{what}: {} instead of {expected}: {}",
        answer.status,
        answer.text()
    );
    let text = answer.text();
    let event = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_not_json| json!(event));
    let told = body["message"]
        .as_str()
        .or_else(|| body["error"]["message"].as_str())
        .map_or_else(|| body.to_string(), str::to_owned);
    let told: String = told.chars().take(76).collect();
    let colour = if answer.status == 200 { GREEN } else { YELLOW };
    show_line(what, &format!("{colour}{}{colour:#}", answer.status), why);
    anstream::eprintln!("      {DIM}{told}{DIM:#}");
    Ok(())
}

fn show_line(what: &str, outcome: &str, why: &str) {
    anstream::eprintln!("    {BOLD}{what:<20}{BOLD:#} {outcome}  {why}");
}

fn note(text: &str) {
    anstream::eprintln!("    {text}");
}

fn invite(gateway: &Gateway) {
    step::say("it stays up; try (Ctrl-C ends it)");
    let chat = "-H 'Content-Type: application/json' -d '{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":50}'";
    note(&format!(
        "curl -i -H 'apikey: ada-key' {}",
        gateway.url("/orders/7")
    ));
    note(&format!(
        "curl -i -H 'apikey: ada-key' {chat} {}",
        gateway.url("/v1/chat/completions")
    ));
    let programs = step::target_dir().join("release");
    let socket = gateway.scratch().path().join("admin");
    note(&format!(
        "{}/tollgate status --admin {}",
        programs.display(),
        socket.display()
    ));
    note(&format!(
        "{}/tollc explain {}",
        programs.display(),
        gateway.scratch().path().join("kong.yaml").display()
    ));
}
