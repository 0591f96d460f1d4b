//! A survey for people.

use std::fmt::{self, Display, Write};

use ami_warden::{
    directive::Source,
    guardrail::Attribute,
    image::LaunchPermissions,
    outcome::{Entry, Outcome},
    plan::Change,
};
use anstyle::{AnsiColor, Style};

use crate::survey::{Survey, Totals};

/// How what is written. None is none, down to the last escape sequence.
pub struct Colors {
    image: Style,
    add: Style,
    remove: Style,
    change: Style,
    refuse: Style,
    aside: Style,
}

impl Colors {
    /// No colours.
    pub const NONE: Self = {
        let none = Style::new();
        Self { image: none, add: none, remove: none, change: none, refuse: none, aside: none }
    };
    /// Those that everybody knows from plans.
    pub const SOME: Self = Self {
        image: Style::new().bold(),
        add: AnsiColor::Green.on_default(),
        remove: AnsiColor::Red.on_default(),
        change: AnsiColor::Yellow.on_default(),
        refuse: AnsiColor::Magenta.on_default().bold(),
        aside: Style::new().dimmed(),
    };
}

/// Text from elsewhere: a tag may hold any character, and must neither drive the terminal nor turn what is read around.
pub struct Harmless<'a>(pub &'a str);

impl Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '"' | '\'' | '\\' => f.write_char(character),
            // Escapes what cannot be printed and nothing else.
            _ => write!(f, "{}", character.escape_debug()),
        })
    }
}

/// The survey as text.
pub fn render(survey: &Survey, region: &str, colors: &Colors) -> String {
    let mut page = Page { text: String::new(), colors };
    let written = page.survey(survey, region);
    debug_assert!(written.is_ok(), "a String takes everything");
    page.text
}

struct Page<'a> {
    text: String,
    colors: &'a Colors,
}

impl Page<'_> {
    fn survey(&mut self, survey: &Survey, region: &str) -> fmt::Result {
        let totals = survey.totals();
        let Colors { add, remove, change, refuse, .. } = self.colors;
        writeln!(self.text, "Looked at {} in {region}. Nothing was changed.", Count(totals.looked_at, "image"))?;
        if totals.to_change + totals.refusals > 0 {
            writeln!(
                self.text,
                "Signs: {add}+ add{add:#}, {remove}- remove{remove:#}, {change}~ change{change:#}, {refuse}! refuse{refuse:#}"
            )?;
        }
        writeln!(self.text)?;
        for entry in &survey.answer.images {
            self.image(entry, survey.names.get(&entry.image_id).map(String::as_str))?;
        }
        if !survey.public_without_directives.is_empty() {
            let ids: Vec<String> = survey.public_without_directives.iter().map(ToString::to_string).collect();
            writeln!(self.text, "Public, though nothing says so, and left alone: {}\n", ids.join(", "))?;
        }
        self.last_line(&totals)
    }

    fn image(&mut self, entry: &Entry, name: Option<&str>) -> fmt::Result {
        let style = self.colors.image;
        let name = name.map(|name| format!("  {}", Harmless(name))).unwrap_or_default();
        writeln!(self.text, "{style}{}{name}{style:#}", entry.image_id)?;
        match entry.outcome {
            Outcome::Unchanged => writeln!(self.text, "  as wanted")?,
            Outcome::Skipped => writeln!(self.text, "  skipped: {}", Harmless(entry.reason.as_deref().unwrap_or_default()))?,
            Outcome::Deferred => writeln!(self.text, "  deferred: it is pending, and looked at when it is available")?,
            Outcome::Applied | Outcome::Planned | Outcome::Refused | Outcome::Failed => {}
        }
        let mut lines = Lines { page: self, entry, attribute: None };
        for applied in &entry.changes {
            lines.change(&applied.change)?;
        }
        lines.refusals()?;
        for note in &entry.notes {
            writeln!(self.text, "  note: {}", Harmless(note))?;
        }
        if let Some(error) = &entry.error {
            let style = self.colors.remove;
            writeln!(self.text, "  {style}error: {}{style:#}", Harmless(&error.to_string()))?;
        }
        writeln!(self.text)
    }

    fn last_line(&mut self, totals: &Totals) -> fmt::Result {
        let Totals { to_change, to_add, to_remove, refusals, unchanged, skipped, deferred, failed, .. } = *totals;
        let style = self.colors.image;
        write!(
            self.text,
            "{style}Plan:{style:#} {} to change, {} to add, {to_remove} to remove, {}; {unchanged} unchanged, {skipped} skipped",
            Count(to_change, "image"),
            Count(to_add, "grantee"),
            Count(refusals, "refusal"),
        )?;
        for (number, word) in [(deferred, "deferred"), (failed, "failed")] {
            if number > 0 {
                write!(self.text, ", {number} {word}")?;
            }
        }
        writeln!(self.text, ".")
    }
}

