//! The policy and the allow-list as Parameter Store holds them at the moment.
//!
//! They are read again as soon as they are too old for a write to rest on, so a change counts in
//! the middle of a sweep too.

use std::{cell::Cell, rc::Rc, time::Duration};

use ami_warden_core::{
    AllowListError, AllowedGrantees, Guardrails, OrganizationArn, Policy, PolicyError, PolicyFault,
    Rule, StoredValue,
};
use chrono::{DateTime, Utc};
use tokio::{sync::Mutex, time::Instant};

use super::{call_error::CallError, ports::Parameters, retry::Attempts};

/// The age of a rulebook at the end of its reading, however long that took.
const NEW_RULEBOOK_AGE_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
pub enum RuleSource<'a> {
    /// No rules and no groups: a request leaves both aside.
    Ignored,
    /// The rules in Parameter Store.
    Stored,
    /// The groups in Parameter Store, and these rules instead of those there.
    Replaced(&'a [Rule]),
}

/// The settings that say what is read, and what holds without reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RulebookSettings {
    /// The Parameter Store path of groups and rules, without a trailing `/`.
    pub policy_path: Option<String>,
    /// The parameter that holds the allowed grantees, where the guardrails do not.
    pub allow_list_parameter: Option<String>,
    /// The organization that completes the short forms `o-…` and `ou-…`.
    pub organization: Option<OrganizationArn>,
    /// The limits set at deployment.
    pub guardrails: Guardrails,
}

/// The policy and the guardrails at one moment.
#[derive(Debug)]
pub struct Rulebook {
    pub policy: Policy,
    /// The limits that no tag, rule or request can lift, the allow-list of the parameter included.
    pub guardrails: Guardrails,
    /// The newest change that the parameters show; `None` if no parameter was read, or none has a
    /// date.
    pub newest_change: Option<DateTime<Utc>>,
    /// When it was read, as its age counts: before the first request, but at most two seconds
    /// before the last answer.
    pub read_at: Instant,
    /// The names of the parameters below the path that are neither groups nor rules.
    pub unused: Vec<String>,
}

impl Rulebook {
    /// Whether both say the same, whenever they were read.
    #[must_use]
    pub fn same_rules(&self, other: &Self) -> bool {
        self.policy == other.policy && self.guardrails == other.guardrails
    }
}

/// The newest read: when it began, and its result.
#[derive(Debug)]
struct Read {
    began_at: Instant,
    result: Result<Rc<Rulebook>, RulebookError>,
}

/// A parameter, or a path of parameters, that stops everything.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{parameter}: {fault}")]
pub struct RulebookError {
    pub parameter: String,
    /// The reason why it cannot be used.
    pub fault: RulebookFault,
}

/// The fault of a parameter.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RulebookFault {
    /// Rules that do not parse, or a secret.
    #[error(transparent)]
    Policy(#[from] PolicyFault),
    /// A list of allowed grantees that does not parse.
    #[error(transparent)]
    AllowList(#[from] AllowListError),
    /// The call that reads it did not succeed.
    #[error(
        "it cannot be read ({0}); check that it exists and that the function's role may read it"
    )]
    Unreadable(#[from] CallError),
}

impl RulebookError {
    /// This fault of a parameter.
    pub fn new(parameter: &str, fault: impl Into<RulebookFault>) -> Self {
        Self {
            parameter: parameter.to_owned(),
            fault: fault.into(),
        }
    }
}

impl From<PolicyError> for RulebookError {
    fn from(PolicyError { parameter, fault }: PolicyError) -> Self {
        Self::new(&parameter, fault)
    }
}

/// Reads rulebooks for one invocation and keeps the newest.
#[derive(Debug)]
pub struct Rulebooks<'a, P> {
    parameters: &'a P,
    settings: &'a RulebookSettings,
    rules: RuleSource<'a>,
    /// Reads that came to an end, good or bad.
    reads: Cell<u64>,
    /// The newest read. A caller holds the lock while it reads, so the others wait for its answer.
    newest: Mutex<Option<Read>>,
}

impl<'a, P: Parameters> Rulebooks<'a, P> {
    /// No request is sent before the first question.
    #[must_use]
    pub fn new(parameters: &'a P, settings: &'a RulebookSettings, rules: RuleSource<'a>) -> Self {
        Self {
            parameters,
            settings,
            rules,
            reads: Cell::new(0),
            newest: Mutex::new(None),
        }
    }

