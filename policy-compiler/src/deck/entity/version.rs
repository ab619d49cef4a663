//! What depends on the Kong version: defaults that differ, and what one version refuses.

use crate::schema::{KongCompat, Lack};
use crate::source::Span;

/// A place whose meaning depends on the Kong version.
#[derive(Clone, Debug)]
pub struct Sensitivity {
    /// What differs.
    pub kind: SensitivityKind,
    /// The entity that relies on the default, or what is refused.
    pub span: Span,
}

/// What a version changes or refuses. Equal kinds are counted together by `check`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SensitivityKind {
    /// A route without `protocols`: http and https in 3.9, https only in 3.15.
    RouteProtocols,
    /// A TLS service without `tls_verify`: unverified in 3.9, verified in 3.15.
    ServiceTlsVerify,
    /// A TLS service with `tls_verify: false`: Kong 3.14 and later refuse it by default.
    ServiceTlsUnverified,
    /// A plugin field left out whose default differs.
    PluginDefault {
        /// The plugin.
        plugin: Box<str>,
        /// Dotted path in its config.
        field: Box<str>,
        /// JSON text of the default in 3.9; `none` if it had none.
        default_3_9: Box<str>,
        /// The same in 3.15.
        default_3_15: Box<str>,
    },
    /// A plugin that a version does not have.
    Plugin {
        /// The version that refuses it.
        version: KongCompat,
        /// The plugin.
        plugin: Box<str>,
    },
    /// A protocol that a version does not let a plugin name.
    Protocol {
        /// The version that refuses it.
        version: KongCompat,
        /// The plugin.
        plugin: Box<str>,
        /// The protocol.
        protocol: Box<str>,
    },
    /// Something in an entity or in a plugin's configuration that a version refuses.
    Written {
        /// The version that refuses it.
        version: KongCompat,
        /// The kind of entity (`upstream`), or the plugin (`key-auth plugin`); the plural adds an s.
        of: Box<str>,
        /// Dotted path of the field.
        field: Box<str>,
        /// What is wrong with it.
        lack: Lack,
    },
}