/// The changes and refusals of one image. Who asks for them is said once for each attribute.
struct Lines<'a, 'b> {
    page: &'a mut Page<'b>,
    entry: &'a Entry,
    attribute: Option<Attribute>,
}

impl Lines<'_, '_> {
    fn change(&mut self, change: &Change) -> fmt::Result {
        let Colors { add, remove, change: yellow, .. } = *self.page.colors;
        let from = |from: &Option<String>| from.as_ref().map_or("unset".to_owned(), |text| format!("{text:?}"));
        match change {
            Change::Description { from: old, to } => {
                self.line('~', yellow, &change.attribute(), &format!("{} -> {to:?}", from(old)))
            }
            Change::ImdsSupport { from: old, to } => {
                self.line('~', yellow, &change.attribute(), &format!("{} -> {:?}", from(old), to.as_str()))
            }
            Change::LaunchPermission(grants) => {
                let attribute = change.attribute();
                let mut each = |sign, style, grantees: &LaunchPermissions| {
                    grantees.iter().try_for_each(|grantee| self.line(sign, style, &attribute, grantee.as_str()))
                };
                each('+', add, &grants.add)?;
                each('-', remove, &grants.remove)
            }
        }
    }

    fn refusals(&mut self) -> fmt::Result {
        let style = self.page.colors.refuse;
        for refusal in &self.entry.refusals {
            let what = if refusal.resource == refusal.attribute.as_str() {
                refusal.code.as_str().to_owned()
            } else {
                format!("{} {}", refusal.code.as_str(), refusal.resource)
            };
            self.line('!', style, &refusal.attribute, &what)?;
            writeln!(self.page.text, "      {}", Harmless(&refusal.message))?;
        }
        Ok(())
    }

    fn line(&mut self, sign: char, style: Style, attribute: &Attribute, what: &str) -> fmt::Result {
        let aside = self.page.colors.aside;
        let (name, what) = (Harmless(attribute.as_str()).to_string(), Harmless(what));
        write!(self.page.text, "  {style}{sign} {name:<16}  {what}{style:#}")?;
        let directive = self.entry.directives.iter().find(|directive| directive.attribute == *attribute);
        if let Some(directive) = directive.filter(|_| self.attribute.as_ref() != Some(attribute)) {
            let sources: Vec<String> = directive.sources.iter().map(source).collect();
            write!(self.page.text, "  {aside}({}){aside:#}", Harmless(&sources.join(", ")))?;
        }
        self.attribute = Some(attribute.clone());
        writeln!(self.page.text)
    }
}

fn source(source: &Source) -> String {
    match source {
        Source::Tag(key) => format!("tag {key}"),
        Source::Rule(name) => format!("rule {name:?}"),
        Source::Request => "request".to_owned(),
    }
}

/// A number of things.
struct Count(usize, &'static str);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_does_not_drive_the_terminal() {
        let text = "\u{1b}[2J \u{9b}2J \n \u{202e} ü 東 🦀 \"'\\";
        assert_eq!(Harmless(text).to_string(), r#"\u{1b}[2J \u{9b}2J \n \u{202e} ü 東 🦀 "'\"#);
    }

    #[test]
    fn no_colours_are_no_escape_sequences() {
        let Colors { image, add, remove, change, refuse, aside } = Colors::NONE;
        for style in [image, add, remove, change, refuse, aside] {
            assert_eq!(format!("{style}x{style:#}"), "x");
        }
    }
}
