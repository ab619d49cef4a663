//! Token counts, normalised (OpenAI `usage`, chat, completions and embeddings).

use serde::Deserialize;

use crate::limits;

/// Tokens of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All input, cached included.
    pub prompt: u64,
    /// All output, reasoning included.
    pub completion: u64,
}

impl Usage {
    /// Input and output.
    pub const fn total(self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }

    /// Micro-units of money, rounded up; costs are micro-units for a million tokens.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "token counts are far below 2^53, and a saturated sum is still an upper bound"
    )]
    pub fn cost(self, input_cost: f64, output_cost: f64) -> u64 {
        let sum = self.prompt as f64 * input_cost + self.completion as f64 * output_cost;
        (sum / 1_000_000.0).ceil().max(0.0) as u64
    }
}

/// `usage` as providers write it. Everything may be missing, null, or nonsense.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reported {
    prompt_tokens: Option<serde_json::Number>,
    completion_tokens: Option<serde_json::Number>,
    total_tokens: Option<serde_json::Number>,
}

impl Reported {
    /// The counts, if they can be believed. Where the parts and the total differ, the larger reading counts: some
    /// providers leave reasoning out of the parts.
    pub(super) fn read(&self) -> Option<Usage> {
        // One count that cannot be believed makes the others doubtful.
        let count = |number: &Option<serde_json::Number>| match number {
            None => Some(None),
            Some(number) => number
                .as_u64()
                .filter(|count| *count <= limits::AI_TOKENS_REPORTED_MAX)
                .map(Some),
        };
        let (prompt, completion) = (count(&self.prompt_tokens)?, count(&self.completion_tokens)?);
        let total = count(&self.total_tokens)?;
        if prompt.is_none() && completion.is_none() && total.is_none() {
            return None;
        }
        let prompt = prompt.unwrap_or(0);
        let rest = total.map_or(0, |total| total.saturating_sub(prompt));
        Some(Usage {
            prompt,
            completion: completion.unwrap_or(0).max(rest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Usage> {
        serde_json::from_str::<Reported>(text).ok()?.read()
    }

    #[test]
    fn parts_and_totals_are_believed_together() {
        assert_eq!(
            read(r#"{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}"#),
            Some(Usage {
                prompt: 5,
                completion: 7
            })
        );
        // Reasoning that only the total knows of.
        assert_eq!(
            read(r#"{"prompt_tokens":5,"completion_tokens":7,"total_tokens":298}"#),
            Some(Usage {
                prompt: 5,
                completion: 293
            })
        );
        assert_eq!(
            read(r#"{"prompt_tokens":5}"#),
            Some(Usage {
                prompt: 5,
                completion: 0
            })
        );
    }

    #[test]
    fn nonsense_is_no_report() {
        for text in [
            "{}",
            r#"{"prompt_tokens":-1}"#,
            r#"{"total_tokens":1e300}"#,
            r#"{"prompt_tokens":null}"#,
            r#"{"prompt_tokens":1e30,"completion_tokens":5}"#,
            r#"{"prompt_tokens":9223372036854775808,"completion_tokens":9223372036854775808,"total_tokens":5}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn cost_is_rounded_up() {
        let usage = Usage {
            prompt: 1,
            completion: 0,
        };
        assert_eq!(usage.cost(1.0, 0.0), 1);
        assert_eq!(
            Usage {
                prompt: 1_000_000,
                completion: 500_000
            }
            .cost(2.0, 4.0),
            4
        );
    }
}
