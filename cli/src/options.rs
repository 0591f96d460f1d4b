//! The command line.

use std::{fs, io::IsTerminal, path::PathBuf};

use ami_warden::{image::ImageId, settings};
use clap::{Args, Parser, ValueEnum};

use crate::text::Colors;

/// Shows what ami-warden would do to the images of this account and Region: whom it would let in, whom it would take access from, what it
/// would change, and what it would refuse. Only reads, with the AWS credentials and the Region of the environment.
#[derive(Debug, Parser)]
#[command(name = "ami-warden-plan", version, after_help = AFTER_HELP)]
pub struct Options {
    /// Look only at this image; may be given several times [default: every image that a sweep looks at]
    #[arg(long = "image-id", value_name = "AMI")]
    pub images: Vec<ImageId>,

    /// Take the policy's rules from this JSON file instead of the parameter POLICY_PATH/rules; groups still come from there
    #[arg(long = "rules", value_name = "FILE")]
    rules: Option<PathBuf>,

    /// Write JSON, the answer of the function's dry run [default where the output is no terminal]
    #[arg(long, conflicts_with = "text")]
    json: bool,

    /// Write text [default on a terminal]
    #[arg(long)]
    text: bool,

    /// Colours in the text; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    color: Color,

    #[command(
        flatten,
        next_help_heading = "Settings of the function, each also read from the environment variable of the same name"
    )]
    settings: SettingFlags,
}

#[derive(Debug, Args)]
struct SettingFlags {
    /// May images be made public
    #[arg(long, value_name = "true|false", num_args = 0..=1, default_missing_value = "true")]
    allow_public: Option<String>,

    /// Who else may be let in: accounts, organizations, OUs, or "*"
    #[arg(long, value_name = "LIST")]
    allowed_grantees: Option<String>,

    /// The parameter that holds that list instead
    #[arg(long, value_name = "NAME")]
    allowed_grantees_parameter: Option<String>,

    /// Prefix of directive tags [default: ami-warden:]
    #[arg(long, value_name = "PREFIX")]
    tag_prefix: Option<String>,

    /// Completes o-… and ou-…
    #[arg(long, value_name = "ARN")]
    organization_arn: Option<String>,

    /// Where groups and rules are in Parameter Store
    #[arg(long, value_name = "PATH")]
    policy_path: Option<String>,

    /// Most removals for one image in one run
    #[arg(long, value_name = "NUMBER")]
    max_removals: Option<String>,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  nothing to do
  1  something did not work: a bad option, a call that failed; images that could be read are shown all the same
  2  something would change, and nothing would be refused
  3  something would be refused

Permissions: ec2:DescribeImages, ec2:DescribeImageAttribute, ec2:DescribeSnapshots, ec2:GetImageBlockPublicAccessState, and, where the
settings name parameters, ssm:GetParametersByPath and ssm:GetParameter.

Credentials and Region: as for the AWS CLI (AWS_PROFILE, IAM Identity Center included). For profiles with credential_process or `aws login`,
run first: eval \"$(aws configure export-credentials --format env)\"";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// Rules from a file.
pub struct Rules {
    /// The file's name, for errors.
    pub name: String,
    /// What it holds.
    pub json: String,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// A mistake in it, or what `--help` and `--version` ask for.
    pub fn read() -> Result<Self, clap::Error> {
        let mut options = Self::try_parse()?;
        options.images.sort_unstable();
        options.images.dedup();
        Ok(options)
    }

    /// A setting by the name of its variable: from its option, else from the environment.
    pub fn var(&self, name: &str, region: &str) -> Option<String> {
        let flags = &self.settings;
        let flag = match name {
            settings::ALLOW_PUBLIC => &flags.allow_public,
            settings::ALLOWED_GRANTEES => &flags.allowed_grantees,
            settings::ALLOWED_GRANTEES_PARAMETER => &flags.allowed_grantees_parameter,
            settings::TAG_PREFIX => &flags.tag_prefix,
            settings::ORGANIZATION_ARN => &flags.organization_arn,
            settings::POLICY_PATH => &flags.policy_path,
            settings::MAX_REMOVALS => &flags.max_removals,
            // A profile may name it.
            "AWS_REGION" => return Some(region.to_owned()),
            _ => &None,
        };
        // An option for one form of the allow-list takes the place of a variable for the other.
        let replaced = match name {
            settings::ALLOWED_GRANTEES => flags.allowed_grantees_parameter.is_some(),
            settings::ALLOWED_GRANTEES_PARAMETER => flags.allowed_grantees.is_some(),
            _ => false,
        };
        flag.clone().or_else(|| std::env::var(name).ok().filter(|_| !replaced))
    }

    /// The rules of `--rules`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn rules(&self) -> Result<Option<Rules>, String> {
        let Some(path) = &self.rules else { return Ok(None) };
        let json = fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Ok(Some(Rules { name: path.display().to_string(), json }))
    }

    /// Whether to write JSON.
    pub fn json(&self) -> bool {
        self.json || !(self.text || std::io::stdout().is_terminal())
    }

    /// The colours of the text.
    pub fn colors(&self) -> Colors {
        let no_color = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colored = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal() && !no_color(),
        };
        if colored { Colors::SOME } else { Colors::NONE }
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
