//! The decK file that tollgate is governed by in a scenario.

use std::fmt::Write as _;

use tests::Certificate;

use super::super::scenario::{Policy, Scenario, Upstream};

/// The file for one scenario, with the certificate that all peers show.
pub(super) fn of(scenario: &Scenario, upstream: u16, certificate: &Certificate) -> String {
    let mut deck = String::from("_format_version: \"3.0\"\n");
    match scenario.policy {
        Policy::None => bare(&mut deck, scenario.upstream, upstream),
        Policy::Rest { routes, consumers } => rest(&mut deck, upstream, routes, consumers),
        Policy::Llm => llm(&mut deck, upstream),
    }
    let _ = write!(
        deck,
        "certificates:\n- id: 00000000-0000-4000-8000-000000000001\n  snis: [{{name: localhost}}]\n  cert: |\n{}  key: |\n{}",
        indented(&certificate.certificate),
        indented(&certificate.key)
    );
    deck
}

fn indented(pem: &str) -> String {
    pem.lines().map(|line| format!("    {line}\n")).collect()
}

fn bare(deck: &mut String, upstream: Upstream, port: u16) {
    let (service, route) = match upstream {
        Upstream::Grpc => ("grpc", "[grpc, grpcs]"),
        Upstream::Web | Upstream::Stream | Upstream::Echo | Upstream::Bodies => ("http", "[http, https]"),
    };
    let _ = write!(
        deck,
        "services:\n- name: origin\n  url: {service}://127.0.0.1:{port}\n  routes:\n  - name: all\n    \
         paths: [/]\n    protocols: {route}\n    strip_path: false\n"
    );
}

fn llm(deck: &mut String, upstream: u16) {
    let _ = write!(
        deck,
        "services:\n- name: llm\n  url: http://127.0.0.1:{upstream}\n  routes:\n  - name: chat\n    \
                 paths: [/v1/chat/completions]\n    plugins:\n    - name: key-auth\n    - name: ai-proxy\n      \
                 config:\n        route_type: llm/v1/chat\n        auth: {{header_name: Authorization, header_value: \
                 'Bearer perf'}}\n        model: {{provider: openai, name: gpt-4o-mini, options: {{upstream_url: \
                 'http://127.0.0.1:{upstream}/v1/chat/completions'}}}}\n    - name: ai-rate-limiting-advanced\n      \
                 config:\n        llm_providers: [{{name: openai, limit: [1000000000000], window_size: [60]}}]\n\
                 consumers:\n- username: perf\n  keyauth_credentials: [{{key: perf-key}}]\n"
    );
}

fn rest(deck: &mut String, upstream: u16, routes: usize, consumers: usize) {
    let _ = write!(
        deck,
        "services:\n- name: origin\n  url: http://127.0.0.1:{upstream}\n  routes:\n"
    );
    for route in 0..routes {
        let _ = writeln!(
            deck,
            "  - {{name: r{route}, paths: [/r{route}/], strip_path: false}}"
        );
    }
    deck.push_str(
        "plugins:\n- name: key-auth\n- name: acl\n  config: {allow: [users]}\n- name: rate-limiting\n  config: \
         {minute: 1000000000, policy: local}\n- name: prometheus\n  config: {status_code_metrics: true, \
         latency_metrics: true, bandwidth_metrics: true}\nconsumers:\n- username: perf\n  keyauth_credentials: \
         [{key: perf-key}]\n  acls: [{group: users}]\n",
    );
    for consumer in 1..consumers {
        let _ = writeln!(
            deck,
            "- {{username: c{consumer}, keyauth_credentials: [{{key: key-{consumer}}}], acls: [{{group: users}}]}}"
        );
    }
}
