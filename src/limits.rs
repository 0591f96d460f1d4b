//! What groups, rules and the allow-list say at the moment: read anew each time, so that a change counts at once.

use crate::{
    directive::Context,
    guardrail::{AllowedGrantees, Guardrails},
    patience::Patience,
    policy::{Policy, PolicyError},
    ports::{CallError, Parameters},
    settings::Settings,
};

/// The policy and the guardrails, for as long as one piece of work takes.
#[derive(Debug, Default)]
pub struct Limits {
    /// Groups and rules.
    pub policy: Policy,
    /// What no tag, rule or request can lift.
    pub guardrails: Guardrails,
}

/// Which policy counts.
#[derive(Debug, Clone, Copy)]
pub enum Heeded<'a> {
    /// None: a request leaves rules aside.
    Nothing,
    /// The one in Parameter Store.
    Policy,
    /// The groups in Parameter Store, and these rules in place of those there.
    GroupsAnd {
        /// What errors call the rules.
        name: &'a str,
        /// The rules, as the parameter would hold them.
        rules: &'a str,
    },
}

impl Limits {
    /// Reads the policy and the allow-list, at the same time.
    ///
    /// # Errors
    /// Whatever of them cannot be read or does not parse: nothing is done on half a policy.
    pub async fn read<P: Parameters>(
        settings: &Settings,
        parameters: &P,
        patience: &Patience,
        heeded: Heeded<'_>,
    ) -> Result<Self, PolicyError> {
        let policy = async {
            let path = settings.policy_path.as_deref().filter(|_| !matches!(heeded, Heeded::Nothing));
            let stored = match path {
                Some(path) => patience
                    .call("GetParametersByPath", async || parameters.below(path).await)
                    .await
                    .map_err(|error| unreadable(path, &error))?,
                None => Vec::new(),
            };
            let path = path.unwrap_or_default();
            match heeded {
                Heeded::Nothing | Heeded::Policy => Policy::parse(path, stored),
                Heeded::GroupsAnd { name, rules } => Policy::parse_with_rules(path, stored, name, rules),
            }
        };
        let allowed_grantees = async {
            let Some(name) = settings.allowed_grantees_parameter.as_deref() else {
                return Ok(settings.guardrails.allowed_grantees.clone());
            };
            let list = patience
                .call("GetParameter", async || parameters.value(name).await)
                .await
                .map_err(|error| unreadable(name, &error))?;
            AllowedGrantees::parse(&list, settings.organization.as_ref())
                .map_err(|message| PolicyError { parameter: name.to_owned(), message })
        };
        let (policy, allowed_grantees) = tokio::join!(policy, allowed_grantees);
        Ok(Self {
            policy: policy?,
            guardrails: Guardrails { allowed_grantees: allowed_grantees?, ..settings.guardrails.clone() },
        })
    }

    /// What directives are read against.
    #[must_use]
    pub fn context<'a>(&'a self, settings: &'a Settings) -> Context<'a> {
        Context { policy: &self.policy, organization: settings.organization.as_ref(), partition: settings.partition }
    }
}

fn unreadable(parameter: &str, error: &CallError) -> PolicyError {
    PolicyError {
        parameter: parameter.to_owned(),
        message: format!("cannot be read ({error}); see that it is there and that this function may read it"),
    }
}
