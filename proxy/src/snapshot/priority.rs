//! The priority of each route: its own tag, else its service's, else the default.

use policy::Policy;
use policy::table::Route;

use super::SnapshotError;
use crate::overload::Priority;

/// By route row.
pub(super) fn priorities(policy: &Policy) -> Result<Vec<Priority>, SnapshotError> {
    let of_route = |row: Route| {
        let said = |kind: &str, name: &str, json: &str| {
            let of = |error| SnapshotError::Priority(format!("{kind} {name}"), error);
            Priority::said(json).map_err(of)
        };
        if let Some(own) = said("route", policy.text(row.name), policy.text(row.json))? {
            return Ok(own);
        }
        let Some(service) = row.service.map(|id| policy.get(id)) else {
            return Ok(Priority::default());
        };
        let of_service = said("service", policy.text(service.name), policy.text(service.json))?;
        Ok(of_service.unwrap_or_default())
    };
    policy.rows(policy.all::<Route>()).map(of_route).collect()
}
