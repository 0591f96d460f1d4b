//! The environment, read once and checked: the settings of the deployment.
//!
//! A bad value stops the start with the variable, the value and what is allowed; there are no
//! silent defaults. [`ALL`] lists every setting: tests, documents and the template follow it.

use std::fmt;

use ami_warden_core::{
    AllowListError, AllowedCopiers, AllowedGrantees, Guardrails, KeyCheck, OrganizationArn,
    SHARED_TAG_PREFIX, Severity, SharedTagPatterns,
};

use crate::act::{observe::TagScope, reconcile::ImageSettings, rulebook::RulebookSettings};

/// The prefix of directive tags.
pub const TAG_PREFIX: &str = "TAG_PREFIX";
/// Whether `all` may be added.
pub const ALLOW_PUBLIC: &str = "ALLOW_PUBLIC";
/// The grantees that may be added.
pub const ALLOWED_GRANTEES: &str = "ALLOWED_GRANTEES";
/// The parameter that holds the grantees that may be added.
pub const ALLOWED_GRANTEES_PARAMETER: &str = "ALLOWED_GRANTEES_PARAMETER";
/// Your organization, which completes `o-…` and `ou-…`.
pub const ORGANIZATION_ARN: &str = "ORGANIZATION_ARN";
/// The path of groups and rules.
pub const POLICY_PATH: &str = "POLICY_PATH";
/// The accounts that may get the copy permission.
pub const ALLOWED_COPIERS: &str = "ALLOWED_COPIERS";
/// The tags that recipients may be shown.
pub const SHARED_TAGS: &str = "SHARED_TAGS";
/// Whether backups may be shared.
pub const SHARE_BACKUPS: &str = "SHARE_BACKUPS";
/// The highest severity with which an image may be shared.
pub const MAX_FINDING_SEVERITY: &str = "MAX_FINDING_SEVERITY";
/// Whether keys of encrypted snapshots are looked at.
pub const KEY_CHECK: &str = "KEY_CHECK";
/// The most removals for one image in one run.
pub const MAX_REMOVALS: &str = "MAX_REMOVALS";
/// Whether to plan and report only.
pub const DRY_RUN: &str = "DRY_RUN";
/// The tag that carries an image's refusals.
pub const STATUS_TAG: &str = "STATUS_TAG";

/// The prefix of directive tags, unless [`TAG_PREFIX`] says another.
pub const DEFAULT_TAG_PREFIX: &str = "ami-warden:";

/// A setting as documents and the template know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The name of the environment variable.
    pub variable: &'static str,
    /// The parameter of the template.
    pub parameter: &'static str,
    /// Its meaning in one line.
    pub meaning: &'static str,
    /// The values that it takes; empty is always allowed and the same as unset.
    pub allowed: &'static str,
}

