//! Who the process is once it needs no more rights: `--user` and `--group`.

use std::fmt;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// A user, a group and supplementary groups, looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.groups.iter().map(ToString::to_string).collect();
        let (name, uid, gid) = (&self.name, self.uid, self.gid);
        write!(f, "{name} (uid {uid}, gid {gid}, groups {})", groups.join(" "))
    }
}

/// Why the process cannot become somebody else.
#[derive(Debug)]
pub enum IdentityError {
    /// No such user.
    User(String),
    /// No such group.
    Group(String),
    /// A number that is no known user's has no group of its own.
    NoGroup(String),
    /// The system's user database cannot be read.
    Database(nix::Error),
    /// The kernel refuses.
    Refused(&'static str, io::Error),
    /// Rights are left that should be gone.
    Kept(&'static str),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "there is no user {name}"),
            Self::Group(name) => write!(f, "there is no group {name}"),
            Self::NoGroup(number) => {
                write!(
                    f,
                    "there is no user {number}\nhelp: name a group too, with --group"
                )
            }
            Self::Database(error) => write!(f, "the user database cannot be read: {error}"),
            Self::Refused(what, error) => write!(
                f,
                "cannot {what}: {error}\nhelp: only root can become somebody else; start as root or without --user"
            ),
            Self::Kept(what) => write!(f, "{what} did not go away with the user"),
        }
    }
}

impl std::error::Error for IdentityError {}

impl Identity {
    /// Looks up a user and, if it is not to be the user's own, a group; both by name or number.
    ///
    /// # Errors
    /// [`IdentityError`] when there is none.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, IdentityError> {
        let number: Option<u32> = user.parse().ok();
        let known = match number {
            Some(number) => User::from_uid(Uid::from_raw(number)),
            None => User::from_name(user),
        };
        let known = known.map_err(IdentityError::Database)?;
        let (name, uid) = match (&known, number) {
            (Some(known), _) => (known.name.clone(), known.uid),
            (None, Some(number)) => (number.to_string(), Uid::from_raw(number)),
            (None, None) => return Err(IdentityError::User(user.to_owned())),
        };
        let gid = match (group, &known) {
            (Some(group), _) => find_group(group)?,
            (None, Some(known)) => known.gid,
            (None, None) => return Err(IdentityError::NoGroup(user.to_owned())),
        };
        let groups = match (&known, std::ffi::CString::new(name.as_str())) {
            (Some(_), Ok(name)) => getgrouplist(&name, gid).map_err(IdentityError::Database)?,
            _ => vec![gid],
        };
        Ok(Self {
            name,
            uid,
            gid,
            groups,
        })
    }

    /// Becomes this user, without any capability and without a way to get one: executables that would give some do not.
    /// Must be called before other threads are started.
    ///
    /// # Errors
    /// [`IdentityError`]; the process may then be neither the one nor the other, and must end.
    pub fn assume(&self) -> Result<(), IdentityError> {
        let refused = |what| move |error: nix::Error| IdentityError::Refused(what, error.into());
        if !self.is_own() {
            clear_bounding_set()?;
            setgroups(&self.groups).map_err(refused("set the groups"))?;
            setresgid(self.gid, self.gid, self.gid).map_err(refused("set the group"))?;
            setresuid(self.uid, self.uid, self.uid).map_err(refused("set the user"))?;
        }
        give_up_capabilities()?;
        rustix::thread::set_no_new_privs(true)
            .map_err(|error| IdentityError::Refused("set no_new_privs", error.into()))?;
        self.check()
    }

    /// Whether the process is this user already, and has no right to be another.
    fn is_own(&self) -> bool {
        let (uid, gid) = (Uid::current(), Gid::current());
        !uid.is_root() && uid == self.uid && Uid::effective() == self.uid && gid == self.gid
    }

    /// Believes nothing: a process that only thinks it gave its rights up is the worst case.
    fn check(&self) -> Result<(), IdentityError> {
        if !self.uid.is_root() && setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
            return Err(IdentityError::Kept("the way back to root"));
        }
        match rustix::thread::capabilities(None) {
            Ok(sets) if sets.effective.is_empty() && sets.permitted.is_empty() => Ok(()),
            _ => Err(IdentityError::Kept("a capability")),
        }
    }
}

/// The number of a user, by name or number.
///
/// # Errors
/// [`IdentityError`] when there is none of that name.
pub fn user_number(user: &str) -> Result<u32, IdentityError> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    match User::from_name(user).map_err(IdentityError::Database)? {
        Some(known) => Ok(known.uid.as_raw()),
        None => Err(IdentityError::User(user.to_owned())),
    }
}

/// The number of a group, by name or number.
///
/// # Errors
/// [`IdentityError`] when there is none of that name.
pub fn group_number(group: &str) -> Result<u32, IdentityError> {
    find_group(group).map(Gid::as_raw)
}

fn find_group(group: &str) -> Result<Gid, IdentityError> {
    if let Ok(number) = group.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(group).map_err(IdentityError::Database)? {
        Some(known) => Ok(known.gid),
        None => Err(IdentityError::Group(group.to_owned())),
    }
}

/// Without this, a later program of this process could get capabilities from its file.
fn clear_bounding_set() -> Result<(), IdentityError> {
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(IdentityError::Refused("give up capabilities", error.into())),
        }
    }
    Ok(())
}

fn give_up_capabilities() -> Result<(), IdentityError> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::clear_ambient_capability_set()
        .and_then(|()| rustix::thread::set_capabilities(None, none))
        .map_err(|error| IdentityError::Refused("give up capabilities", error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        let root = Identity::find("root", None).unwrap();
        assert_eq!((root.uid.as_raw(), root.gid.as_raw()), (0, 0));
        assert_eq!(Identity::find("0", None).unwrap(), root);
        let stranger = Identity::find("4000000001", Some("4000000002")).unwrap();
        assert_eq!(
            stranger.to_string(),
            "4000000001 (uid 4000000001, gid 4000000002, groups 4000000002)"
        );
        let by_name = Identity::find("4000000001", Some("root")).unwrap();
        assert_eq!(by_name.gid.as_raw(), 0);
    }

    #[test]
    fn who_is_not_there_is_an_error_that_says_what_to_do() {
        let refused = |user, group| Identity::find(user, group).expect_err("refused").to_string();
        assert_eq!(refused("no such user", None), "there is no user no such user");
        assert!(refused("4000000001", None).contains("--group"));
        assert_eq!(
            refused("root", Some("no such group")),
            "there is no group no such group"
        );
    }
}
