//! The environment, read once and checked: what was set at deployment.
//!
//! A bad value stops the start with the variable, the value and what is allowed; there are no silent defaults.

use crate::{
    guardrail::{AllowedGrantees, Guardrails},
    image::OrganizationArn,
};

/// The prefix of directive tags.
pub const TAG_PREFIX: &str = "TAG_PREFIX";
/// Whether `all` may be added.
pub const ALLOW_PUBLIC: &str = "ALLOW_PUBLIC";
/// Who else may be added.
pub const ALLOWED_GRANTEES: &str = "ALLOWED_GRANTEES";
/// Where the list of who may be added is kept instead.
pub const ALLOWED_GRANTEES_PARAMETER: &str = "ALLOWED_GRANTEES_PARAMETER";
/// The own organization.
pub const ORGANIZATION_ARN: &str = "ORGANIZATION_ARN";
/// Where groups and rules are kept.
pub const POLICY_PATH: &str = "POLICY_PATH";
/// The most removals for one image in one run.
pub const MAX_REMOVALS: &str = "MAX_REMOVALS";
/// Plan and report only.
pub const DRY_RUN: &str = "DRY_RUN";
/// The tag that carries an image's refusals.
pub const STATUS_TAG: &str = "STATUS_TAG";

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}=\"{value}\" is not allowed: {allowed}")]
pub struct SettingsError {
    variable: &'static str,
    value: String,
    allowed: String,
}

/// What was set at deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The prefix of directive tags; never empty.
    pub tag_prefix: String,
    /// What no tag, rule or request can lift.
    pub guardrails: Guardrails,
    /// The parameter that holds the allowed grantees, where the variable does not.
    pub allowed_grantees_parameter: Option<String>,
    /// The own organization, which completes short forms.
    pub organization: Option<OrganizationArn>,
    /// The Parameter Store path of groups and rules, without a trailing `/`.
    pub policy_path: Option<String>,
    /// Plan and report, change nothing.
    pub dry_run: bool,
    /// The key of the tag that carries an image's refusals.
    pub status_tag: Option<String>,
    /// The partition of this Region and so of its images: `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: &'static str,
}

impl Settings {
    /// Reads the settings from variables, given by name. An empty one counts as absent.
    ///
    /// # Errors
    /// The first variable with a value that is not allowed.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let var = |name| var(name).filter(|value| !value.is_empty());
        let read = |name| Variable { name, value: var(name) };

        let organization = read(ORGANIZATION_ARN).parse(|value| {
            value.parse::<OrganizationArn>().map_err(|()| "expected arn:PARTITION:organizations::ACCOUNT:organization/o-…".into())
        })?;
        let tag_prefix = read(TAG_PREFIX).parse(check_tag_prefix)?.unwrap_or_else(|| "ami-warden:".into());
        let policy_path = read(POLICY_PATH).parse(check_policy_path)?;
        let allowed_grantees = read(ALLOWED_GRANTEES);
        let allowed_grantees_parameter =
            read(ALLOWED_GRANTEES_PARAMETER).parse(|value| match (&allowed_grantees.value, &policy_path) {
                (Some(_), _) => Err(format!("{ALLOWED_GRANTEES} is set too; set one of them")),
                (None, Some(path)) if value == *path || value.starts_with(&format!("{path}/")) => {
                    Err(format!("it is below {POLICY_PATH} ({path}); those who edit the policy must not widen the guardrail, so choose a name outside it"))
                }
                _ => check_parameter_name(value),
            })?;

        Ok(Self {
            guardrails: Guardrails {
                allow_public: read(ALLOW_PUBLIC).parse(parse_flag)?.unwrap_or(false),
                allowed_grantees: allowed_grantees
                    .parse(|value| AllowedGrantees::parse(value, organization.as_ref()))?
                    .unwrap_or_default(),
                max_removals: read(MAX_REMOVALS)
                    .parse(|value| value.parse().map_err(|_| "expected a whole number, 0 or more".into()))?,
            },
            allowed_grantees_parameter,
            organization,
            policy_path,
            dry_run: read(DRY_RUN).parse(parse_flag)?.unwrap_or(false),
            status_tag: read(STATUS_TAG).parse(|value| check_status_tag(value, &tag_prefix))?,
            tag_prefix,
            partition: partition_of(var("AWS_REGION").or_else(|| var("AWS_DEFAULT_REGION")).as_deref().unwrap_or_default()),
        })
    }
}