/// Every setting, in the order of the documents.
pub const ALL: [Setting; 14] = [
    Setting {
        variable: TAG_PREFIX,
        parameter: "TagPrefix",
        meaning: "prefix of the directive tags; ami-warden: if unset",
        allowed: "at most 64 letters, digits, spaces and + - = . _ : / @",
    },
    Setting {
        variable: ALLOW_PUBLIC,
        parameter: "AllowPublic",
        meaning: "whether images may be made public",
        allowed: "true or false",
    },
    Setting {
        variable: ALLOWED_GRANTEES,
        parameter: "AllowedGrantees",
        meaning: "grantees that may be given access; nobody if unset",
        allowed: "accounts, organizations and organizational units, each with or without -, or *",
    },
    Setting {
        variable: ALLOWED_GRANTEES_PARAMETER,
        parameter: "AllowedGranteesParameter",
        meaning: "name of the parameter that holds ALLOWED_GRANTEES instead",
        allowed: "the name of a parameter outside POLICY_PATH: letters, digits and . _ - /",
    },
    Setting {
        variable: ORGANIZATION_ARN,
        parameter: "OrganizationArn",
        meaning: "your organization, which completes o-… and ou-…",
        allowed: "arn:PARTITION:organizations::ACCOUNT:organization/o-…",
    },
    Setting {
        variable: POLICY_PATH,
        parameter: "PolicyPath",
        meaning: "path of groups and rules in Parameter Store; no policy if unset",
        allowed: "a path with a name behind its /, for example /ami-warden: letters, digits and \
            . _ - /",
    },
    Setting {
        variable: ALLOWED_COPIERS,
        parameter: "AllowedCopiers",
        meaning: "accounts that may be allowed to copy images; nobody if unset",
        allowed: "12-digit account ids, or *",
    },
    Setting {
        variable: SHARED_TAGS,
        parameter: "SharedTags",
        meaning: "keys of the tags that recipients may be shown; none if unset",
        allowed: "keys without ec2:SharedTag/, separated by commas, with * as wildcard",
    },
    Setting {
        variable: SHARE_BACKUPS,
        parameter: "ShareBackups",
        meaning: "whether images that a backup service made may be shared",
        allowed: "true or false",
    },
    Setting {
        variable: MAX_FINDING_SEVERITY,
        parameter: "MaxFindingSeverity",
        meaning: "highest severity with which an image may be shared; not looked at if unset",
        allowed: "none, informational, low, medium or high",
    },
    Setting {
        variable: KEY_CHECK,
        parameter: "KeyCheck",
        meaning: "whether recipients must be able to use the keys; not looked at if unset",
        allowed: "warn or refuse",
    },
    Setting {
        variable: MAX_REMOVALS,
        parameter: "MaxRemovals",
        meaning: "most removals of access for one image in one run; no limit if unset",
        allowed: "a whole number, 0 or more",
    },
    Setting {
        variable: DRY_RUN,
        parameter: "DryRun",
        meaning: "plan and report, change nothing",
        allowed: "true or false",
    },
    Setting {
        variable: STATUS_TAG,
        parameter: "StatusTag",
        meaning: "key of the tag that carries an image's refusals; no such tag if unset",
        allowed: "the key of a tag: at most 127 characters",
    },
];

/// A setting with a value that is not allowed. It displays itself with the names of variables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// The name of the environment variable.
    pub variable: &'static str,
    /// The value as it was given.
    pub value: String,
    /// The fault of the value.
    pub fault: SettingFault,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.named(str::to_owned))
    }
}

impl SettingsError {
    /// The same error, with the name that `name` has for each variable: a command has options.
    #[must_use]
    pub fn named<N: Fn(&str) -> String>(&self, name: N) -> NamedSettingsError<'_, N> {
        NamedSettingsError { error: self, name }
    }
}

/// A [`SettingsError`] that displays itself with other names than those of variables.
#[derive(Debug)]
pub struct NamedSettingsError<'a, N> {
    error: &'a SettingsError,
    name: N,
}

impl<N: Fn(&str) -> String> fmt::Display for NamedSettingsError<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = (self.name)(self.error.variable);
        let value = Shown(&self.error.value);
        write!(f, "{variable}={value} is not allowed: ")?;
        self.error.fault.write(f, &self.name)
    }
}

/// The fault of a value, and what is allowed instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingFault {
    /// It is none of the allowed values; the text lists them.
    Expected(&'static str),
    /// It begins with a prefix that belongs to others, or is one; the text says to whom.
    Reserved(&'static str),
    /// A setting that excludes it is set too.
    SetToo {
        /// The variable of the other setting.
        other: &'static str,
    },
    /// It lies below another setting's value.
    Below {
        /// The variable of the other setting.
        other: &'static str,
        /// The value of that setting.
        value: String,
        /// Why it must lie elsewhere.
        reason: &'static str,
    },
    /// An item of a list is not allowed.
    List(AllowListError),
}

impl From<AllowListError> for SettingFault {
    fn from(error: AllowListError) -> Self {
        Self::List(error)
    }
}

impl SettingFault {
    /// Writes the fault with these names of variables.
    fn write(&self, f: &mut fmt::Formatter<'_>, name: impl Fn(&str) -> String) -> fmt::Result {
        match self {
            Self::Expected(allowed) => write!(f, "expected {allowed}"),
            Self::Reserved(reason) => write!(f, "{reason}; choose another"),
            Self::SetToo { other } => write!(f, "{} is set too; set one of them", name(other)),
            Self::Below {
                other,
                value,
                reason,
            } => {
                let other = name(other);
                write!(
                    f,
                    "it is below {other} ({value}), {reason}; choose one outside it"
                )
            }
            Self::List(error) => write!(f, "{error}"),
        }
    }
}

/// A value in quotes, with everything escaped that cannot be seen, and cut when it is long.
struct Shown<'a>(&'a str);

