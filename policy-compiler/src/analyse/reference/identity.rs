//! Who calls: key-auth, basic-auth and the anonymous consumer.

use super::{Outcome, Walk};
use crate::deck::entity::{ConsumerIndex, Password, PluginIndex};
use crate::plugin::Config;

impl Walk<'_> {
    fn fail(&mut self, index: PluginIndex, config: Config<'_>, message: &str) -> Outcome {
        let Some(name) = config.text("anonymous").filter(|name| !name.is_empty()) else {
            return Outcome::Refused(index, 401, message.to_owned());
        };
        let named = (0..)
            .map(ConsumerIndex)
            .zip(&self.model.consumers)
            .find(|(_, consumer)| {
                consumer.meta.id.to_string() == name || consumer.username.as_deref() == Some(name)
            });
        self.consumer = named.map(|(index, _)| index);
        self.anonymous = true;
        Outcome::Forwarded
    }

    fn identify(&mut self, consumer: ConsumerIndex) -> Outcome {
        self.consumer = Some(consumer);
        self.proven = true;
        self.anonymous = false;
        Outcome::Forwarded
    }

    pub(super) fn key_auth(&mut self, index: PluginIndex, config: Config<'_>) -> Outcome {
        if !config.flag_or("run_on_preflight", true) && self.request.method == "OPTIONS" {
            return Outcome::Forwarded;
        }
        if self.proven && config.text("anonymous").is_some() {
            return Outcome::Forwarded;
        }
        let mut key = None;
        for (name, _) in config.texts("key_names") {
            let mut values: Vec<String> = Vec::new();
            if config.flag_or("key_in_header", true) {
                let lower = name.to_ascii_lowercase();
                values = self.request.values(&lower).map(str::to_owned).collect();
            }
            if values.is_empty() && config.flag_or("key_in_query", true) {
                values = self.request.arguments(name);
            }
            if values.is_empty() && config.flag("key_in_body") {
                values = self.request.members(name);
            }
            match values.as_slice() {
                [] => {}
                [value] => {
                    key = Some(value.clone());
                    break;
                }
                _ => return self.fail(index, config, "Duplicate API key found"),
            }
        }
        let Some(key) = key.filter(|key| !key.is_empty()) else {
            return self.fail(index, config, "No API key found in request");
        };
        let known = self
            .model
            .keyauth_credentials
            .iter()
            .find(|c| c.key.expose() == key);
        match known {
            Some(credential) => self.identify(credential.consumer),
            None => self.fail(index, config, "Unauthorized"),
        }
    }

    pub(super) fn basic_auth(&mut self, index: PluginIndex, config: Config<'_>) -> Outcome {
        if self.proven && config.text("anonymous").is_some() {
            return Outcome::Forwarded;
        }
        for header in ["proxy-authorization", "authorization"] {
            let Some(value) = self.request.values(header).next() else {
                continue;
            };
            let known = self.model.basicauth_credentials.iter().find(|credential| {
                let Password::Plain(password) = &credential.password else {
                    return false;
                };
                let pair = format!("{}:{}", credential.username, password.expose());
                value == format!("Basic {}", base64(pair.as_bytes()))
            });
            if let Some(credential) = known {
                return self.identify(credential.consumer);
            }
        }
        self.fail(index, config, "Unauthorized")
    }
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                out.push(char::from(ALPHABET[(word >> (18 - 6 * place) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}
