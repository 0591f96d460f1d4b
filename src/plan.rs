//! What to do about one image: a value that can be compared, printed, and only then carried out.

use chrono::{DateTime, Utc};

use crate::{
    directive::{Directives, LaunchPermissionWish},
    guardrail::{Guardrails, Refusal},
    image::{Grantee, Image, ImdsSupport, LaunchPermissions, PublicFacts},
};

/// One call of `ModifyImageAttribute`, which changes one attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new description.
    Description {
        /// The description as it is; `None` where unset.
        from: Option<String>,
        /// The description to be.
        to: String,
    },
    /// IMDS support, which goes one way.
    ImdsSupport {
        /// What EC2 says now; `None` where unset.
        from: Option<String>,
        /// What is to be.
        to: ImdsSupport,
    },
    /// Who may launch the image.
    LaunchPermission(LaunchPermissionChange),
}

/// A difference in launch permissions; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPermissionChange {
    /// To be let in; none of them has access.
    pub add: LaunchPermissions,
    /// To lose access; all of them have it.
    pub remove: LaunchPermissions,
    /// Who has access now.
    pub before: LaunchPermissions,
    /// Who has access afterwards.
    pub after: LaunchPermissions,
    /// Whether the removals make sense without the additions. Those of `=` do not: they would lock out those it meant to let in.
    separable: bool,
}

impl LaunchPermissionChange {
    fn new(current: &LaunchPermissions, add: LaunchPermissions, remove: LaunchPermissions, separable: bool) -> Option<Self> {
        if add.is_empty() && remove.is_empty() {
            return None;
        }
        let after = current.union(&add).filter(|grantee| !remove.contains(*grantee)).cloned().collect();
        Some(Self { add, remove, before: current.clone(), after, separable })
    }

    /// What is left when nobody may be let in: the removals, where they make sense alone.
    #[must_use]
    pub fn without_additions(&self) -> Option<Self> {
        let remains = self.separable && !self.remove.is_empty();
        remains.then(|| Self {
            before: self.before.clone(),
            after: self.after.difference(&self.add).cloned().collect(),
            add: LaunchPermissions::new(),
            remove: self.remove.clone(),
            separable: true,
        })
    }
}

/// The changes and refusals for one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are carried out.
    pub changes: Vec<Change>,
    /// In the order of their codes.
    pub refusals: Vec<Refusal>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What has to be read before an image can be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Its launch permissions.
    pub launch_permissions: bool,
    /// What its snapshots and the account say about making it public.
    pub public_facts: bool,
}

impl Needs {
    /// What these directives need to know about this image.
    ///
    /// Whether `all` would be added is judged by the image's own public flag, so that all reads can go out at once.
    #[must_use]
    pub fn of(image: &Image, directives: &Directives) -> Self {
        let wish = directives.launch_permission.as_ref();
        Self {
            launch_permissions: wish.is_some(),
            public_facts: !image.public && wish.is_some_and(|wish| wish.wants(&Grantee::All)),
        }
    }
}

/// What was read of one image.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The image.
    pub image: &'a Image,
    /// Who may launch it. Empty is only right where no directive asks, see [`Needs`].
    pub launch_permissions: &'a LaunchPermissions,
    /// What speaks for or against making it public. Where nothing was read nothing is known, and `all` is refused.
    pub public_facts: &'a PublicFacts,
}