/// The most characters of a value in an error.
const SHOWN_CHARACTERS_MAX: usize = 100;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.chars().count();
        if length <= SHOWN_CHARACTERS_MAX {
            return write!(f, "{:?}", self.0);
        }
        let start: String = self.0.chars().take(SHOWN_CHARACTERS_MAX).collect();
        write!(f, "{start:?}… ({length} characters)")
    }
}

/// The settings of the deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The prefix of directive tags; never empty.
    pub tag_prefix: String,
    /// Guardrails, and where the policy and the allow-list are kept.
    pub rulebook: RulebookSettings,
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
        let vars = Variables(|name: &str| var(name).filter(|value| !value.is_empty()));
        let tag_prefix = vars.parse(TAG_PREFIX, parse_tag_prefix)?;
        let tag_prefix = tag_prefix.unwrap_or_else(|| DEFAULT_TAG_PREFIX.to_owned());
        let status_tag = vars.parse(STATUS_TAG, |value| parse_status_tag(value, &tag_prefix))?;
        let region = vars
            .get("AWS_REGION")
            .or_else(|| vars.get("AWS_DEFAULT_REGION"));
        Ok(Self {
            rulebook: vars.rulebook()?,
            dry_run: vars.flag(DRY_RUN)?,
            status_tag,
            tag_prefix,
            partition: partition_of(region.as_deref().unwrap_or_default()),
        })
    }

    /// The same settings for the images of this Region.
    #[must_use]
    pub fn in_region(mut self, region: &str) -> Self {
        self.partition = partition_of(region);
        self
    }

    /// The tags that concern the function.
    #[must_use]
    pub fn tag_scope(&self) -> TagScope<'_> {
        TagScope {
            prefix: &self.tag_prefix,
            any_tag: self.rulebook.policy_path.is_some(),
            status_tag: self.status_tag.as_deref(),
        }
    }

    /// The settings by which each image is reconciled.
    #[must_use]
    pub fn image_settings(&self) -> ImageSettings<'_> {
        ImageSettings {
            organization: self.rulebook.organization.as_ref(),
            partition: self.partition,
            tag_prefix: &self.tag_prefix,
            status_tag: self.status_tag.as_deref(),
        }
    }
}

/// The environment; an empty variable is an absent one.
struct Variables<F>(F);

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn parse<T>(
        &self,
        variable: &'static str,
        parse: impl FnOnce(&str) -> Result<T, SettingFault>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.get(variable) else {
            return Ok(None);
        };
        match parse(&value) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(fault) => Err(SettingsError {
                variable,
                value,
                fault,
            }),
        }
    }

    /// `true` or `false`; false if unset.
    fn flag(&self, variable: &'static str) -> Result<bool, SettingsError> {
        let flag = self.parse(variable, |value| {
            value.parse().map_err(|_| expected(variable))
        })?;
        Ok(flag.unwrap_or(false))
    }

    fn rulebook(&self) -> Result<RulebookSettings, SettingsError> {
        let organization = self.parse(ORGANIZATION_ARN, |value| {
            value
                .parse::<OrganizationArn>()
                .map_err(|_| expected(ORGANIZATION_ARN))
        })?;
        let policy_path = self.parse(POLICY_PATH, parse_policy_path)?;
        let allow_list_parameter = self.parse(ALLOWED_GRANTEES_PARAMETER, |value| {
            if self.get(ALLOWED_GRANTEES).is_some() {
                return Err(SettingFault::SetToo {
                    other: ALLOWED_GRANTEES,
                });
            }
            parse_allow_list_parameter(value, policy_path.as_deref())
        })?;
        let guardrails = self.guardrails(organization.as_ref())?;
        Ok(RulebookSettings {
            policy_path,
            allow_list_parameter,
            organization,
            guardrails,
        })
    }

    fn guardrails(
        &self,
        organization: Option<&OrganizationArn>,
    ) -> Result<Guardrails, SettingsError> {
        let allowed_grantees = self
            .parse(ALLOWED_GRANTEES, |list| {
                Ok(AllowedGrantees::parse(list, organization)?)
            })?
            .unwrap_or_default();
        let allowed_copiers = self
            .parse(ALLOWED_COPIERS, |list| Ok(AllowedCopiers::parse(list)?))?
            .unwrap_or_default();
        let shared_tags = self
            .parse(SHARED_TAGS, |list| Ok(SharedTagPatterns::parse(list)?))?
            .unwrap_or_default();
        Ok(Guardrails {
            allow_public: self.flag(ALLOW_PUBLIC)?,
            allowed_grantees,
            allowed_copiers,
            shared_tags,
            share_backups: self.flag(SHARE_BACKUPS)?,
            max_finding_severity: self.parse(MAX_FINDING_SEVERITY, parse_severity)?,
            key_check: self.parse(KEY_CHECK, |value| {
                value.parse::<KeyCheck>().map_err(|_| expected(KEY_CHECK))
            })?,
            max_removals: self.parse(MAX_REMOVALS, parse_count)?,
        })
    }
}

