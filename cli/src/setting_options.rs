//! The function's settings as options: one for each, whatever settings there are.

use std::{collections::BTreeMap, fmt};

use ami_warden::{
    Settings,
    settings::{
        ALL, ALLOWED_GRANTEES, ALLOWED_GRANTEES_PARAMETER, DRY_RUN, Setting, SettingsError,
    },
};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

/// The options that were typed, by the variable of their setting.
#[derive(Debug, Clone, Default)]
pub struct SettingOptions {
    typed: BTreeMap<&'static str, String>,
}

/// A setting with a value that is not allowed. Its words name options where options were typed.
#[derive(Debug, thiserror::Error)]
pub struct BadSetting {
    error: SettingsError,
    options: SettingOptions,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.error.named(|variable| self.options.name(variable));
        write!(f, "{named}")
    }
}

/// The option of a setting: `ALLOW_PUBLIC` is `allow-public`.
fn option(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', "-")
}

fn is_flag(setting: &Setting) -> bool {
    setting.allowed == "true or false"
}

fn argument(setting: &Setting) -> Arg {
    let meaning = match setting.variable {
        DRY_RUN => {
            "No effect: this command changes nothing, whatever the function would do".to_owned()
        }
        _ => capitalised(setting.meaning),
    };
    let argument = Arg::new(setting.variable)
        .long(option(setting.variable))
        .value_name(if is_flag(setting) {
            "true|false"
        } else {
            "VALUE"
        })
        .help(format!("{meaning} [{}]", setting.allowed))
        .help_heading("Settings of the function, each also read from the variable of its name");
    if is_flag(setting) {
        argument.num_args(0..=1).default_missing_value("true")
    } else {
        argument
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let Some(first) = characters.next() else {
        return String::new();
    };
    first.to_uppercase().chain(characters).collect()
}

impl Args for SettingOptions {
    fn augment_args(command: Command) -> Command {
        command.args(ALL.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options = Self::default();
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in &ALL {
            if let Some(value) = matches.get_one::<String>(setting.variable) {
                self.typed.insert(setting.variable, value.clone());
            }
        }
        Ok(())
    }
}

impl SettingOptions {
    /// The settings, from options and else from the environment.
    ///
    /// # Errors
    /// A value that is not allowed.
    pub fn settings(&self) -> Result<Settings, BadSetting> {
        self.settings_from(|variable| std::env::var(variable).ok())
    }

    fn settings_from(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Settings, BadSetting> {
        let value = |name: &str| {
            if let Some(typed) = self.typed.get(name) {
                return Some(typed.clone());
            }
            if self.is_replaced(name) {
                return None;
            }
            variable(name)
        };
        Settings::from_vars(value).map_err(|error| BadSetting {
            error,
            options: self.clone(),
        })
    }

    /// An option for one form of the allow-list takes the place of a variable for the other.
    fn is_replaced(&self, variable: &str) -> bool {
        match variable {
            ALLOWED_GRANTEES => self.typed.contains_key(ALLOWED_GRANTEES_PARAMETER),
            ALLOWED_GRANTEES_PARAMETER => self.typed.contains_key(ALLOWED_GRANTEES),
            _ => false,
        }
    }

    /// The name under which the person gave a setting.
    fn name(&self, variable: &str) -> String {
        if self.typed.contains_key(variable) {
            format!("--{}", option(variable))
        } else {
            variable.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(args: &[&str]) -> SettingOptions {
        let command = SettingOptions::augment_args(Command::new("test").no_binary_name(true));
        let matches = command.try_get_matches_from(args).unwrap();
        SettingOptions::from_arg_matches(&matches).unwrap()
    }

    fn error(args: &[&str], variables: &[(&str, &str)]) -> String {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        typed(args).settings_from(variable).unwrap_err().to_string()
    }

    #[test]
    fn every_setting_has_an_option_that_takes_the_place_of_its_variable() {
        for setting in ALL {
            let option = format!("--{}=from option", option(setting.variable));
            let options = typed(&[&option]);
            assert_eq!(options.typed[setting.variable], "from option");
        }
        let options = typed(&["--tag-prefix", "team/", "--dry-run"]);
        let settings = options.settings_from(|_| Some("no/".to_owned()));
        assert!(settings.is_err(), "the other variables count: {settings:?}");
        let variable = |name: &str| (name == "TAG_PREFIX").then(|| "no/".to_owned());
        let settings = options.settings_from(variable).unwrap();
        assert_eq!(settings.tag_prefix, "team/");
        assert!(settings.dry_run);
    }

    #[test]
    fn an_error_names_what_the_person_gave_an_option_or_a_variable() {
        for (args, variables, words) in [
            (
                vec!["--allow-public=yes"],
                vec![],
                "--allow-public=\"yes\" is not allowed: expected true or false",
            ),
            (
                vec![],
                vec![("ALLOW_PUBLIC", "yes")],
                "ALLOW_PUBLIC=\"yes\" is not allowed: expected true or false",
            ),
            (
                vec!["--allowed-grantees=*", "--allowed-grantees-parameter=/a"],
                vec![],
                "--allowed-grantees-parameter=\"/a\" is not allowed: --allowed-grantees is set too",
            ),
            (
                vec!["--status-tag=team/TAG_PREFIX", "--tag-prefix=team/"],
                vec![],
                "--status-tag=\"team/TAG_PREFIX\" is not allowed: it is below --tag-prefix (team/)",
            ),
            (
                vec!["--status-tag=TAG_PREFIX/x", "--tag-prefix=TAG_PREFIX/"],
                vec![],
                "--status-tag=\"TAG_PREFIX/x\" is not allowed: it is below --tag-prefix (TAG_PREFIX/)",
            ),
            (
                vec!["--status-tag=team/x"],
                vec![("TAG_PREFIX", "team/")],
                "--status-tag=\"team/x\" is not allowed: it is below TAG_PREFIX (team/)",
            ),
        ] {
            let error = error(&args, &variables);
            assert!(error.starts_with(words), "{error}");
        }
    }

    #[test]
    fn an_option_for_one_form_of_the_allow_list_replaces_a_variable_for_the_other() {
        let variable = |name: &str| (name == "ALLOWED_GRANTEES").then(|| "*".to_owned());
        let settings = typed(&["--allowed-grantees-parameter=/a"]).settings_from(variable);
        assert_eq!(
            settings.unwrap().rulebook.allow_list_parameter.as_deref(),
            Some("/a")
        );
    }
}
