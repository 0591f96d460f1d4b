//! Groups of grantees from Parameter Store: `POLICY_PATH/groups/NAME`.
//!
//! A group may name other groups. All lists are read once, so the work grows with their lengths
//! whatever names what, and nothing here recurses: a chain of 5,000 groups is a list, not a stack.

use std::collections::BTreeMap;

use super::grantee_name::{BadName, Completed, GranteeName, Incomplete};
use crate::model::grantee::{Grantee, LaunchPermissions, OrganizationArn};

/// The names in a cycle that a message shows.
const NAMES_IN_MESSAGE_MAX: usize = 8;

/// The items of a list in Parameter Store: separated by commas and any ASCII white space, line ends
/// included.
pub(crate) fn stored_items(list: &str) -> impl Iterator<Item = &str> {
    let separates = |c: char| c == ',' || c == '\u{b}' || c.is_ascii_whitespace();
    list.split(separates).filter(|item| !item.is_empty())
}

/// A value in Parameter Store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredValue {
    /// A `String` or a `StringList`.
    Text(String),
    /// A `SecureString`, whose value is never read.
    Secure,
}

/// All groups, looked up by their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Groups {
    /// `POLICY_PATH`; empty without a policy.
    path: String,
    places: BTreeMap<String, usize>,
    list: Vec<Group>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Group {
    name: String,
    grantees: Vec<Grantee>,
    /// The places of the groups it names.
    inner: Vec<usize>,
    fault: Option<GroupFault>,
}

/// A group that refuses the directives that use it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GroupError {
    /// There is no policy at all.
    #[error(
        "\"@{0}\" names a group, and no policy is set up (POLICY_PATH); name the grantees \
         themselves"
    )]
    NoPolicy(String),
    /// There is no such group.
    #[error(
        "the group \"@{name}\" does not exist: there is no parameter {path}/groups/{name}; create \
         it, or correct the name"
    )]
    Unknown {
        /// The group's name, without the `@`.
        name: String,
        /// The path of the policy, from `POLICY_PATH`.
        path: String,
    },
    /// The group exists, and its list is broken.
    #[error("the group \"@{name}\" ({path}/groups/{name}) is broken: {fault}")]
    Broken {
        /// The group's name, without the `@`.
        name: String,
        /// The path of the policy, from `POLICY_PATH`.
        path: String,
        /// The fault that breaks the group.
        fault: GroupFault,
    },
}

/// Why a group is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GroupFault {
    /// An item does not parse.
    #[error(transparent)]
    Item(#[from] BadName),
    /// A short form that nothing completes.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
    /// It names a group that does not exist.
    #[error("\"@{0}\" does not exist; create it, or take it out")]
    UnknownGroup(String),
    /// It names a broken group.
    #[error("it uses \"@{0}\", which is broken; correct that one first")]
    BrokenGroup(String),
    /// It is part of a cycle.
    #[error("it contains itself ({0}); take one of them out of the other")]
    Cycle(String),
    /// The list has no item: under `=` it would take access from everybody.
    #[error("the list is empty; name at least one grantee, or delete the group")]
    Empty,
    /// The list is stored as a secret.
    #[error("it is a SecureString, which ami-warden does not read; store it as a StringList")]
    Secure,
}

impl Groups {
    /// Reads all lists, by the names of their groups.
    #[must_use]
    pub(crate) fn read(
        path: &str,
        lists: BTreeMap<String, StoredValue>,
        organization: Option<&OrganizationArn>,
    ) -> Self {
        let places: BTreeMap<String, usize> = lists
            .keys()
            .enumerate()
            .map(|(place, name)| (name.clone(), place))
            .collect();
        let list = lists
            .into_iter()
            .map(|(name, list)| Group::read(name, &list, &places, organization))
            .collect();
        let mut all = Self {
            path: path.to_owned(),
            places,
            list,
        };
        all.find_broken();
        all
    }

    /// The grantees of a group, those of the groups it names included.
    ///
    /// # Errors
    /// The group does not exist, or it or one that it uses is broken.
    pub(crate) fn expand(&self, name: &str) -> Result<LaunchPermissions, GroupError> {
        let Some(start) = self.places.get(name) else {
            let name = name.to_owned();
            return Err(if self.path.is_empty() {
                GroupError::NoPolicy(name)
            } else {
                GroupError::Unknown {
                    name,
                    path: self.path.clone(),
                }
            });
        };
        let mut grantees = LaunchPermissions::new();
        let mut seen = vec![false; self.list.len()];
        let mut todo = vec![*start];
        while let Some(place) = todo.pop() {
            let (Some(group), Some(seen)) = (self.list.get(place), seen.get_mut(place)) else {
                continue;
            };
            if std::mem::replace(seen, true) {
                continue;
            }
            if let Some(fault) = &group.fault {
                return Err(GroupError::Broken {
                    name: group.name.clone(),
                    path: self.path.clone(),
                    fault: fault.clone(),
                });
            }
            grantees.extend(group.grantees.iter().cloned());
            todo.extend(&group.inner);
        }
        Ok(grantees)
    }