/// The fault of a value that is none of the values in [`ALL`].
fn expected(variable: &str) -> SettingFault {
    let setting = ALL.iter().find(|setting| setting.variable == variable);
    SettingFault::Expected(setting.map_or("another value", |setting| setting.allowed))
}

/// The prefix of tags that AWS alone writes.
const AWS_TAGS: &str = "aws:";

/// The reason why a key or prefix cannot be used, if it begins with a prefix of others.
fn reserved(value: &str) -> Option<SettingFault> {
    if value.starts_with(AWS_TAGS) {
        return Some(SettingFault::Reserved(
            "tags that begin with aws: belong to AWS",
        ));
    }
    if value.starts_with(SHARED_TAG_PREFIX) {
        return Some(SettingFault::Reserved(
            "tags that begin with ec2:SharedTag/ are seen by the accounts that an image is shared \
             with, and on a copy they are another account's words",
        ));
    }
    None
}

/// A prefix must leave room for the names behind it (a tag key has at most 127 characters:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Tag.html>), and must not be one that
/// AWS or another account can set, nor cover one.
fn parse_tag_prefix(value: &str) -> Result<String, SettingFault> {
    let portable = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
    if let Some(fault) = reserved(value) {
        return Err(fault);
    }
    if AWS_TAGS.starts_with(value) || SHARED_TAG_PREFIX.starts_with(value) {
        return Err(SettingFault::Reserved(
            "tags that begin with aws: or ec2:SharedTag/ would pass for directives",
        ));
    }
    if !value.chars().all(portable) || value.chars().count() > 64 {
        return Err(expected(TAG_PREFIX));
    }
    Ok(value.to_owned())
}

fn parse_status_tag(value: &str, tag_prefix: &str) -> Result<String, SettingFault> {
    if value == "Name" {
        return Err(SettingFault::Reserved(
            "the tag Name is the name that people gave the image",
        ));
    }
    if let Some(fault) = reserved(value) {
        return Err(fault);
    }
    if value.starts_with(tag_prefix) {
        return Err(SettingFault::Below {
            other: TAG_PREFIX,
            value: tag_prefix.to_owned(),
            reason: "whose tags are directives",
        });
    }
    if value.chars().count() > 127 {
        return Err(expected(STATUS_TAG));
    }
    Ok(value.to_owned())
}

fn parse_policy_path(value: &str) -> Result<String, SettingFault> {
    let path = value.strip_suffix('/').unwrap_or(value);
    if !path.starts_with('/') || !is_parameter_name(path) {
        return Err(expected(POLICY_PATH));
    }
    Ok(path.to_owned())
}

