//! Shows what ami-warden would do, with a person's own AWS credentials, before it is deployed or
//! while it runs.
//!
//! ```text
//! options, environment ─► Settings ──┐
//! the same core as the function's ───┼─► Survey ─► text or JSON, exit code
//! Clients<ReadOnly> ─────────────────┘
//! ```
//!
//! Nothing here can change an image: the clients have no call that does, see
//! [`ami_warden::aws::ReadOnly`].

#![forbid(unsafe_code)]
#![warn(clippy::expect_used, clippy::panic, clippy::unimplemented)]
#![warn(clippy::unreachable, clippy::unwrap_used)]

mod access;
mod failure;
mod groups;
mod html;
mod json;
mod key_policy;
mod options;
mod setting_options;
mod survey;
mod text;
mod usage;
mod words;

use std::{
    io::{ErrorKind, Write},
    process::ExitCode,
};

use ami_warden::aws::{Choice, Clients, ReadOnly, profiles};

use crate::{
    failure::Failure,
    options::Options,
    survey::{Sources, Survey},
    words::{Harmless, one_line},
};

/// The exit codes, in the words of the help.
const EXIT_NOTHING_TO_DO: u8 = 0;
const EXIT_FAILED: u8 = 1;
const EXIT_CHANGES: u8 = 2;
const EXIT_REFUSED: u8 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        // Clap's own exit code for a mistake is 2, which here means that something would change.
        Err(message) => {
            let failed = message.use_stderr();
            let _ = message.print();
            return if failed {
                ExitCode::from(EXIT_FAILED)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(&options).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("error: {}", one_line(&failure.to_string()));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn run(options: &Options) -> Result<u8, Failure> {
    let choice = Choice {
        profile: options.profile.as_deref(),
        region: options.region.as_deref(),
    };
    // Before anything of AWS is needed: a check of rules may run without credentials.
    let rules = options.rules()?;
    let settings = options.settings.settings()?;
    if let Some(path) = &options.html {
        html::check(path)?;
    }
    let clients = Clients::<ReadOnly>::chosen(&choice).await;
    let Some(region) = clients.region.clone() else {
        return Err(no_profile(options).await.unwrap_or(Failure::NoRegion));
    };
    if let Err(error) = clients.caller.check_credentials().await {
        return Err(no_profile(options).await.unwrap_or(error.into()));
    }
    let settings = settings.in_region(&region);
    let sources = Sources {
        settings: &settings,
        region: &region,
        ec2: &clients.ec2,
        keys: &clients.keys,
        parameters: &clients.parameters,
    };
    let mut survey = Survey::make(&sources, rules.as_deref(), &options.scope()).await?;
    survey.ask_for_account(&clients.caller).await;
    if options.usage {
        survey.ask_for_usage(&clients.ec2.usage_reports()).await;
    }
    warn(&survey);
    if let Some(path) = &options.html {
        html::write(path, &survey)?;
    }
    let keys = options.key_policy.then(|| survey.key_advice());
    let output = if options.json() {
        json::answer(&survey, keys.as_deref())?
    } else {
        text::render(&survey, keys.as_deref(), &options.form()).into_bytes()
    };
    print(&output)?;
    Ok(exit_code(&survey))
}

/// The failure of a profile that does not exist, which shows as a lack of Region or credentials.
async fn no_profile(options: &Options) -> Option<Failure> {
    let typed = options.profile.clone();
    let name = typed.or_else(|| std::env::var("AWS_PROFILE").ok())?;
    let known = profiles().await?;
    if name.is_empty() || known.contains(&name) {
        return None;
    }
    Some(Failure::NoProfile { name, known })
}

/// Warnings and errors that are about no image that was read.
fn warn(survey: &Survey) {
    for parameter in &survey.unused {
        let parameter = Harmless(parameter);
        eprintln!(
            "warning: {parameter} is neither rules, rules/NAME nor groups/NAME, so it is not used"
        );
    }
    let account = survey
        .account
        .as_ref()
        .map_or("of these credentials", |account| account.as_str());
    for record in survey.not_found() {
        eprintln!(
            "error: {} is not an image of account {account} in {}. Check the id, the profile and \
             the Region",
            record.id,
            Harmless(&survey.region)
        );
    }
}

/// The signal for pipelines: the gravest of all that would happen.
fn exit_code(survey: &Survey) -> u8 {
    let totals = survey.totals();
    if totals.failed > 0 || survey.not_found().next().is_some() {
        EXIT_FAILED
    } else if totals.refusals > 0 {
        EXIT_REFUSED
    } else if totals.to_change > 0 {
        EXIT_CHANGES
    } else {
        EXIT_NOTHING_TO_DO
    }
}

fn print(output: &[u8]) -> Result<(), Failure> {
    match std::io::stdout().write_all(output) {
        // The reader has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}
