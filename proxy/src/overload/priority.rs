//! What operators say of a route: the tag `tollgate:priority=…` on it, or on its service.

use std::fmt;

use serde::Deserialize;

/// What the tag begins with.
pub const TAG: &str = "tollgate:priority=";

/// How much a route matters when not everything can be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Turned away first.
    Low,
    /// Where nothing is said.
    #[default]
    Normal,
    /// Turned away last.
    High,
    /// Never turned away: health checks, and what must get through.
    Critical,
}

/// A priority that cannot be understood: the tag's value, or none if there are two tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorityError(Option<String>);

impl fmt::Display for PriorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(word) => write!(
                f,
                "`{TAG}{word}` is no priority\nhelp: there are low, normal, high and critical"
            ),
            None => write!(f, "two tags `{TAG}…`: which one holds?"),
        }
    }
}

impl std::error::Error for PriorityError {}

#[derive(Deserialize)]
struct Tagged {
    #[serde(default)]
    tags: Vec<String>,
}

impl Priority {
    /// What the tags of an entity say, in its JSON; `None` if they say nothing.
    ///
    /// # Errors
    /// [`PriorityError`] when that is no priority.
    pub fn said(json: &str) -> Result<Option<Self>, PriorityError> {
        // The route that stands for no route has no entity.
        let tags = serde_json::from_str(json).map_or_else(|_error| Vec::new(), |entity: Tagged| entity.tags);
        let mut words = tags.iter().filter_map(|tag| tag.strip_prefix(TAG));
        let Some(word) = words.next() else { return Ok(None) };
        if words.next().is_some() {
            return Err(PriorityError(None));
        }
        Ok(Some(match word {
            "low" => Self::Low,
            "normal" => Self::Normal,
            "high" => Self::High,
            "critical" => Self::Critical,
            _ => return Err(PriorityError(Some(word.to_owned()))),
        }))
    }
}
