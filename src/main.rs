//! Cold start: logs, settings, clients, run.

#![warn(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![warn(clippy::pedantic, clippy::print_stderr, clippy::print_stdout)]

use std::process::ExitCode;

use ami_warden::{
    LogSettings, Settings, Warden,
    aws::{Clients, ReadWrite},
    lambda::{Payload, body_as_string, handle},
};
use lambda_runtime::{
    LambdaEvent, Runtime, layers::TracingLayer, service_fn, tower::util::MapRequestLayer,
};

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
    // Logs first, so that a fault of the rest is logged.
    let log_settings = LogSettings::from_vars(var);
    let log_or_default = log_settings
        .clone()
        .or_else(|_| LogSettings::from_vars(|_| None))?;
    tracing::subscriber::set_global_default(log_or_default.subscriber(std::io::stdout))?;
    log_settings?;

    let settings = Settings::from_vars(var)?;
    if var("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err(RUN_BY_HAND.into());
    }
    let Clients {
        ec2,
        keys,
        parameters,
        ..
    } = Clients::<ReadWrite>::from_env().await;
    let name = var("AWS_LAMBDA_FUNCTION_NAME");
    let warden = Warden::new(settings, ec2, keys, parameters, name);
    let handler = service_fn(async |event: LambdaEvent<Payload>| handle(&warden, event).await);
    Runtime::new(handler)
        .layer(MapRequestLayer::new(body_as_string))
        .layer(TracingLayer::new())
        .run()
        .await
}

const RUN_BY_HAND: &str = "this is the Lambda function ami-warden, and no Lambda runtime started \
     it (AWS_LAMBDA_RUNTIME_API is not set). `make demo` runs it on this machine; \
     `ami-warden-plan` shows its plans.";