    /// Whether anything is read that could change during the invocation.
    #[must_use]
    pub fn can_change(&self) -> bool {
        self.policy_path().is_some() || self.settings.allow_list_parameter.is_some()
    }

    fn policy_path(&self) -> Option<&str> {
        match self.rules {
            RuleSource::Ignored => None,
            RuleSource::Stored | RuleSource::Replaced(_) => self.settings.policy_path.as_deref(),
        }
    }

    /// A rulebook that is younger than `max_age`. Many callers at once make one read; its error is
    /// theirs too.
    ///
    /// Without a policy path and an allow-list parameter there is nothing to read, so no request is
    /// sent, however often it is asked for.
    ///
    /// # Errors
    /// A parameter cannot be read, or the rules or the allow-list do not parse: nothing is done on
    /// half a policy.
    pub async fn fresh(
        &self,
        max_age: Duration,
        attempts: &Attempts<'_>,
    ) -> Result<Rc<Rulebook>, RulebookError> {
        let asked_at = Instant::now();
        let reads_before = self.reads.get();
        let mut newest = self.newest.lock().await;
        let ended_meanwhile = self.reads.get() != reads_before;
        if let Some(Read { began_at, result }) = &*newest {
            match result {
                Ok(rulebook) => {
                    let began_meanwhile = ended_meanwhile && *began_at >= asked_at;
                    if began_meanwhile || rulebook.read_at.elapsed() < max_age {
                        return Ok(rulebook.clone());
                    }
                }
                // The read for which this caller waited.
                Err(error) if ended_meanwhile => return Err(error.clone()),
                Err(_) => {}
            }
        }
        let began_at = Instant::now();
        let result = self.read(attempts).await.map(Rc::new);
        self.reads.set(self.reads.get() + 1);
        *newest = Some(Read {
            began_at,
            result: result.clone(),
        });
        result
    }

    /// Reads the policy and the allow-list at the same time.
    async fn read(&self, attempts: &Attempts<'_>) -> Result<Rulebook, RulebookError> {
        let read_at = Instant::now();
        let (policy, allow_list) =
            tokio::join!(self.read_policy(attempts), self.read_allow_list(attempts));
        let policy = policy?;
        let mut guardrails = self.settings.guardrails.clone();
        let mut newest_change = policy.newest_change;
        if let Some((allowed_grantees, modified)) = allow_list? {
            guardrails.allowed_grantees = allowed_grantees;
            newest_change = newest_change.max(modified);
        }
        // A policy of many pages that takes long to read would never be young enough to write by.
        let read_at = read_at.max(Instant::now() - NEW_RULEBOOK_AGE_MAX);
        Ok(Rulebook {
            policy: policy.policy,
            guardrails,
            newest_change,
            read_at,
            unused: policy.unused,
        })
    }

    async fn read_policy(&self, attempts: &Attempts<'_>) -> Result<ReadPolicy, RulebookError> {
        let path = self.policy_path();
        let stored = match path {
            None => Vec::new(),
            Some(path) => {
                let page = async |token: Option<&str>| self.parameters.below(path, token).await;
                let pages = attempts.pages("GetParametersByPath", page);
                pages
                    .await
                    .map_err(|error| RulebookError::new(path, error))?
            }
        };
        let path = path.unwrap_or_default();
        let newest_change = stored
            .iter()
            .filter_map(|parameter| parameter.modified)
            .max();
        let organization = self.settings.organization.as_ref();
        let (policy, unused) = match self.rules {
            RuleSource::Ignored | RuleSource::Stored => Policy::parse(path, stored, organization)?,
            RuleSource::Replaced(rules) => {
                Policy::with_rules(path, stored, organization, rules.to_vec())
            }
        };
        Ok(ReadPolicy {
            policy,
            unused,
            newest_change,
        })
    }

    /// The list of the parameter and its last change; `None` if the settings name no parameter.
    async fn read_allow_list(
        &self,
        attempts: &Attempts<'_>,
    ) -> Result<Option<(AllowedGrantees, Option<DateTime<Utc>>)>, RulebookError> {
        let Some(name) = self.settings.allow_list_parameter.as_deref() else {
            return Ok(None);
        };
        let parameter = attempts
            .call("GetParameter", async || {
                self.parameters.parameter(name).await
            })
            .await
            .map_err(|error| RulebookError::new(name, error))?;
        let StoredValue::Text(list) = &parameter.value else {
            return Err(RulebookError::new(name, PolicyFault::Secure));
        };
        let allowed = AllowedGrantees::parse(list, self.settings.organization.as_ref())
            .map_err(|error| RulebookError::new(name, error))?;
        Ok(Some((allowed, parameter.modified)))
    }
}

