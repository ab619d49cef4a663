//! How much: rate-limiting, request-size-limiting and request-termination; what a model call may cost.

use super::{Outcome, Walk, refuse};
use crate::deck::entity::PluginIndex;
use crate::plugin::Config;

impl Walk<'_> {
    pub(super) fn rate_limiting(&mut self, index: PluginIndex, config: Config<'_>) -> Outcome {
        self.counted.push(index);
        if !self.request.spent {
            return Outcome::Forwarded;
        }
        let message = config.text("error_message").unwrap_or("API rate limit exceeded");
        refuse(index, config.status("error_code", 429).unwrap_or(429), message)
    }

    pub(super) fn ai_rate_limiting_advanced(&self, index: PluginIndex, config: Config<'_>) -> Outcome {
        if !self.request.spent {
            return Outcome::Forwarded;
        }
        let message = config
            .text("error_message")
            .unwrap_or("AI token rate limit exceeded for provider(s): ");
        refuse(index, config.status("error_code", 429).unwrap_or(429), message)
    }

    pub(super) fn request_size_limiting(&self, index: PluginIndex, config: Config<'_>) -> Outcome {
        let unit = match config.text("size_unit") {
            Some("bytes") => 1,
            Some("kilobytes") => 1024,
            _ => 1024 * 1024,
        };
        let limit = config.count("allowed_payload_size").unwrap_or(128) * unit;
        let chunked = self.request.values("transfer-encoding").next().is_some();
        match &self.request.body {
            Some(_) if chunked => Outcome::Forwarded,
            Some(body) if body.len() as u64 > limit => refuse(index, 413, "Request size limit exceeded"),
            None if config.flag("require_content_length") => {
                refuse(index, 411, "A valid Content-Length header is required")
            }
            _ => Outcome::Forwarded,
        }
    }

    pub(super) fn request_termination(&self, index: PluginIndex, config: Config<'_>) -> Outcome {
        let asks = |trigger: &str| {
            let named = trigger.to_ascii_lowercase();
            self.request.values(&named).next().is_some() || self.request.has_argument(trigger)
        };
        match config.text("trigger") {
            Some(trigger) if !asks(trigger) => Outcome::Forwarded,
            _ => Outcome::Answered(index),
        }
    }
}