/// People who edit the policy must not widen the guardrail.
fn parse_allow_list_parameter(
    value: &str,
    policy_path: Option<&str>,
) -> Result<String, SettingFault> {
    if !is_parameter_name(value) {
        return Err(expected(ALLOWED_GRANTEES_PARAMETER));
    }
    if let Some(path) = policy_path
        && let Some(place) = value.strip_prefix(path)
        && (place.is_empty() || place.starts_with('/'))
    {
        return Err(SettingFault::Below {
            other: POLICY_PATH,
            value: path.to_owned(),
            reason: "and people who edit the policy must not widen this guardrail",
        });
    }
    Ok(value.to_owned())
}

/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>
fn is_parameter_name(value: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte);
    value.bytes().all(allowed) && !value.contains("//") && !value.ends_with('/')
}

/// `critical` would allow everything that was scanned, so it is not a limit.
fn parse_severity(value: &str) -> Result<Severity, SettingFault> {
    match value.parse() {
        Ok(Severity::Critical) | Err(_) => Err(expected(MAX_FINDING_SEVERITY)),
        Ok(severity) => Ok(severity),
    }
}

fn parse_count(value: &str) -> Result<usize, SettingFault> {
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(expected(MAX_REMOVALS));
    }
    value.parse().map_err(|_| expected(MAX_REMOVALS))
}