struct ReadPolicy {
    policy: Policy,
    unused: Vec<String>,
    newest_change: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::advance;

    use ami_warden_core::parse_rules;

    use super::*;
    use crate::act::{retry::Retry, script::Store};

    const ALLOW_LIST: &str = "/security/amis";
    const MINUTE: Duration = Duration::from_secs(60);

    /// A Parameter Store whose answers take a second.
    fn slow_store(parameters: &[(&str, &str)]) -> Store {
        let store = Store::of(parameters);
        store.takes.set(Duration::from_secs(1));
        store
    }

    fn settings(policy_path: Option<&str>, allow_list: Option<&str>) -> RulebookSettings {
        RulebookSettings {
            policy_path: policy_path.map(str::to_owned),
            allow_list_parameter: allow_list.map(str::to_owned),
            ..RulebookSettings::default()
        }
    }

    fn both() -> RulebookSettings {
        settings(Some("/p"), Some(ALLOW_LIST))
    }

    fn retry() -> Retry {
        Retry::until(Instant::now() + 10 * MINUTE)
    }

    /// One read with these settings.
    async fn read(
        store: &Store,
        settings: &RulebookSettings,
        rules: RuleSource<'_>,
    ) -> Result<Rc<Rulebook>, RulebookError> {
        Rulebooks::new(&store, settings, rules)
            .fresh(MINUTE, &retry().attempts())
            .await
    }

    const RULES: &str = r#"[{"Match": {}, "Description": "d"}]"#;

