//! Shows what ami-warden would do, with a person's own AWS credentials, before it is deployed or while it runs.
//!
//! ```text
//! options, environment ─► Settings ──┐
//! the same core as the function's ───┼─► Survey ─► text or JSON, exit code
//! Clients<ReadOnly> ─────────────────┘
//! ```
//!
//! Nothing here can change an image: the clients have no call that does, see [`ami_warden::aws::ReadOnly`].

#![forbid(unsafe_code)]
#![warn(clippy::expect_used, clippy::panic, clippy::unimplemented, clippy::unreachable, clippy::unwrap_used)]

mod options;
mod survey;
mod text;

use std::{
    error::Error,
    io::{ErrorKind, Write},
    process::ExitCode,
};

use ami_warden::{
    aws::{Clients, ReadOnly},
    settings::Settings,
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{options::Options, survey::Survey};

/// Something did not work.
const FAILED: u8 = 1;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        // Clap's own exit code for a mistake is 2, which here means that something would change.
        Err(message) => {
            let failed = message.use_stderr();
            let _ = message.print();
            return if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS };
        }
    };
    match run(&options).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {}", text::Harmless(&error.to_string()));
            ExitCode::from(FAILED)
        }
    }
}

async fn run(options: &Options) -> Result<u8, Box<dyn Error>> {
    let warnings = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time().with_target(false);
    let of_the_core = Targets::new().with_target("ami_warden", LevelFilter::WARN);
    tracing_subscriber::registry().with(warnings.with_filter(of_the_core)).init();

    let clients = Clients::<ReadOnly>::from_env().await;
    let region =
        clients.region.clone().ok_or("no Region is set: set AWS_REGION, or a Region in the profile that AWS_PROFILE names")?;
    let settings = Settings::from_vars(|name| options.var(name, &region))?;
    let rules = options.rules()?;
    let survey = Survey::make(&settings, &clients.ec2, &clients.parameters, rules.as_ref(), &options.images).await?;
    print(&if options.json() {
        serde_json::to_string_pretty(&survey.answer)? + "\n"
    } else {
        text::render(&survey, &region, &options.colors())
    })?;
    Ok(exit_code(&survey))
}

/// What pipelines go by; the help says the same.
fn exit_code(survey: &Survey) -> u8 {
    let totals = survey.totals();
    match () {
        () if totals.failed > 0 => FAILED,
        () if totals.refusals > 0 => 3,
        () if totals.to_change > 0 => 2,
        () => 0,
    }
}

fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
