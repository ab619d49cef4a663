//! Tables of health checks: what answers count for, and how targets are probed.

use super::{Id, Line, Rows, Text, choice, rows};

choice! {
    /// How a target is probed.
    ProbeKind {
        /// A GET in plaintext.
        Http = "http",
        /// A GET over TLS.
        Https = "https",
        /// A connection.
        Tcp = "tcp",
    }
}

rows! {
    /// What changes the health of a target. A count of 0 switches its rule off; each is 0..=255.
    HealthRules {
        /// Statuses that are a success.
        healthy_statuses: Rows<Status>,
        /// Successes that make a target healthy.
        successes: u32,
        /// Statuses that are an HTTP failure.
        unhealthy_statuses: Rows<Status>,
        /// HTTP failures that make it unhealthy.
        http_failures: u32,
        /// Connection failures that do.
        tcp_failures: u32,
        /// Timeouts that do.
        timeouts: u32,
    }
    /// A status in a list.
    Status {
        /// 100..=999.
        code: u32,
    }
    /// Active checks of an upstream's targets.
    Probe {
        /// How.
        kind: ProbeKind,
        /// Path and query of the GET.
        path: Text,
        /// Milliseconds for each step: to connect, to shake hands, to send, to receive.
        timeout: u32,
        /// Targets probed at once.
        concurrency: u32,
        /// Whether the target's certificate is verified.
        verify: bool,
        /// Name that TLS asks for; empty for the target's.
        server_name: Text,
        /// Header fields of the GET.
        headers: Rows<Line>,
        /// Milliseconds between probes of a healthy target; 0 for none.
        healthy_interval: u32,
        /// Milliseconds between probes of an unhealthy one; 0 for none.
        unhealthy_interval: u32,
        /// What the answers count for.
        rules: Id<HealthRules>,
    }
}