/// The partition of a Region, by its prefix:
/// <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>.
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
    for (prefix, partition) in PREFIXES {
        if region.starts_with(prefix) {
            return partition;
        }
    }
    "aws"
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;

    /// Values of every setting: `accepted` ones, of which the first is not the default; those that
    /// the function takes and the template does not (`function_only`); and `refused` ones, with
    /// words of what is allowed. End-to-end tests, messages and the template's tests read them too.
    fn values() -> BTreeMap<&'static str, Value> {
        let text = include_str!("../../deploy/tests/settings.json");
        let values: BTreeMap<&str, Value> = serde_json::from_str(text).unwrap();
        let mut missing = ALL.map(|setting| setting.variable).to_vec();
        missing.retain(|variable| !values.contains_key(variable));
        assert!(
            missing.is_empty(),
            "deploy/tests/settings.json has no {missing:?}"
        );
        values
    }

    /// The allowed values of one setting.
    fn taken(row: &Value) -> impl Iterator<Item = &str> {
        let lists = ["accepted", "function_only"].map(|key| row[key].as_array());
        let values = lists.into_iter().flatten().flatten();
        values.map(|value| value.as_str().unwrap())
    }

    /// The setting with its first value, which is not the default.
    fn first<'a>(
        values: &'a BTreeMap<&str, Value>,
        variable: &'static str,
    ) -> (&'static str, &'a str) {
        (variable, taken(&values[variable]).next().unwrap())
    }

    fn settings(vars: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_vars(|name| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn error(vars: &[(&str, &str)]) -> String {
        settings(vars).unwrap_err().to_string()
    }

    #[test]
    fn by_default_nothing_may_be_added_and_nothing_else_is_set() {
        let defaults = Settings {
            tag_prefix: "ami-warden:".into(),
            rulebook: RulebookSettings::default(),
            dry_run: false,
            status_tag: None,
            partition: "aws",
        };
        assert_eq!(settings(&[]), Ok(defaults));
        let guardrails = RulebookSettings::default().guardrails;
        assert!(!guardrails.allow_public && !guardrails.share_backups);
    }

    #[test]
    fn an_empty_variable_is_an_absent_one() {
        let empty = ALL.map(|setting| (setting.variable, ""));
        assert_eq!(settings(&empty), settings(&[]));
    }

    #[test]
    fn every_setting_is_read() {
        let values = values();
        let mut vars = vec![("AWS_REGION", "cn-north-1")];
        for setting in ALL {
            // The two allow-lists exclude each other.
            if setting.variable != ALLOWED_GRANTEES_PARAMETER {
                vars.push(first(&values, setting.variable));
            }
        }
        let settings = settings(&vars);
        let (_, organization) = first(&values, ORGANIZATION_ARN);
        let organization: OrganizationArn = organization.parse().unwrap();
        let list = "444455556666, o-exampleorgid";
        let guardrails = Guardrails {
            allow_public: true,
            allowed_grantees: AllowedGrantees::parse(list, Some(&organization)).unwrap(),
            allowed_copiers: AllowedCopiers::parse("222233334444").unwrap(),
            shared_tags: SharedTagPatterns::parse("release, os-*").unwrap(),
            share_backups: true,
            max_finding_severity: Some(Severity::None),
            key_check: Some(KeyCheck::Warn),
            max_removals: Some(0),
        };
        let expected = Settings {
            tag_prefix: "team/".into(),
            rulebook: RulebookSettings {
                policy_path: Some("/ami-warden".into()),
                allow_list_parameter: None,
                organization: Some(organization),
                guardrails,
            },
            dry_run: true,
            status_tag: Some("ami-warden-status".into()),
            partition: "aws-cn",
        };
        assert_eq!(settings, Ok(expected));
    }

    #[test]
    fn each_setting_alone_changes_something() {
        let values = values();
        let mut without_effect = Vec::new();
        for setting in ALL {
            let mut vars = vec![first(&values, ORGANIZATION_ARN)];
            vars.retain(|(name, _)| *name != setting.variable);
            let base = settings(&vars).unwrap();
            vars.push(first(&values, setting.variable));
            if settings(&vars).unwrap() == base {
                without_effect.push(setting.variable);
            }
        }
        assert!(without_effect.is_empty(), "{without_effect:?}");
    }

    #[test]
    fn the_list_of_settings_is_complete_and_its_rows_agree() {
        let listed: BTreeSet<_> = ALL.iter().map(|setting| setting.variable).collect();
        let constants: BTreeSet<_> = include_str!("settings.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \""))
            .filter(|(name, _)| *name != "DEFAULT_TAG_PREFIX")
            .map(|(name, _)| name)
            .collect();
        let values = values();
        let mut wrong = Vec::new();
        for name in listed.symmetric_difference(&constants) {
            wrong.push(format!("{name} is a constant or a row of ALL, not both"));
        }
        for name in values.keys().filter(|name| !listed.contains(*name)) {
            wrong.push(format!(
                "deploy/tests/settings.json has {name}, ALL has not"
            ));
        }
        for setting in ALL {
            let words = setting.variable.split('_');
            let camel: String = words
                .map(|word| word[..1].to_owned() + &word[1..].to_lowercase())
                .collect();
            if setting.parameter != camel
                || setting.meaning.is_empty()
                || setting.allowed.is_empty()
            {
                wrong.push(format!("the row of {camel} in ALL"));
            }
            for key in ["accepted", "refused"] {
                let list = values[setting.variable][key].as_array();
                if list.is_none_or(Vec::is_empty) {
                    let name = setting.variable;
                    wrong.push(format!(
                        "deploy/tests/settings.json has no {key} value of {name}"
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_allowed_value_is_taken_and_the_default_is_as_good_as_none() {
        let values = values();
        let organization = first(&values, ORGANIZATION_ARN);
        let mut wrong = Vec::new();
        for setting in ALL {
            let row = &values[setting.variable];
            for value in taken(row) {
                if let Err(error) = settings(&[(setting.variable, value), organization]) {
                    wrong.push(error.to_string());
                }
            }
            if let Some(default) = row["default"].as_str()
                && settings(&[(setting.variable, default)]) != settings(&[])
            {
                wrong.push(format!(
                    "{default:?} is not the default of {}",
                    setting.variable
                ));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_bad_value_is_an_error_naming_variable_value_and_what_is_allowed() {
        let values = values();
        let mut wrong = Vec::new();
        for setting in ALL {
            let variable = setting.variable;
            for refused in values[variable]["refused"].as_array().unwrap() {
                let [value, allowed] = [0, 1].map(|part| refused[part].as_str().unwrap());
                let named = format!("{variable}={} is not allowed: ", Shown(value));
                match settings(&[(variable, value)]) {
                    Err(error)
                        if error.variable == variable
                            && error.to_string().starts_with(&named)
                            && error.to_string()[named.len()..].contains(allowed) => {}
                    other => wrong.push((variable, value, other)),
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_value_of_a_choice_is_taken() {
        for severity in ["none", "informational", "low", "medium", "high"] {
            let guardrails = settings(&[(MAX_FINDING_SEVERITY, severity)])
                .unwrap()
                .rulebook
                .guardrails;
            assert_eq!(guardrails.max_finding_severity.unwrap().as_str(), severity);
        }
        for (value, check) in [("warn", KeyCheck::Warn), ("refuse", KeyCheck::Refuse)] {
            let guardrails = settings(&[(KEY_CHECK, value)]).unwrap().rulebook.guardrails;
            assert_eq!(guardrails.key_check, Some(check));
        }
        for flag in [ALLOW_PUBLIC, SHARE_BACKUPS, DRY_RUN] {
            assert_eq!(settings(&[(flag, "false")]), settings(&[]));
        }
    }

    #[test]
    fn a_tag_prefix_may_have_64_characters_and_a_status_tag_127_and_no_more() {
        for (variable, most) in [(TAG_PREFIX, 64), (STATUS_TAG, 127)] {
            assert!(
                settings(&[(variable, &"ü".repeat(most))]).is_ok(),
                "{variable}"
            );
            let error = error(&[(variable, &"ü".repeat(most + 1))]);
            assert!(error.contains(&format!("at most {most}")), "{error}");
        }
    }

    #[test]
    fn a_slash_at_the_end_of_the_policy_path_is_taken_away() {
        let settings = settings(&[(POLICY_PATH, "/ami-warden/")]).unwrap();
        let path = settings.rulebook.policy_path;
        assert_eq!(path.as_deref(), Some("/ami-warden"));
    }

    #[test]
    fn the_status_tag_lies_outside_the_prefix_that_is_set() {
        let own_prefix = (TAG_PREFIX, "team/");
        assert!(settings(&[own_prefix, (STATUS_TAG, "ami-warden:status")]).is_ok());
        assert!(error(&[own_prefix, (STATUS_TAG, "team/status")]).contains("TAG_PREFIX (team/)"));
    }

    #[test]
    fn a_value_in_an_error_is_escaped_and_cut() {
        let invisible = error(&[(DRY_RUN, "true\u{a0}\n")]);
        assert!(
            invisible.starts_with(r#"DRY_RUN="true\u{a0}\n" is not allowed"#),
            "{invisible}"
        );
        let long = error(&[(DRY_RUN, &"x".repeat(2000))]);
        let shown = format!(
            "DRY_RUN=\"{}\"… (2000 characters) is not allowed",
            "x".repeat(100)
        );
        assert!(long.starts_with(&shown), "{long}");
    }

    #[test]
    fn the_allow_list_is_kept_in_one_place_and_out_of_reach_of_the_policy() {
        let both = [
            (ALLOWED_GRANTEES, "*"),
            (ALLOWED_GRANTEES_PARAMETER, "/security/amis"),
        ];
        let fault = settings(&both).unwrap_err().fault;
        assert_eq!(
            fault,
            SettingFault::SetToo {
                other: ALLOWED_GRANTEES
            }
        );
        for below in ["/ami-warden/allowed", "/ami-warden", "/ami-warden/a/b"] {
            let error = error(&[
                (POLICY_PATH, "/ami-warden"),
                (ALLOWED_GRANTEES_PARAMETER, below),
            ]);
            assert!(error.contains("below POLICY_PATH (/ami-warden)"), "{error}");
        }
        let beside = "/ami-warden-allowed";
        let settings = settings(&[
            (POLICY_PATH, "/ami-warden"),
            (ALLOWED_GRANTEES_PARAMETER, beside),
        ]);
        let parameter = settings.unwrap().rulebook.allow_list_parameter;
        assert_eq!(parameter.as_deref(), Some(beside));
    }

    #[test]
    fn the_partition_follows_from_the_region() {
        for (region, partition) in [
            ("eu-west-1", "aws"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
            ("", "aws"),
        ] {
            assert_eq!(
                settings(&[("AWS_REGION", region)]).unwrap().partition,
                partition
            );
            assert_eq!(
                settings(&[("AWS_DEFAULT_REGION", region)])
                    .unwrap()
                    .partition,
                partition
            );
            let elsewhere = settings(&[("AWS_REGION", "us-iso-east-1")]).unwrap();
            assert_eq!(elsewhere.in_region(region).partition, partition);
        }
    }
}