/// Compares what is with what is wanted, within the guardrails.
///
/// Pure: the same arguments give the same plan, and planning again after the plan was carried out gives no changes.
#[must_use]
pub fn plan(observed: Observed<'_>, directives: &Directives, guardrails: &Guardrails, now: DateTime<Utc>) -> Plan {
    let image = observed.image;
    let mut plan = Plan { refusals: directives.refusals.clone(), ..Plan::default() };
    if let Some(to) = directives.description.as_ref().filter(|to| image.description.as_ref() != Some(to)) {
        plan.changes.push(Change::Description { from: image.description.clone(), to: to.clone() });
    }
    if let Some(to) = directives.imds_support.filter(|to| image.imds_support.as_deref() != Some(to.as_str())) {
        plan.changes.push(Change::ImdsSupport { from: image.imds_support.clone(), to });
    }
    if let Some(wish) = &directives.launch_permission
        && let Some(change) = launch_permission(observed, wish, guardrails, now, &mut plan.refusals)
    {
        if change.add.contains(&Grantee::All) {
            plan.notes.push(PUBLIC_IMAGES_ARE_DEPRECATED.to_owned());
        }
        // Taking access away does not wait; letting in waits until the rest is right.
        let place = if change.add.is_empty() { 0 } else { plan.changes.len() };
        plan.changes.insert(place, Change::LaunchPermission(change));
    }
    plan.refusals.sort_by_key(|refusal| refusal.code);
    plan
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-deprecate.html>
const PUBLIC_IMAGES_ARE_DEPRECATED: &str = "EC2 deprecates public images two years after their creation at the latest, and later withdraws public access from those that \
     nobody launches.";

fn launch_permission(
    observed: Observed<'_>,
    wish: &LaunchPermissionWish,
    guardrails: &Guardrails,
    now: DateTime<Utc>,
    refusals: &mut Vec<Refusal>,
) -> Option<LaunchPermissionChange> {
    let Observed { image, launch_permissions: current, public_facts } = observed;
    let owner = Grantee::Account(image.owner.clone());
    let (wanted, unwanted, separable) = match wish {
        LaunchPermissionWish::Exactly(wanted) => (wanted, current.difference(wanted).cloned().collect(), false),
        LaunchPermissionWish::Edit { add, remove } => (add, remove & current, true),
    };
    let mut add: LaunchPermissions = wanted - current;
    let mut remove: LaunchPermissions = unwanted;
    // The owner always has access: an explicit grant to it is neither needed nor worth removing.
    add.remove(&owner);
    remove.remove(&owner);

    let against_additions = guardrails.refuse_additions(image, &add, public_facts, now);
    let against_removals = guardrails.refuse_removals(image, &remove);
    if !separable && (!against_additions.is_empty() || against_removals.is_some()) {
        add.clear();
        remove.clear();
    }
    if !against_additions.is_empty() {
        add.clear();
    }
    if against_removals.is_some() {
        remove.clear();
    }
    refusals.extend(against_additions);
    refusals.extend(against_removals);
    LaunchPermissionChange::new(current, add, remove, separable)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        directive::{Context, DirectiveTags},
        guardrail::{AllowedGrantees, Code},
        image::EbsDevice,
        policy::Policy,
        testing::{cases, facts, grantees, image, now},
    };

    fn allow_all() -> Guardrails {
        Guardrails { allow_public: true, allowed_grantees: AllowedGrantees::Any, max_removals: None }
    }

    fn directives(image: &Image) -> Directives {
        let policy = Policy::default();
        let context = Context { policy: &policy, organization: None, partition: "aws" };
        Directives::of(image, &DirectiveTags::read(&image.tags, "ami-warden:"), &context)
    }

    fn planned(image: &Image, current: &str, guardrails: &Guardrails) -> Plan {
        let current = grantees(current);
        let observed = Observed { image, launch_permissions: &current, public_facts: &facts(&[]) };
        plan(observed, &directives(image), guardrails, now())
    }

    fn share(value: &str) -> Image {
        image().tag("ami-warden:launch-permission", value)
    }

    /// The planned difference as `(add, remove, after)`.
    fn difference(plan: &Plan) -> Option<(String, String, String)> {
        let list = |grantees: &LaunchPermissions| grantees.iter().map(Grantee::as_str).collect::<Vec<_>>().join(" ");
        plan.changes.iter().find_map(|change| match change {
            Change::LaunchPermission(change) => Some((list(&change.add), list(&change.remove), list(&change.after))),
            _ => None,
        })
    }

    fn some(add: &str, remove: &str, after: &str) -> Option<(String, String, String)> {
        Some((add.into(), remove.into(), after.into()))
    }

    fn codes(plan: &Plan) -> Vec<Code> {
        plan.refusals.iter().map(|refusal| refusal.code).collect()
    }

    #[test]
    fn whoever_is_not_named_keeps_access() {
        let plan = planned(&share("444455556666 -222233334444"), "222233334444 333344445555", &allow_all());
        assert_eq!(difference(&plan), some("444455556666", "222233334444", "333344445555 444455556666"));
    }

    #[test]
    fn an_equals_sign_removes_everyone_else() {
        let plan = planned(&share("= 444455556666"), "222233334444 all", &allow_all());
        assert_eq!(difference(&plan), some("444455556666", "222233334444 all", "444455556666"));
        assert_eq!(difference(&planned(&share("="), "222233334444 all", &allow_all())), some("", "222233334444 all", ""));
    }

    #[test]
    fn minus_all_makes_private_and_leaves_accounts_alone() {
        assert_eq!(difference(&planned(&share("-all"), "222233334444 all", &allow_all())), some("", "all", "222233334444"));
    }

    #[test]
    fn nothing_is_planned_where_all_is_as_wanted() {
        let image = share("444455556666 -all").tag("ami-warden:description", "d").tag("ami-warden:imds-support", "v2.0");
        let image = Image { description: Some("d".into()), imds_support: Some("v2.0".into()), ..image };
        assert_eq!(planned(&image, "444455556666", &Guardrails::default()), Plan::default());
    }

    #[test]
    fn the_owner_is_neither_added_nor_removed() {
        assert_eq!(planned(&share("111122223333"), "", &allow_all()), Plan::default());
        assert_eq!(
            difference(&planned(&share("="), "111122223333 444455556666", &allow_all())),
            some("", "444455556666", "111122223333")
        );
    }

    #[test]
    fn one_refused_addition_refuses_all_additions_and_no_removal() {
        let allowed = AllowedGrantees::parse("444455556666", None).unwrap();
        let guardrails = Guardrails { allowed_grantees: allowed, ..Guardrails::default() };
        let plan = planned(&share("444455556666 222233334444 -333344445555"), "333344445555", &guardrails);
        assert_eq!(difference(&plan), some("", "333344445555", ""));
        assert_eq!(codes(&plan), [Code::GranteeNotAllowed]);
    }

    #[test]
    fn an_exact_list_is_refused_whole() {
        let plan = planned(&share("= 444455556666"), "333344445555", &Guardrails::default());
        assert_eq!((difference(&plan), codes(&plan)), (None, vec![Code::GranteeNotAllowed]));
        let guardrails = Guardrails { max_removals: Some(0), ..allow_all() };
        let plan = planned(&share("= 444455556666"), "333344445555", &guardrails);
        assert_eq!((difference(&plan), codes(&plan)), (None, vec![Code::TooManyRemovals]));
    }

    #[test]
    fn too_many_removals_refuse_the_removals_and_no_addition() {
        let guardrails = Guardrails { max_removals: Some(1), ..allow_all() };
        let plan = planned(&share("444455556666 -222233334444 -all"), "222233334444 all", &guardrails);
        assert_eq!(difference(&plan), some("444455556666", "", "222233334444 444455556666 all"));
        assert_eq!(codes(&plan), [Code::TooManyRemovals]);
        let only_one_effective = planned(&share("-222233334444 -all"), "all", &guardrails);
        assert_eq!(difference(&only_one_effective), some("", "all", ""));
    }

    #[test]
    fn a_grantee_with_access_needs_no_permission_to_keep_it() {
        let plan = planned(&share("= 444455556666 all"), "444455556666 all 222233334444", &Guardrails::default());
        assert_eq!(difference(&plan), some("", "222233334444", "444455556666 all"));
        assert_eq!(codes(&plan), []);
    }

    #[test]
    fn removals_go_first_and_grants_last() {
        let tagged = |value: &str| share(value).tag("ami-warden:description", "d").tag("ami-warden:imds-support", "v2.0");
        let kinds = |plan: &Plan| {
            let kind = |change: &Change| match change {
                Change::Description { .. } => "description",
                Change::ImdsSupport { .. } => "imdsSupport",
                Change::LaunchPermission(_) => "launchPermission",
            };
            plan.changes.iter().map(kind).collect::<Vec<_>>()
        };
        let removal = planned(&tagged("-all"), "all", &allow_all());
        assert_eq!(kinds(&removal), ["launchPermission", "description", "imdsSupport"]);
        let grant = planned(&tagged("444455556666 -all"), "all", &allow_all());
        assert_eq!(kinds(&grant), ["description", "imdsSupport", "launchPermission"]);
    }

    #[test]
    fn what_is_left_without_additions_are_the_removals_unless_an_exact_list_would_lock_out_those_it_lets_in() {
        let left = |value: &str, current: &str| {
            let plan = planned(&share(value), current, &allow_all());
            let [Change::LaunchPermission(change)] = plan.changes.as_slice() else { panic!("{plan:?}") };
            let left = change.without_additions()?;
            assert_eq!((&left.add, &left.before), (&grantees(""), &grantees(current)));
            Some((left.remove, left.after))
        };
        let current = "222233334444 333344445555";
        assert_eq!(left("444455556666 -222233334444", current), Some((grantees("222233334444"), grantees("333344445555"))));
        assert_eq!(left("444455556666", current), None, "nothing is removed");
        assert_eq!(left("= 444455556666", current), None, "those who were to come in would be locked out");
    }

    #[test]
    fn making_public_carries_the_note_about_deprecation() {
        assert!(planned(&share("all"), "", &allow_all()).notes[0].contains("two years"));
        assert!(planned(&share("all"), "all", &allow_all()).notes.is_empty());
    }

    #[test]
    fn public_is_refused_where_nothing_was_read_about_the_snapshots() {
        let image = share("all").device("/dev/xvda", Some("snap-1"), Some(false));
        let nothing = PublicFacts::default();
        let observed = Observed { image: &image, launch_permissions: &grantees(""), public_facts: &nothing };
        let plan = plan(observed, &directives(&image), &allow_all(), now());
        assert_eq!((difference(&plan), codes(&plan)), (None, vec![Code::EncryptionUnknown]));
    }

    #[test]
    fn refusals_are_in_the_order_of_their_codes() {
        let image = share("all").tag("ami-warden:descripton", "x").tag("ami-warden:imds-support", "v3");
        let plan = planned(&image, "", &Guardrails::default());
        assert_eq!(codes(&plan), [Code::PublicNotAllowed, Code::InvalidDirective, Code::InvalidDirective]);
    }

    #[test]
    fn public_facts_are_needed_only_where_all_would_be_added() {
        let needs = |image: &Image| Needs::of(image, &directives(image));
        assert_eq!(needs(&image().tag("ami-warden:description", "d")), Needs { launch_permissions: false, public_facts: false });
        assert_eq!(needs(&share("-all")), Needs { launch_permissions: true, public_facts: false });
        assert_eq!(needs(&share("all")), Needs { launch_permissions: true, public_facts: true });
        assert_eq!(needs(&Image { public: true, ..share("all") }), Needs { launch_permissions: true, public_facts: false });
    }

    const NAMES: [&str; 6] = [
        "all",
        "111122223333",
        "222233334444",
        "333344445555",
        "arn:aws:organizations::444455556666:organization/o-exampleorgid",
        "arn:aws:organizations::444455556666:ou/o-exampleorgid/ou-ab12-cdef3456",
    ];

    prop_compose! {
        fn any_value()(exactly in prop::bool::weighted(0.3), items in prop::collection::vec((prop::bool::ANY, 0..NAMES.len()), 0..6))
            -> String {
            let items: Vec<String> = items
                .into_iter()
                .map(|(removes, name)| format!("{}{}", if removes && !exactly { "-" } else { "" }, NAMES[name]))
                .collect();
            format!("{}{}", if exactly { "=" } else { "" }, items.join(" "))
        }
    }

    prop_compose! {
        fn any_device()(index in 0..4_u8, has_snapshot in prop::bool::ANY, encrypted in any::<Option<bool>>()) -> EbsDevice {
            EbsDevice { device: format!("/dev/sd{index}"), snapshot: has_snapshot.then(|| format!("snap-{index}")), encrypted }
        }
    }

    prop_compose! {
        fn any_image()(
            value in any_value(),
            description in prop::option::of("[a-c]{0,2}"),
            imds in prop::option::of(Just("v2.0".to_owned())),
            wanted_description in "[a-c]{0,2}",
            devices in prop::collection::vec(any_device(), 0..4),
            product_codes in prop::collection::vec(Just("code".to_owned()), 0..2),
            deprecated in prop::bool::weighted(0.2),
            typo in prop::bool::weighted(0.2),
        ) -> Image {
            let mut tagged = share(&value)
                .tag("ami-warden:description", &wanted_description)
                .tag("ami-warden:imds-support", "v2.0");
            if typo {
                tagged = tagged.tag("ami-warden:typo", "");
            }
            Image { description, imds_support: imds, devices, product_codes, deprecation_time: deprecated.then(now), ..tagged }
        }
    }

    fn any_guardrails() -> impl Strategy<Value = Guardrails> {
        let allowed = prop_oneof![
            Just(AllowedGrantees::Any),
            prop::collection::btree_set(1..NAMES.len(), 0..NAMES.len())
                .prop_map(|names| AllowedGrantees::These(names.into_iter().map(|name| NAMES[name].parse().unwrap()).collect())),
        ];
        (prop::bool::ANY, allowed, prop::option::of(0..3_usize)).prop_map(|(allow_public, allowed_grantees, max_removals)| {
            Guardrails { allow_public, allowed_grantees, max_removals }
        })
    }

    fn any_facts() -> impl Strategy<Value = PublicFacts> {
        let snapshots =
            prop::collection::btree_map((0..4_u8).prop_map(|index| format!("snap-{index}")), any::<Option<bool>>(), 0..5);
        (snapshots, any::<Option<bool>>())
            .prop_map(|(snapshots, block_public_access)| PublicFacts { snapshots, block_public_access })
    }

    fn any_permissions() -> impl Strategy<Value = LaunchPermissions> {
        prop::collection::btree_set(0..NAMES.len(), 0..NAMES.len())
            .prop_map(|names| names.into_iter().map(|name| NAMES[name].parse().unwrap()).collect())
    }

    /// Carries the plan out, as EC2 would.
    fn apply(image: &mut Image, permissions: &mut LaunchPermissions, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Description { to, .. } => image.description = Some(to.clone()),
                Change::ImdsSupport { to, .. } => image.imds_support = Some(to.as_str().to_owned()),
                Change::LaunchPermission(change) => {
                    *permissions = &(&*permissions | &change.add) - &change.remove;
                    assert_eq!(*permissions, change.after);
                }
            }
        }
        image.public = permissions.contains(&Grantee::All);
    }

    /// Whether EC2 or a guardrail forbids making this image public; written from the contract, not from the code.
    fn public_is_forbidden(image: &Image, guardrails: &Guardrails, facts: &PublicFacts) -> bool {
        let encrypted_or_unknown = image.devices.iter().any(|device| match &device.snapshot {
            None => device.encrypted == Some(true),
            Some(snapshot) => match facts.snapshots.get(snapshot) {
                None | Some(Some(true)) => true,
                Some(Some(false)) => device.encrypted == Some(true),
                Some(None) => device.encrypted != Some(false),
            },
        });
        !guardrails.allow_public
            || encrypted_or_unknown
            || !image.product_codes.is_empty()
            || facts.block_public_access == Some(true)
            || image.deprecation_time.is_some_and(|time| time <= now())
    }

    proptest! {
        #![proptest_config(cases(2000))]

        #[test]
        fn for_any_image_tags_and_settings_the_plan_keeps_its_promises(
            image in any_image(),
            permissions in any_permissions(),
            guardrails in any_guardrails(),
            facts in any_facts(),
        ) {
            let mut image = Image { public: permissions.contains(&Grantee::All), ..image };
            let mut permissions = permissions;
            let tags: BTreeMap<_, _> = image.tags.clone();
            let wanted = directives(&image);
            let before = permissions.clone();
            let observed = Observed { image: &image, launch_permissions: &permissions, public_facts: &facts };
            let first = plan(observed, &wanted, &guardrails, now());

            for change in &first.changes {
                let Change::LaunchPermission(change) = change else { continue };
                prop_assert!(!(change.add.contains(&Grantee::All) && public_is_forbidden(&image, &guardrails, &facts)));
                if let AllowedGrantees::These(allowed) = &guardrails.allowed_grantees {
                    prop_assert!(change.add.iter().all(|grantee| *grantee == Grantee::All || allowed.contains(grantee)));
                }
                prop_assert!(change.add.is_disjoint(&change.remove));
                prop_assert!(change.add.is_disjoint(&before) && change.remove.is_subset(&before));
                prop_assert!(!(change.add.is_empty() && change.remove.is_empty()));
                prop_assert!(guardrails.max_removals.is_none_or(|most| change.remove.len() <= most));
                prop_assert!(!change.add.contains(&"111122223333".parse().unwrap()));
                if let Some(rest) = change.without_additions() {
                    prop_assert!(rest.add.is_empty() && rest.remove == change.remove);
                    prop_assert_eq!(&rest.after, &(&before - &change.remove));
                }
            }

            apply(&mut image, &mut permissions, &first.changes);
            prop_assert_eq!(&image.tags, &tags);
            let observed = Observed { image: &image, launch_permissions: &permissions, public_facts: &facts };
            let second = plan(observed, &wanted, &guardrails, now());
            // What could not be removed in one run because of MAX_REMOVALS stays refused; nothing else is left to do.
            prop_assert_eq!(second.changes, vec![]);
        }
    }
}
