//! Cold start: logs, settings, clients, run.

#![warn(clippy::expect_used, clippy::panic, clippy::pedantic, clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

use std::process::ExitCode;

use ami_warden::{
    aws::{Clients, ReadWrite},
    invocation::Function,
    lambda::{Payload, handle},
    log::LogSettings,
    settings::Settings,
};
use lambda_runtime::{LambdaEvent, service_fn};

/// One thread: the function waits for EC2 and computes next to nothing.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(event = "start", "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<(), lambda_runtime::Error> {
    let var = |name: &str| std::env::var(name).ok();
    // Logs first, so that whatever is wrong with the rest is logged.
    let log_settings = LogSettings::from_vars(var);
    let subscriber = log_settings.clone().or_else(|_| LogSettings::from_vars(|_| None))?.subscriber(std::io::stdout);
    tracing::subscriber::set_global_default(subscriber)?;
    log_settings?;

    let settings = Settings::from_vars(var)?;
    let Clients { ec2, parameters, .. } = Clients::<ReadWrite>::from_env().await;
    let function = Function::new(settings, ec2, parameters);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Payload>| handle(&function, event).await)).await
}
