//! Which Kong the defaults come from, and which plugins Tollgate enforces.

use std::fmt;

/// The Kong version whose defaults complete a file. Fields of both versions are read either way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, clap::ValueEnum)]
pub enum KongCompat {
    /// Kong 3.9, the last open line.
    #[default]
    #[value(name = "3.9")]
    V3_9,
    /// Kong 3.15: routes are https-only, credentials are hidden and upstream TLS is verified unless a file says no.
    #[value(name = "3.15")]
    V3_15,
}

impl KongCompat {
    /// Both, the older first.
    pub const BOTH: [Self; 2] = [Self::V3_9, Self::V3_15];

    /// The one that was not chosen.
    pub fn other(self) -> Self {
        match self {
            Self::V3_9 => Self::V3_15,
            Self::V3_15 => Self::V3_9,
        }
    }
}

impl fmt::Display for KongCompat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_9 => "3.9",
            Self::V3_15 => "3.15",
        })
    }
}

macro_rules! enforced {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// What a plugin instance runs. A closed list: everything else is known to the schema but not enforced.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum PluginKind {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// A plugin that Kong documents and Tollgate does not enforce.
            Unsupported,
        }

        impl PluginKind {
            /// The kind of the plugin (or clone original) called `name`.
            pub fn of(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    _ => Self::Unsupported,
                }
            }

            /// Names of all enforced plugins, for help texts.
            pub const ENFORCED: &'static [&'static str] = &[$($name),*];
        }
    };
}

enforced! {
    KeyAuth = "key-auth",
    BasicAuth = "basic-auth",
    Acl = "acl",
    IpRestriction = "ip-restriction",
    RateLimiting = "rate-limiting",
    RequestSizeLimiting = "request-size-limiting",
    RequestTermination = "request-termination",
    CorrelationId = "correlation-id",
    Cors = "cors",
    RequestTransformer = "request-transformer",
    ResponseTransformer = "response-transformer",
    Prometheus = "prometheus",
    FileLog = "file-log",
    AiProxy = "ai-proxy",
    AiRateLimitingAdvanced = "ai-rate-limiting-advanced",
}
