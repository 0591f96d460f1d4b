//! The emulator as a process: for demonstrations, benchmarks and tests in other languages.

use std::process::ExitCode;
use std::time::Duration;

use ec2_emulator::{Buckets, Config, Emulator, Lag};

const USAGE: &str = "\
A strict stand-in for the EC2, Parameter Store, KMS and STS calls that ami-warden makes.

usage: ec2-emulator [--listen ADDRESS:PORT] [--account ID] [--region REGION] [--seed FILE.json]
                    [--latency-ms N] [--lag-ms N] [--largest-page N] [--buckets]
                    [--rate-factor N] [--tls CHAIN.pem,KEY.pem]

  --listen        where to listen (127.0.0.1:0, a free port)
  --account       the account that all requests come from (111122223333)
  --region        the only Region that requests may be signed for (any)
  --seed          what is there from the start
  --latency-ms    how long every answer takes at least (0)
  --lag-ms        how far every read lags behind every write (0)
  --largest-page  no page holds more than this (no limit)
  --buckets       limit the request rate as AWS does by default
  --rate-factor   the same, and the limits are so many times that
  --tls           HTTPS with this certificate and key (needs the feature `tls`)

One line of JSON on standard output says where it listens. The control API is below /_emulator/.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--help" || a == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ec2-emulator: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), String> {
    let config = parse(arguments)?;
    let (account, listen) = (config.account.clone(), config.listen);
    let emulator =
        Emulator::spawn(config).map_err(|e| format!("cannot listen on {listen}: {e}"))?;
    println!(
        "{}",
        serde_json::json!({
            "Url": emulator.url(),
            "Address": emulator.address().to_string(),
            "Account": account,
        })
    );
    emulator.run();
    Ok(())
}

fn parse(arguments: Vec<String>) -> Result<Config, String> {
    let mut config = Config::default();
    let (mut limited, mut rate_factor) = (false, 1.0);
    let mut arguments = arguments.into_iter();
    while let Some(option) = arguments.next() {
        if option == "--buckets" {
            limited = true;
            continue;
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{option} needs a value, or is no option; see --help"))?;
        let bad = |error: &dyn std::fmt::Display| format!("{option} {value}: {error}");
        match option.as_str() {
            "--listen" => config.listen = value.parse().map_err(|e| bad(&e))?,
            "--account" => config.account = value,
            "--region" => config.region = Some(value),
            "--seed" => {
                let text = std::fs::read_to_string(&value).map_err(|e| bad(&e))?;
                config.seed = serde_json::from_str(&text).map_err(|e| bad(&e))?;
            }
            "--latency-ms" => {
                config.latency = Duration::from_millis(value.parse().map_err(|e| bad(&e))?);
            }
            "--lag-ms" => {
                let ms = value.parse().map_err(|e| bad(&e))?;
                config.lags = vec![Lag::new(Duration::from_millis(ms))];
            }
            "--rate-factor" => {
                limited = true;
                rate_factor = value.parse().map_err(|e| bad(&e))?;
            }
            "--largest-page" => config.largest_page = Some(value.parse().map_err(|e| bad(&e))?),
            #[cfg(feature = "tls")]
            "--tls" => {
                let (chain, key) = value
                    .split_once(',')
                    .ok_or_else(|| bad(&"expected CHAIN.pem,KEY.pem"))?;
                config.tls = Some(ec2_emulator::Tls::from_pem_files(
                    chain.as_ref(),
                    key.as_ref(),
                )?);
            }
            _ => return Err(format!("{option} is no option; see --help")),
        }
    }
    if limited {
        config.buckets = Buckets::published().times(rate_factor);
    }
    Ok(config)
}