struct Variable {
    name: &'static str,
    value: Option<String>,
}

impl Variable {
    fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, SettingsError> {
        let Some(value) = &self.value else { return Ok(None) };
        match parse(value) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(allowed) => Err(SettingsError { variable: self.name, value: value.clone(), allowed }),
        }
    }
}

fn parse_flag(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "expected true or false".into())
}

/// A prefix must leave room for the names behind it (a tag key has at most 127 characters: `CreateTags`), and must not be one that
/// AWS or another account can set.
fn check_tag_prefix(value: &str) -> Result<String, String> {
    let portable = |character: char| character.is_alphanumeric() || " +-=._:/@".contains(character);
    if value.starts_with("aws:") {
        Err("tags that begin with aws: belong to AWS; choose another prefix".into())
    } else if value.starts_with("ec2:SharedTag/") {
        Err("tags that begin with ec2:SharedTag/ come from other accounts; choose another prefix".into())
    } else if !value.chars().all(portable) || value.chars().count() > 64 {
        Err("expected at most 64 letters, digits, spaces and + - = . _ : / @".into())
    } else {
        Ok(value.to_owned())
    }
}

fn check_policy_path(value: &str) -> Result<String, String> {
    let path = value.strip_suffix('/').unwrap_or(value);
    if path.is_empty() {
        return Err("expected a path of its own, for example /ami-warden; the root holds everything".into());
    }
    check_parameter_name(path).and_then(|path| {
        if path.starts_with('/') { Ok(path) } else { Err("expected a path that begins with /, for example /ami-warden".into()) }
    })
}

fn check_parameter_name(value: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    if value.bytes().all(allowed) && !value.contains("//") {
        Ok(value.to_owned())
    } else {
        Err("expected the name of a parameter: letters, digits and . _ - /".into())
    }
}

fn check_status_tag(value: &str, tag_prefix: &str) -> Result<String, String> {
    if value.starts_with(tag_prefix) {
        Err(format!("it begins with {TAG_PREFIX} ({tag_prefix}), whose tags are directives; choose a key outside it"))
    } else if value.starts_with("aws:") || value.chars().count() > 127 {
        Err("expected the key of a tag: at most 127 characters, not beginning with aws:".into())
    } else {
        Ok(value.to_owned())
    }
}

