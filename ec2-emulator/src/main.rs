//! The emulator as a process: for demonstrations, benchmarks and tests in other languages.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
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
        Err(error) => {
            eprintln!("ec2-emulator: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why the emulator does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("{0} is no option; see --help")]
    NoOption(String),
    #[error("{0} needs a value, or is no option; see --help")]
    NoValue(String),
    #[error("{option} {value}: {reason}")]
    BadValue {
        option: String,
        value: String,
        reason: Box<dyn Error>,
    },
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] ec2_emulator::TlsError),
    #[error("cannot listen on {0}: {1}")]
    CannotListen(SocketAddr, io::Error),
}

fn run(arguments: Vec<String>) -> Result<(), StartError> {
    let config = parse(arguments)?;
    let (account, listen) = (config.account.clone(), config.listen);
    let emulator =
        Emulator::spawn(config).map_err(|error| StartError::CannotListen(listen, error))?;
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

fn parse(arguments: Vec<String>) -> Result<Config, StartError> {
    let mut config = Config::default();
    let (mut limited, mut rate_factor) = (false, 1.0);
    let mut arguments = arguments.into_iter();
    while let Some(option) = arguments.next() {
        if option == "--buckets" {
            limited = true;
            continue;
        }
        let Some(text) = arguments.next() else {
            return Err(StartError::NoValue(option));
        };
        let value = Value {
            option: &option,
            text: &text,
        };
        match option.as_str() {
            "--listen" => config.listen = value.parse()?,
            "--account" => config.account = text,
            "--region" => config.region = Some(text),
            "--seed" => {
                let json = std::fs::read_to_string(&text).map_err(|error| value.bad(error))?;
                config.seed = serde_json::from_str(&json).map_err(|error| value.bad(error))?;
            }
            "--latency-ms" => config.latency = Duration::from_millis(value.parse()?),
            "--lag-ms" => config.lags = vec![Lag::new(Duration::from_millis(value.parse()?))],
            "--rate-factor" => {
                limited = true;
                rate_factor = value.parse()?;
            }
            "--largest-page" => config.largest_page = Some(value.parse()?),
            #[cfg(feature = "tls")]
            "--tls" => {
                let Some((chain, key)) = text.split_once(',') else {
                    return Err(value.bad("expected CHAIN.pem,KEY.pem"));
                };
                let tls = ec2_emulator::Tls::from_pem_files(chain.as_ref(), key.as_ref())?;
                config.tls = Some(tls);
            }
            _ => return Err(StartError::NoOption(option)),
        }
    }
    if limited {
        config.buckets = Buckets::published().times(rate_factor);
    }
    Ok(config)
}

/// The value of an option.
struct Value<'a> {
    option: &'a str,
    text: &'a str,
}

impl Value<'_> {
    fn parse<T: FromStr<Err: Error + 'static>>(&self) -> Result<T, StartError> {
        self.text.parse().map_err(|error: T::Err| self.bad(error))
    }

    fn bad(&self, reason: impl Into<Box<dyn Error>>) -> StartError {
        StartError::BadValue {
            option: self.option.to_owned(),
            value: self.text.to_owned(),
            reason: reason.into(),
        }
    }
}