    /// Marks the groups that use a broken group, and those in a cycle.
    ///
    /// Kahn's algorithm, from the groups that name no other: each group is visited once, and each
    /// mention counted once. Groups that are never reached are in a cycle or use one.
    fn find_broken(&mut self) {
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); self.list.len()];
        let mut open: Vec<usize> = Vec::new();
        let mut ready = Vec::new();
        for (place, group) in self.list.iter().enumerate() {
            for inner in &group.inner {
                if let Some(users) = users.get_mut(*inner) {
                    users.push(place);
                }
            }
            open.push(group.inner.len());
            if group.inner.is_empty() {
                ready.push(place);
            }
        }
        while let Some(place) = ready.pop() {
            let broken = self.list.get(place).and_then(Group::blame);
            let Some(users) = users.get(place) else {
                continue;
            };
            for user in users {
                if let (Some(group), Some(fault)) = (self.list.get_mut(*user), &broken) {
                    group.fault.get_or_insert_with(|| fault.clone());
                }
                if let Some(open) = open.get_mut(*user) {
                    *open -= 1;
                    if *open == 0 {
                        ready.push(*user);
                    }
                }
            }
        }
        self.mark_cycles(&open);
    }

    /// Marks every group that still waits for another: it is in a cycle, or uses one.
    fn mark_cycles(&mut self, open: &[usize]) {
        let waits = |place: usize| open.get(place).is_some_and(|open| *open > 0);
        for start in 0..self.list.len() {
            if !waits(start) {
                continue;
            }
            // Follow the first waiting group of each; the walk ends in a cycle or at a marked
            // group.
            let mut walk: Vec<usize> = Vec::new();
            let mut steps = BTreeMap::new();
            let mut next = Some(start);
            let mut cycle_begins = None;
            while let Some(place) = next {
                if let Some(step) = steps.get(&place) {
                    cycle_begins = Some(*step);
                    break;
                }
                steps.insert(place, walk.len());
                walk.push(place);
                next = match self.list.get(place) {
                    Some(group) if group.fault.is_none() => {
                        group.inner.iter().copied().find(|inner| waits(*inner))
                    }
                    _ => None,
                };
            }
            self.mark_walk(&walk, cycle_begins);
        }
    }

    fn mark_walk(&mut self, walk: &[usize], cycle_begins: Option<usize>) {
        let begins = cycle_begins.unwrap_or(walk.len());
        let cycle: Vec<usize> = walk.iter().copied().skip(begins).collect();
        let name = |groups: &[Group], place: usize| {
            groups
                .get(place)
                .map(|group| group.name.clone())
                .unwrap_or_default()
        };
        for (step, place) in walk.iter().enumerate() {
            let fault = if step >= begins {
                let from = step - begins;
                let shown = cycle.len().min(NAMES_IN_MESSAGE_MAX);
                let around = cycle.iter().cycle().skip(from).take(shown);
                let names: Vec<String> = around.map(|place| name(&self.list, *place)).collect();
                GroupFault::Cycle(path_of(&names, shown < cycle.len()))
            } else if let Some(used) = walk.get(step + 1) {
                GroupFault::BrokenGroup(name(&self.list, *used))
            } else {
                continue;
            };
            if let Some(group) = self.list.get_mut(*place) {
                group.fault.get_or_insert(fault);
            }
        }
    }
}

/// `@a → @b → @a`, shortened in the middle.
fn path_of(names: &[String], shortened: bool) -> String {
    let mut steps: Vec<String> = names.iter().map(|name| format!("@{name}")).collect();
    let first = steps.first().cloned();
    if shortened {
        steps.push("…".to_owned());
    }
    steps.extend(first);
    steps.join(" → ")
}