/// The partition a Region is in, by its prefix: <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>.
fn partition_of(region: &str) -> &'static str {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("eu-isoe-", "aws-iso-e"),
        ("eusc-", "aws-eusc"),
    ];
    PREFIXES.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::grantees;

    fn settings(vars: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_vars(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn by_default_nothing_may_be_added_and_nothing_else_is_set() {
        let defaults = settings(&[]).unwrap();
        assert_eq!(defaults.tag_prefix, "ami-warden:");
        assert_eq!(defaults.guardrails, Guardrails::default());
        assert!(!defaults.guardrails.allow_public && !defaults.dry_run);
        assert_eq!((defaults.policy_path, defaults.status_tag, defaults.partition), (None, None, "aws"));
    }

    #[test]
    fn an_empty_variable_is_an_absent_one() {
        let names = [
            TAG_PREFIX,
            ALLOW_PUBLIC,
            ALLOWED_GRANTEES,
            ALLOWED_GRANTEES_PARAMETER,
            ORGANIZATION_ARN,
            POLICY_PATH,
            MAX_REMOVALS,
            DRY_RUN,
            STATUS_TAG,
        ];
        assert_eq!(settings(&names.map(|name| (name, ""))), settings(&[]));
    }

    #[test]
    fn every_setting_is_read() {
        let organization = "arn:aws-cn:organizations::111122223333:organization/o-exampleorgid";
        let settings = settings(&[
            (TAG_PREFIX, "team/"),
            (ALLOW_PUBLIC, "true"),
            (ALLOWED_GRANTEES, "444455556666, o-exampleorgid"),
            (ORGANIZATION_ARN, organization),
            (POLICY_PATH, "/ami-warden/"),
            (MAX_REMOVALS, "0"),
            (DRY_RUN, "true"),
            (STATUS_TAG, "ami-warden-status"),
            ("AWS_REGION", "cn-north-1"),
        ])
        .unwrap();
        assert_eq!(settings.tag_prefix, "team/");
        assert_eq!(
            settings.guardrails,
            Guardrails {
                allow_public: true,
                allowed_grantees: AllowedGrantees::These(grantees(&format!("444455556666 {organization}"))),
                max_removals: Some(0)
            }
        );
        assert_eq!(settings.organization, Some(organization.parse().unwrap()));
        assert_eq!(settings.policy_path.as_deref(), Some("/ami-warden"));
        assert_eq!((settings.dry_run, settings.status_tag.as_deref()), (true, Some("ami-warden-status")));
        assert_eq!(settings.partition, "aws-cn");
    }

    #[test]
    fn a_bad_value_is_an_error_naming_variable_value_and_what_is_allowed() {
        for (variable, value, allowed) in [
            (TAG_PREFIX, "aws:x:", "belong to AWS"),
            (TAG_PREFIX, "ec2:SharedTag/", "other accounts"),
            (TAG_PREFIX, "x*", "letters"),
            (ALLOW_PUBLIC, "yes", "true or false"),
            (ALLOW_PUBLIC, "True", "true or false"),
            (ALLOWED_GRANTEES, "all", "ALLOW_PUBLIC"),
            (ALLOWED_GRANTEES, "@team", "groups"),
            (ALLOWED_GRANTEES, "4444", "12 digits"),
            (ALLOWED_GRANTEES, "o-exampleorgid", "ORGANIZATION_ARN"),
            (ORGANIZATION_ARN, "o-exampleorgid", "arn:PARTITION"),
            (POLICY_PATH, "ami-warden", "begins with /"),
            (POLICY_PATH, "/", "root"),
            (POLICY_PATH, "/a//b", "letters"),
            (MAX_REMOVALS, "-1", "0 or more"),
            (MAX_REMOVALS, "many", "0 or more"),
            (DRY_RUN, "1", "true or false"),
            (STATUS_TAG, "ami-warden:status", "outside"),
            (STATUS_TAG, "aws:status", "127"),
            (ALLOWED_GRANTEES_PARAMETER, "a b", "letters"),
        ] {
            let error = settings(&[(variable, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable}=\"{value}\"")) && error.contains(allowed), "{error}");
        }
    }

    #[test]
    fn a_tag_prefix_may_have_64_characters_and_a_status_tag_127_and_no_more() {
        for (variable, most) in [(TAG_PREFIX, 64), (STATUS_TAG, 127)] {
            assert!(settings(&[(variable, &"ü".repeat(most))]).is_ok(), "{variable}");
            let error = settings(&[(variable, &"ü".repeat(most + 1))]).unwrap_err().to_string();
            assert!(error.contains(&format!("at most {most}")), "{error}");
        }
    }

    #[test]
    fn the_allow_list_is_kept_in_one_place_and_out_of_reach_of_the_policy() {
        let both = [(ALLOWED_GRANTEES, "*"), (ALLOWED_GRANTEES_PARAMETER, "/security/amis")];
        assert!(settings(&both).unwrap_err().to_string().contains(ALLOWED_GRANTEES));
        for below in ["/ami-warden/allowed", "/ami-warden"] {
            let error = settings(&[(POLICY_PATH, "/ami-warden"), (ALLOWED_GRANTEES_PARAMETER, below)]).unwrap_err();
            assert!(error.to_string().contains(POLICY_PATH));
        }
        let beside = [(POLICY_PATH, "/ami-warden"), (ALLOWED_GRANTEES_PARAMETER, "/ami-warden-allowed")];
        assert_eq!(settings(&beside).unwrap().allowed_grantees_parameter.as_deref(), Some("/ami-warden-allowed"));
    }

    #[test]
    fn the_partition_follows_from_the_region() {
        for (region, partition) in
            [("eu-west-1", "aws"), ("us-gov-west-1", "aws-us-gov"), ("us-isob-east-1", "aws-iso-b"), ("", "aws")]
        {
            assert_eq!(settings(&[("AWS_REGION", region)]).unwrap().partition, partition);
        }
    }
}