    #[tokio::test(start_paused = true)]
    async fn a_page_that_fails_is_read_again_by_itself() {
        let names = ["a", "b", "c", "d", "e", "f", "g"].map(|name| format!("/p/groups/{name}"));
        let groups = names.each_ref().map(|name| (name.as_str(), "444455556666"));
        let store = slow_store(&groups);
        store.fault_every.set(3);
        let rulebook = read(&store, &settings(Some("/p"), None), RuleSource::Stored)
            .await
            .unwrap();
        let pages = ["/p first", "/p 2", "/p 4", "/p 4", "/p 6"];
        assert_eq!(
            store.requests(),
            pages,
            "the third request fails, and its page alone comes again"
        );
        let whole = slow_store(&groups);
        let same = read(&whole, &settings(Some("/p"), None), RuleSource::Stored)
            .await
            .unwrap();
        assert!(
            rulebook.same_rules(&same),
            "no page is lost and none is taken twice"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_policy_and_the_allow_list_are_read_at_the_same_time() {
        let store = slow_store(&[("/p/rules", RULES), (ALLOW_LIST, "*"), ("/p/other", "")]);
        let start = Instant::now();
        let rulebook = read(&store, &both(), RuleSource::Stored).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert_eq!(
            rulebook.read_at, start,
            "the moment before the first request"
        );
        assert!(rulebook.policy.has_rules());
        assert_eq!(
            rulebook.guardrails.allowed_grantees,
            AllowedGrantees::parse("*", None).unwrap()
        );
        assert_eq!(rulebook.unused, ["/p/other"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limits_of_the_deployment_hold_whatever_the_parameter_says() {
        let mut settings = both();
        settings.guardrails.max_removals = Some(3);
        settings.guardrails.allowed_grantees = AllowedGrantees::parse("*", None).unwrap();
        let store = slow_store(&[(ALLOW_LIST, "444455556666")]);
        let rulebook = read(&store, &settings, RuleSource::Stored).await.unwrap();
        assert_eq!(rulebook.guardrails.max_removals, Some(3));
        let listed = AllowedGrantees::parse("444455556666", None).unwrap();
        assert_eq!(rulebook.guardrails.allowed_grantees, listed);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_change_is_that_of_any_parameter_that_was_read() {
        let at = |second| DateTime::from_timestamp(second, 0);
        let policy_newer = [
            (ALLOW_LIST, "*"),
            ("/p/groups/a", "444455556666"),
            ("/p/x", ""),
        ];
        let rulebook = read(&slow_store(&policy_newer), &both(), RuleSource::Stored)
            .await
            .unwrap();
        assert_eq!(
            rulebook.newest_change,
            at(2),
            "an unused parameter too: its change has an event"
        );
        let list_newer = [("/p/rules", "[]"), (ALLOW_LIST, "*"), ("/elsewhere", "")];
        let rulebook = read(&slow_store(&list_newer), &both(), RuleSource::Stored)
            .await
            .unwrap();
        assert_eq!(rulebook.newest_change, at(1));
        let nothing = read(&Store::default(), &settings(None, None), RuleSource::Stored).await;
        assert_eq!(nothing.unwrap().newest_change, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rulebook_is_kept_until_it_is_too_old() {
        let store = &slow_store(&[("/p/rules", "[]")]);
        let (settings, retry) = (settings(Some("/p"), None), retry());
        let rulebooks = Rulebooks::new(&store, &settings, RuleSource::Stored);
        let max_age = Duration::from_secs(5);
        let first = rulebooks.fresh(max_age, &retry.attempts()).await.unwrap();
        store.put("/p/rules", StoredValue::Text(RULES.into()));
        advance(Duration::from_millis(3_999)).await; // its own second counts
        let same = rulebooks.fresh(max_age, &retry.attempts()).await.unwrap();
        assert!(Rc::ptr_eq(&first, &same) && store.requests().len() == 1);
        advance(Duration::from_millis(1)).await;
        let second = rulebooks.fresh(max_age, &retry.attempts()).await.unwrap();
        assert!(second.policy.has_rules() && !second.same_rules(&first));
        assert_eq!(store.requests().len(), 1);
        rulebooks
            .fresh(Duration::ZERO, &retry.attempts())
            .await
            .unwrap();
        assert_eq!(store.requests().len(), 1, "without any age it is read anew");
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_at_once_make_one_read_and_share_its_answer() {
        let store = &slow_store(&[("/p/rules", RULES), (ALLOW_LIST, "*")]);
        let (settings, retry) = (both(), retry());
        for max_age in [MINUTE, Duration::ZERO] {
            let rulebooks = Rulebooks::new(&store, &settings, RuleSource::Stored);
            let attempts = retry.attempts();
            let all = join_all((0..100).map(|_| rulebooks.fresh(max_age, &attempts))).await;
            assert_eq!(store.requests(), ["/p first", ALLOW_LIST], "{max_age:?}");
            let first = all[0].as_ref().unwrap();
            assert!(
                all.iter()
                    .all(|one| Rc::ptr_eq(one.as_ref().unwrap(), first))
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_callers_at_once_share_an_error_and_the_next_one_reads_again() {
        let store = &slow_store(&[("/p/rules", "[{}]")]);
        let (settings, retry) = (settings(Some("/p"), None), retry());
        let rulebooks = Rulebooks::new(&store, &settings, RuleSource::Stored);
        let attempts = retry.attempts();
        let all = join_all((0..100).map(|_| rulebooks.fresh(MINUTE, &attempts))).await;
        assert_eq!(store.requests().len(), 1);
        assert!(
            all.iter()
                .all(|one| one.as_ref().unwrap_err().parameter == "/p/rules")
        );
        store.put("/p/rules", StoredValue::Text(RULES.into()));
        assert!(
            rulebooks
                .fresh(MINUTE, &attempts)
                .await
                .unwrap()
                .policy
                .has_rules()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_leaves_the_read_to_the_next() {
        let store = &slow_store(&[("/p/rules", RULES)]);
        let (settings, retry) = (settings(Some("/p"), None), retry());
        let rulebooks = Rulebooks::new(&store, &settings, RuleSource::Stored);
        let attempts = retry.attempts();
        let impatient = tokio::time::timeout(
            Duration::from_millis(500),
            rulebooks.fresh(MINUTE, &attempts),
        );
        let (gave_up, patient) = tokio::join!(impatient, rulebooks.fresh(MINUTE, &attempts));
        assert!(gave_up.is_err() && patient.unwrap().policy.has_rules());
        assert_eq!(store.requests().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_policy_and_a_parameter_nothing_is_ever_read() {
        let store = &Store::default();
        let (settings, retry) = (settings(None, None), retry());
        let rulebooks = Rulebooks::new(&store, &settings, RuleSource::Stored);
        for _ in 0..3 {
            let rulebook = rulebooks.fresh(MINUTE, &retry.attempts()).await.unwrap();
            assert_eq!(rulebook.read_at, Instant::now(), "it never grows old");
            assert_eq!(rulebook.policy, Policy::default());
            advance(2 * MINUTE).await;
        }
        assert!(store.requests().is_empty());
        assert_eq!(retry.calls(), 0);
    }

    #[test]
    fn only_what_is_read_can_change() {
        let store = &Store::default();
        let replaced = RuleSource::Replaced(&[]);
        let (path, parameter) = (Some("/p"), Some(ALLOW_LIST));
        for (source, path, parameter, can_change) in [
            (RuleSource::Stored, None, None, false),
            (RuleSource::Stored, path, None, true),
            (RuleSource::Stored, None, parameter, true),
            (RuleSource::Stored, path, parameter, true),
            (replaced, path, None, true),
            (replaced, None, None, false),
            (RuleSource::Ignored, path, None, false),
            (RuleSource::Ignored, path, parameter, true),
        ] {
            let settings = settings(path, parameter);
            let rulebooks = Rulebooks::new(&store, &settings, source);
            assert_eq!(
                rulebooks.can_change(),
                can_change,
                "{source:?} {settings:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rules_are_the_same_only_with_the_same_limits() {
        let store = Store::default();
        let read = async |allow_public| {
            let mut settings = settings(None, None);
            settings.guardrails.allow_public = allow_public;
            read(&store, &settings, RuleSource::Stored).await.unwrap()
        };
        let (open, closed) = (read(true).await, read(false).await);
        assert!(open.same_rules(&open) && !open.same_rules(&closed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_reads_the_allow_list_alone() {
        let store = slow_store(&[("/p/rules", "broken"), (ALLOW_LIST, "444455556666")]);
        let rulebook = read(&store, &both(), RuleSource::Ignored).await.unwrap();
        assert_eq!(rulebook.policy, Policy::default());
        assert_eq!(store.requests(), [ALLOW_LIST]);
    }

    #[tokio::test(start_paused = true)]
    async fn other_rules_replace_the_stored_ones_and_keep_the_groups() {
        let settings = settings(Some("/p"), None);
        let store = slow_store(&[("/p/rules", "broken"), ("/p/groups/a", "444455556666")]);
        let rules = parse_rules("rules", RULES).unwrap();
        let rulebook = read(&store, &settings, RuleSource::Replaced(&rules))
            .await
            .unwrap();
        let stored = slow_store(&[("/p/rules", RULES), ("/p/groups/a", "444455556666")]);
        let same = read(&stored, &settings, RuleSource::Stored).await.unwrap();
        assert!(rulebook.same_rules(&same));
    }

    #[tokio::test(start_paused = true)]
    async fn an_allow_list_that_cannot_be_used_stops_everything_and_is_named() {
        let secret = Store::default();
        secret.put(ALLOW_LIST, StoredValue::Secure);
        let settings = settings(None, Some(ALLOW_LIST));
        let error = read(&secret, &settings, RuleSource::Stored)
            .await
            .unwrap_err();
        assert_eq!(
            (error.parameter.as_str(), error.fault),
            (ALLOW_LIST, PolicyFault::Secure.into())
        );

        let absent = read(&Store::default(), &settings, RuleSource::Stored)
            .await
            .unwrap_err();
        assert_eq!(absent.parameter, ALLOW_LIST);
        let RulebookFault::Unreadable(call) = &absent.fault else {
            panic!("{absent}")
        };
        assert_eq!(call.code, "ParameterNotFound");

        for list in ["all", "@team", "4444", "o-exampleorgid"] {
            let store = slow_store(&[(ALLOW_LIST, list)]);
            let error = read(&store, &settings, RuleSource::Stored)
                .await
                .unwrap_err();
            assert_eq!(error.parameter, ALLOW_LIST);
            let is_of_list = matches!(&error.fault, RulebookFault::AllowList(_));
            assert!(is_of_list && error.to_string().contains(list), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_that_cannot_be_read_is_named() {
        let store = Store::default();
        store.fault_every.set(1);
        let error = read(&store, &settings(Some("/p"), None), RuleSource::Stored).await;
        let error = error.unwrap_err();
        assert_eq!(error.parameter, "/p");
        let RulebookFault::Unreadable(call) = &error.fault else {
            panic!("{error}")
        };
        assert_eq!(
            (call.operation, &*call.code),
            ("GetParametersByPath", "InternalServerError")
        );
    }
}