impl Group {
    fn read(
        name: String,
        list: &StoredValue,
        places: &BTreeMap<String, usize>,
        organization: Option<&OrganizationArn>,
    ) -> Self {
        let mut group = Self {
            name,
            ..Self::default()
        };
        group.fault = match list {
            StoredValue::Secure => Some(GroupFault::Secure),
            StoredValue::Text(list) => group.read_items(list, places, organization).err(),
        };
        if group.fault.is_some() {
            group.inner.clear();
        }
        group
    }

    fn read_items(
        &mut self,
        list: &str,
        places: &BTreeMap<String, usize>,
        organization: Option<&OrganizationArn>,
    ) -> Result<(), GroupFault> {
        for item in stored_items(list) {
            match item.parse::<GranteeName>()?.complete(organization)? {
                Completed::Grantee(grantee) => self.grantees.push(grantee),
                Completed::Group(name) => match places.get(&name) {
                    Some(place) => self.inner.push(*place),
                    None => return Err(GroupFault::UnknownGroup(name)),
                },
            }
        }
        if self.grantees.is_empty() && self.inner.is_empty() {
            return Err(GroupFault::Empty);
        }
        Ok(())
    }

    /// The fault of a group that uses this one, if this one is broken.
    fn blame(&self) -> Option<GroupFault> {
        self.fault
            .as_ref()
            .map(|_| GroupFault::BrokenGroup(self.name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::grantees;

    fn groups(lists: &[(&str, &str)]) -> Groups {
        let lists = lists
            .iter()
            .map(|(name, list)| ((*name).to_owned(), StoredValue::Text((*list).to_owned())));
        Groups::read("/ami-warden", lists.collect(), None)
    }

    fn expand(lists: &[(&str, &str)], name: &str) -> Result<LaunchPermissions, String> {
        groups(lists)
            .expand(name)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_group_names_grantees_and_other_groups() {
        let lists = [
            ("all-teams", "@team-a,@team-b"),
            ("team-a", "444455556666"),
            ("team-b", "@team-a,222233334444"),
        ];
        assert_eq!(
            expand(&lists, "all-teams"),
            Ok(grantees("444455556666 222233334444"))
        );
    }

    #[test]
    fn lists_are_separated_by_commas_and_any_ascii_white_space() {
        let list = "444455556666\r\n222233334444\t333344445555,\n 111122223333\n\u{b}\u{c}";
        let all = "444455556666 222233334444 333344445555 111122223333";
        assert_eq!(expand(&[("team", list)], "team"), Ok(grantees(all)));
    }

    #[test]
    fn a_character_that_cannot_be_seen_is_shown_escaped() {
        for (list, shown) in [
            ("444455556666\u{a0}", "\"444455556666\\u{a0}\""),
            ("\u{200b}444455556666", "\"\\u{200b}444455556666\""),
            ("44445555\u{0}6666", "\\0"),
        ] {
            let message = expand(&[("team", list)], "team").unwrap_err();
            assert!(message.contains(shown), "{message}");
            assert!(
                !message.contains(|c: char| c.is_control() || c == '\u{a0}'),
                "{message:?}"
            );
        }
    }

    #[test]
    fn a_list_of_nothing_is_a_broken_group() {
        for list in ["", " , ", "\n"] {
            assert!(
                expand(&[("team", list)], "team")
                    .unwrap_err()
                    .contains("is empty")
            );
        }
        let uses = [("team", "@none, 444455556666"), ("none", ",")];
        assert!(expand(&uses, "team").unwrap_err().contains("\"@none\""));
    }

    #[test]
    fn a_secure_string_is_named_and_its_value_is_not_shown() {
        let lists = BTreeMap::from([("team".to_owned(), StoredValue::Secure)]);
        let error = Groups::read("/p", lists, None)
            .expand("team")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/p/groups/team") && error.contains("SecureString"),
            "{error}"
        );
    }

    #[test]
    fn a_cycle_breaks_the_groups_in_it_and_the_groups_that_use_them() {
        let lists = [
            ("a", "@b"),
            ("b", "@c"),
            ("c", "@a"),
            ("good", "444455556666"),
            ("self", "@self"),
            ("user", "@good,@a"),
            ("users-user", "@user"),
        ];
        assert!(
            expand(&lists, "a")
                .unwrap_err()
                .contains("(@a → @b → @c → @a)")
        );
        assert!(
            expand(&lists, "b")
                .unwrap_err()
                .contains("(@b → @c → @a → @b)")
        );
        assert!(
            expand(&lists, "c")
                .unwrap_err()
                .contains("(@c → @a → @b → @c)")
        );
        assert!(
            expand(&lists, "self")
                .unwrap_err()
                .contains("(@self → @self)")
        );
        assert!(
            expand(&lists, "user")
                .unwrap_err()
                .contains("it uses \"@a\"")
        );
        assert!(
            expand(&lists, "users-user")
                .unwrap_err()
                .contains("it uses \"@user\"")
        );
        assert_eq!(expand(&lists, "good"), Ok(grantees("444455556666")));
    }

    #[test]
    fn a_cycle_is_told_from_each_of_its_groups_whoever_leads_into_it() {
        let lists = [
            ("before", "@leads"),
            ("leads", "@x"),
            ("x", "@y"),
            ("y", "@z"),
            ("z", "@x"),
        ];
        for (name, words) in [
            ("x", "(@x → @y → @z → @x)"),
            ("y", "(@y → @z → @x → @y)"),
            ("z", "(@z → @x → @y → @z)"),
            ("leads", "it uses \"@x\""),
            ("before", "it uses \"@leads\""),
        ] {
            let message = expand(&lists, name).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_long_cycle_is_shortened_in_the_middle() {
        let cycle = |length: usize| {
            let lists: Vec<(String, String)> = (0..length)
                .map(|n| (format!("g{n}"), format!("@g{}", (n + 1) % length)))
                .collect();
            let borrowed: Vec<(&str, &str)> = lists
                .iter()
                .map(|(name, list)| (name.as_str(), list.as_str()))
                .collect();
            expand(&borrowed, "g1").unwrap_err()
        };
        let whole = "(@g1 → @g2 → @g3 → @g4 → @g5 → @g6 → @g7 → @g0 → @g1)";
        assert!(cycle(8).contains(whole), "{}", cycle(8));
        let shortened = "(@g1 → @g2 → @g3 → @g4 → @g5 → @g6 → @g7 → @g8 → … → @g1)";
        assert!(cycle(10).contains(shortened), "{}", cycle(10));
    }

    #[test]
    fn a_group_that_uses_a_broken_one_is_told_by_its_own_name() {
        let lists = [("bad", "bob"), ("good", "444455556666,@bad")];
        let message = expand(&lists, "good").unwrap_err();
        assert!(
            message.contains("/ami-warden/groups/good") && message.contains("it uses \"@bad\""),
            "{message}"
        );
    }

    #[test]
    fn an_unknown_or_broken_group_is_named() {
        let lists = [
            ("bad", "444455556666,bob"),
            ("gap", "@gone"),
            ("minus", "-444455556666"),
            ("outer", "@bad"),
        ];
        for (name, words) in [
            ("missing", "/ami-warden/groups/missing"),
            ("bad", "\"bob\""),
            ("outer", "\"@bad\""),
            ("minus", "\"-444455556666\""),
            ("gap", "\"@gone\""),
        ] {
            let message = expand(&lists, name).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
        let error = Groups::default().expand("team").unwrap_err().to_string();
        assert!(error.contains("POLICY_PATH"));
    }

    /// Counting paths instead of groups, this test would not end in a lifetime.
    #[test]
    fn work_grows_with_the_length_of_the_lists_and_not_with_the_paths_through_them() {
        let mut lists: Vec<(String, String)> = (0..60)
            .map(|n| (format!("g{n:02}"), format!("@g{0:02},@g{0:02}", n + 1)))
            .collect();
        lists.push(("g60".into(), "444455556666".into()));
        let borrowed: Vec<(&str, &str)> = lists
            .iter()
            .map(|(name, list)| (name.as_str(), list.as_str()))
            .collect();
        assert_eq!(expand(&borrowed, "g00"), Ok(grantees("444455556666")));
    }

    /// A recursion would overflow the 2 MB stack of a test's thread.
    #[test]
    fn a_chain_of_ten_thousand_groups_and_a_cycle_of_as_many_are_only_long() {
        for (last, broken) in [("444455556666", false), ("@g0", true)] {
            let mut lists: Vec<(String, String)> = (0..9_999)
                .map(|n| (format!("g{n}"), format!("@g{}", n + 1)))
                .collect();
            lists.push(("g9999".into(), last.into()));
            let borrowed: Vec<(&str, &str)> = lists
                .iter()
                .map(|(name, list)| (name.as_str(), list.as_str()))
                .collect();
            let all = groups(&borrowed);
            for name in ["g0", "g5000", "g9999"] {
                let expanded = all.expand(name);
                assert_eq!(expanded.is_err(), broken);
                assert!(
                    expanded
                        .err()
                        .is_none_or(|error| error.to_string().len() < 300)
                );
            }
        }
    }
}
