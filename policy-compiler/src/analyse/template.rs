//! Value templates, rendered for a request as the gateway does: literals, look-ups in what the client sent, and `or`.

use policy::Policy;
use policy::route::Match;
use policy::table::{Part, PartKind, Rows};

use super::{Request, body};

/// The text that the pieces come to; None if a look-up without an alternative finds nothing.
pub(super) fn render(
    policy: &Policy,
    parts: Rows<Part>,
    request: &Request,
    matched: Option<Match>,
) -> Option<String> {
    let mut out = String::new();
    let mut found = true;
    for part in policy.rows(parts) {
        match (part.otherwise, found) {
            (true, true) => continue,
            (false, false) => return None,
            _ => {}
        }
        let text = look_up(policy, &part, request, matched);
        found = text.is_some();
        out.push_str(&text.unwrap_or_default());
    }
    found.then_some(out)
}

fn look_up(policy: &Policy, part: &Part, request: &Request, matched: Option<Match>) -> Option<String> {
    let text = policy.text(part.text);
    match part.kind {
        PartKind::Literal => Some(text.to_owned()),
        PartKind::Header => header(request, text),
        PartKind::Query => body::first_argument(request.query.as_bytes(), text),
        PartKind::Capture => capture(policy, request, matched?, &|found| found.name(text)),
        PartKind::CaptureIndex => {
            let group = part.index as usize;
            capture(policy, request, matched?, &|found| found.get(group))
        }
    }
}

/// Lua names cannot hold `-`: `headers.x_user_id` is also `X-User-Id`.
fn header(request: &Request, name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let dashed = |known: &str| known.replace('-', "_") == name.replace('-', "_");
    let spelled = request.values(&name).next();
    let value = spelled.or_else(|| {
        let mut headers = request.headers.iter();
        headers
            .find(|(known, _)| dashed(known))
            .map(|(_, value)| &**value)
    });
    value.map(str::to_owned)
}

/// A group of the route's regex. One that took no part gives nothing.
fn capture(
    policy: &Policy,
    request: &Request,
    matched: Match,
    group: &dyn for<'c> Fn(&'c regex::Captures<'c>) -> Option<regex::Match<'c>>,
) -> Option<String> {
    let regex = policy.get(policy.get(matched.subroute).regex?);
    let patterns: Vec<&str> = policy
        .rows(regex.patterns)
        .map(|name| policy.text(name.text))
        .collect();
    let regex = regex::Regex::new(&format!("^(?:{})", patterns.join("|"))).ok()?;
    let found = regex.captures(&request.path)?;
    let text = group(&found)?.as_str();
    (!text.is_empty()).then(|| text.to_owned())
}
