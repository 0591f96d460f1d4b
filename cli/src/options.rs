//! The command line.

use std::{fs, io::IsTerminal, path::PathBuf};

use ami_warden_core::{ImageId, Rule, parse_rules};
use clap::{Parser, ValueEnum};

use crate::{
    failure::Failure,
    setting_options::SettingOptions,
    survey::Scope,
    text::{Colors, Form},
    words,
};

/// Shows what ami-warden would do to the images of this account and Region: whom it would let in,
/// whom it would take access from, what it would change, and what it would refuse.
///
/// It only reads, with your AWS credentials. (--usage asks EC2 for reports, which changes no
/// image.)
#[derive(Debug, Parser)]
#[command(name = "ami-warden-plan", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Options {
    /// Look only at this image; may be given several times [default: every image that a sweep looks
    /// at]
    #[arg(long = "image-id", value_name = "AMI")]
    images: Vec<ImageId>,

    /// Take the policy's rules from this JSON file instead of the parameters below POLICY_PATH;
    /// groups still come from there
    #[arg(long = "rules", value_name = "FILE")]
    rules: Option<PathBuf>,

    /// The profile of your AWS configuration files
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,

    /// The AWS Region
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,

    /// Say who may launch each image of the account and Region now, and why
    #[arg(long)]
    inventory: bool,

    /// Ask EC2's usage reports who uses the images from which access would be taken away, and wait
    /// for them (some minutes)
    #[arg(long)]
    pub usage: bool,

    /// Print the key-policy statements that let everybody with access use encrypted images
    #[arg(long)]
    pub key_policy: bool,

    /// Also write a page for browsers: who may launch each image of the account and Region, and why
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Write JSON, the answer of the function's dry run [default where the output is no terminal]
    #[arg(long, conflicts_with = "text")]
    json: bool,

    /// Write text [default on a terminal]
    #[arg(long)]
    text: bool,

    /// Colours in the text; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    color: Color,

    /// The function's settings.
    #[command(flatten)]
    pub settings: SettingOptions,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  nothing to do
  1  something did not work: a bad option, a call that failed, an image that is not there;
     everything that could be read is shown all the same
  2  something would change, and nothing would be refused
  3  something would be refused

Permissions: ec2:DescribeImages, ec2:DescribeImageAttribute, ec2:DescribeSnapshots,
ec2:DescribeSnapshotAttribute and ec2:GetImageBlockPublicAccessState; where the settings name
parameters, ssm:GetParametersByPath and ssm:GetParameter; with --key-check, --key-policy or --html,
kms:DescribeKey, kms:ListKeyPolicies, kms:GetKeyPolicy and kms:ListGrants; with --usage,
ec2:CreateImageUsageReport, ec2:DescribeImageUsageReports and ec2:DescribeImageUsageReportEntries.

Credentials and Region: as for the AWS CLI (AWS_PROFILE, IAM Identity Center included). For profiles
with credential_process or `aws login`, run first:
  eval \"$(aws configure export-credentials --format env)\"";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// A mistake in it, or the text that `--help` and `--version` ask for.
    pub fn read() -> Result<Self, clap::Error> {
        let mut options = Self::try_parse()?;
        options.images.sort_unstable();
        options.images.dedup();
        Ok(options)
    }

    /// The images and facts that are asked about.
    pub fn scope(&self) -> Scope {
        let inventory = self.inventory || self.html.is_some();
        Scope {
            images: self.images.clone(),
            every_image: inventory && self.images.is_empty(),
            permissions: inventory || self.key_policy,
            keys: self.key_policy || self.html.is_some(),
        }
    }

    /// The rules of `--rules`.
    ///
    /// # Errors
    /// A file that cannot be read, or that holds no rules that can be used.
    pub fn rules(&self) -> Result<Option<Vec<Rule>>, Failure> {
        let Some(path) = &self.rules else {
            return Ok(None);
        };
        let json = fs::read_to_string(path).map_err(|error| Failure::UnreadableRules {
            path: path.clone(),
            error,
        })?;
        let rules = parse_rules("rules", &json).map_err(|error| Failure::BadRules {
            path: path.clone(),
            error,
        })?;
        Ok(Some(rules))
    }

    /// Whether to write JSON: if asked, or without a terminal.
    pub fn json(&self) -> bool {
        self.json || !(self.text || std::io::stdout().is_terminal())
    }

    /// The form of the text.
    pub fn form(&self) -> Form {
        let no_color = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colored = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal() && !no_color(),
        };
        let colors = if colored { Colors::SOME } else { Colors::NONE };
        let terminal = words::terminal_width();
        Form {
            colors,
            width: terminal.unwrap_or(words::WIDTH_ELSEWHERE),
            wraps_totals: terminal.is_some(),
            inventory: self.inventory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_one_that_clap_can_read() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
