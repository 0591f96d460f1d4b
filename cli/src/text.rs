//! A survey for people.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use ami_warden::{ImageRecord, Outcome, SkipReason};
use ami_warden_core::{Attribute, Change, Direction, Grantee};
use anstyle::{AnsiColor, Style};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    access::{Reason, Standing, source},
    groups::{self, Group},
    key_policy::KeyAdvice,
    survey::{Survey, Totals},
    usage::{self, Usage, is_hit},
    words::{Count, Harmless, Number, grantee, one_line, wrapped},
};

/// The most lines of one kind in a row, unless a person named the images.
const LINES_MAX: usize = 20;

/// The column in which the words behind sign and attribute begin.
const WORDS_COLUMN: usize = 22;

/// The palette, the same in the demo. Red is for danger alone: an image that everybody may launch,
/// and a call that failed.
#[derive(Debug)]
pub struct Colors {
    title: Style,
    add: Style,
    remove: Style,
    change: Style,
    refuse: Style,
    danger: Style,
    aside: Style,
}

impl Colors {
    /// No colours, down to the last escape sequence.
    pub const NONE: Self = {
        let none = Style::new();
        Self {
            title: none,
            add: none,
            remove: none,
            change: none,
            refuse: none,
            danger: none,
            aside: none,
        }
    };
    /// The palette of a terminal with colours.
    pub const SOME: Self = Self {
        title: Style::new().bold(),
        add: AnsiColor::Green.on_default(),
        remove: AnsiColor::Yellow.on_default(),
        change: AnsiColor::Cyan.on_default(),
        refuse: AnsiColor::Magenta.on_default(),
        danger: AnsiColor::Red.on_default().bold(),
        aside: Style::new().dimmed(),
    };
}

/// The form of the text.
#[derive(Debug)]
pub struct Form {
    pub colors: Colors,
    /// The columns of the terminal.
    pub width: usize,
    /// Whether the totals may take several lines. Programs that read text look at the last line.
    pub wraps_totals: bool,
    /// Whether to say who may launch each image.
    pub inventory: bool,
}

pub fn render(survey: &Survey, keys: Option<&[KeyAdvice]>, form: &Form) -> String {
    let mut page = Page {
        text: String::new(),
        survey,
        form,
        colors: &form.colors,
    };
    let written = page.all(keys);
    debug_assert!(written.is_ok(), "a String takes everything");
    page.text
}

struct Page<'a> {
    text: String,
    survey: &'a Survey,
    form: &'a Form,
    colors: &'a Colors,
}

impl Page<'_> {
    fn all(&mut self, keys: Option<&[KeyAdvice]>) -> fmt::Result {
        let totals = self.survey.totals();
        self.head(&totals)?;
        let mut changing: Vec<&ImageRecord> = self.survey.records().collect();
        changing.retain(|record| !record.changes.is_empty() || !record.notes.is_empty());
        // The images that everybody would be let into come first.
        changing.sort_by_key(|record| !publishes(record));
        for record in changing {
            self.image(record)?;
        }
        let (danger, refuse) = (self.colors.danger, self.colors.refuse);
        let refusals = groups::refusals(self.survey.records());
        self.groups("Refused", '!', refuse, &refusals)?;
        let faults = groups::faults(self.survey.records());
        self.groups("Failed", 'x', danger, &faults)?;
        self.others()?;
        for note in &self.survey.notes {
            self.text += &wrapped(&format!("Note: {}", Harmless(note)), "", self.form.width);
            writeln!(self.text)?;
        }
        if self.form.inventory {
            self.inventory()?;
        }
        if !self.survey.usage.is_empty() {
            self.usage()?;
        }
        if let Some(keys) = keys {
            self.keys(keys)?;
        }
        self.last_line(&totals)
    }

    fn head(&mut self, totals: &Totals) -> fmt::Result {
        let Colors {
            add,
            remove,
            change,
            refuse,
            danger,
            ..
        } = self.colors;
        let account = self
            .survey
            .account
            .as_ref()
            .map_or("unknown", |account| account.as_str());
        let first = format!(
            "Account {account}, Region {}: looked at {}. Nothing was changed.",
            Harmless(&self.survey.region),
            Count(totals.looked_at, "image")
        );
        self.text += &wrapped(&first, "", self.form.width);
        if totals.to_change + totals.refusals + totals.failed > 0 {
            let signs = format!(
                "Signs: {add}+ let in{add:#}, {remove}- take access away{remove:#}, \
                 {change}~ change{change:#}, {refuse}! refuse{refuse:#}, {danger}x failed{danger:#}"
            );
            self.text += &wrapped(&signs, "", self.form.width);
        }
        writeln!(self.text)
    }

    fn image(&mut self, record: &ImageRecord) -> fmt::Result {
        let style = self.colors.title;
        writeln!(self.text, "{style}{}{style:#}", named(record))?;
        let mut lines = Lines {
            page: self,
            record,
            attribute: None,
            sign: ' ',
            in_a_row: 0,
            left_out: 0,
        };
        for proposed in &record.changes {
            lines.change(&proposed.change)?;
        }
        for refusal in &record.refusals {
            let (code, resource) = (refusal.code().as_str(), refusal.resource());
            let style = lines.page.colors.refuse;
            let is_said = resource == refusal.attribute.to_string();
            let words = if is_said {
                code.to_owned()
            } else {
                format!("{code} {resource}")
            };
            lines.line('!', style, &refusal.attribute, &words)?;
        }
        lines.end()?;
        for note in &record.notes {
            self.text += &wrapped(&format!("note: {}", Harmless(note)), "  ", self.form.width);
        }
        writeln!(self.text)
    }

    fn groups(
        &mut self,
        title: &str,
        sign: char,
        style: Style,
        groups: &[Group<'_>],
    ) -> fmt::Result {
        if groups.is_empty() {
            return Ok(());
        }
        let bold = self.colors.title;
        writeln!(self.text, "{bold}{title}{bold:#}")?;
        for group in groups {
            let count = group.members.len();
            let times = if count == 1 {
                String::new()
            } else {
                format!("  ({} times)", Number(count))
            };
            let first = Harmless(&group.title);
            writeln!(self.text, "  {style}{sign} {first}{style:#}{times}")?;
            self.text += &wrapped(&one_line(&group.message), "      ", self.form.width);
            let members: Vec<String> = group
                .members
                .iter()
                .map(|(record, resource)| {
                    let resource = resource
                        .as_ref()
                        .map(|text| format!("  {}", Harmless(text)));
                    format!("{}{}", named(record), resource.unwrap_or_default())
                })
                .collect();
            self.list("      ", &members)?;
        }
        writeln!(self.text)
    }

    /// One line each, and a number for those beyond the first.
    fn list(&mut self, indent: &str, lines: &[String]) -> fmt::Result {
        let most = if self.survey.named {
            usize::MAX
        } else {
            LINES_MAX
        };
        for line in lines.iter().take(most) {
            writeln!(self.text, "{indent}{line}")?;
        }
        let more = lines.len().saturating_sub(most);
        if more > 0 {
            writeln!(
                self.text,
                "{indent}… and {} more; --json lists them all",
                Number(more)
            )?;
        }
        Ok(())
    }

    /// The images that would be left as they are.
    fn others(&mut self) -> fmt::Result {
        let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in self.survey.records() {
            if let Some(reason) = reason(record, self.survey.named) {
                by_reason.entry(reason).or_default().push(named(record));
            }
        }
        for (reason, images) in by_reason {
            writeln!(self.text, "{}", Harmless(&reason))?;
            self.list("  ", &images)?;
            writeln!(self.text)?;
        }
        let public: Vec<String> = self.survey.public_without_directives().map(named).collect();
        if !public.is_empty() {
            let danger = self.colors.danger;
            let title = "PUBLIC: every AWS account, though no tag and no rule says so; left alone";
            writeln!(self.text, "{danger}{title}{danger:#}")?;
            self.list("  ", &public)?;
            writeln!(self.text)?;
        }
        Ok(())
    }

    /// Who may launch what, now.
    fn inventory(&mut self) -> fmt::Result {
        let mut by_grantee: BTreeMap<(bool, &Grantee), Vec<String>> = BTreeMap::new();
        let mut shared = 0;
        for looked in &self.survey.images {
            let mut is_shared = false;
            for access in &looked.access {
                if access.standing == Standing::Added {
                    continue;
                }
                is_shared = true;
                let why: Vec<String> = access.reasons.iter().map(Reason::words).collect();
                let why = match (access.standing, why.is_empty()) {
                    (Standing::Removed, _) => format!("would lose access: {}", why.join("; ")),
                    (_, true) => "nobody says why".to_owned(),
                    (_, false) => why.join("; "),
                };
                let line = format!("{}  ({})", named(&looked.record), Harmless(&why));
                let place = (access.grantee != Grantee::All, &access.grantee);
                by_grantee.entry(place).or_default().push(line);
            }
            shared += usize::from(is_shared);
        }
        let bold = self.colors.title;
        let title = format!(
            "Who may launch what, now: {} of {} shared",
            Number(shared),
            Count(self.survey.images.len(), "image")
        );
        writeln!(self.text, "{bold}{title}{bold:#}")?;
        for ((is_private, one), images) in &by_grantee {
            let style = if *is_private {
                Style::new()
            } else {
                self.colors.danger
            };
            let count = Count(images.len(), "image");
            writeln!(
                self.text,
                "  {style}{}{style:#}  {count}",
                Harmless(grantee(one))
            )?;
            self.list("      ", images)?;
        }
        writeln!(self.text)
    }

    fn usage(&mut self) -> fmt::Result {
        let bold = self.colors.title;
        writeln!(
            self.text,
            "{bold}In use by accounts that would lose access{bold:#}"
        )?;
        for (record, change) in self.survey.taking_away() {
            let Some(usage) = self.survey.usage.get(&record.id) else {
                continue;
            };
            let (asked, accounts) = match usage {
                Usage::Known { asked, accounts } => (asked, accounts),
                Usage::Pending => {
                    let text = "EC2 is still at work on the report; ask again later";
                    writeln!(self.text, "  {}: {text}", named(record))?;
                    continue;
                }
                Usage::Unknown(reason) => {
                    let text = format!("{}: unknown: {}", named(record), one_line(reason));
                    self.text += &wrapped(&text, "  ", self.form.width);
                    continue;
                }
            };
            let mut lines = Vec::new();
            for (account, resources) in accounts {
                let is_hit = match &self.survey.account {
                    Some(owner) => is_hit(account, change, owner),
                    None => true,
                };
                if is_hit {
                    lines.push(format!("{account}: {}", usage::words(resources)));
                }
            }
            let of = asked
                .as_ref()
                .map(|time| format!("  (report of {})", seconds(time)));
            writeln!(self.text, "  {}{}", named(record), of.unwrap_or_default())?;
            if lines.is_empty() {
                writeln!(self.text, "      nobody")?;
            }
            self.list("      ", &lines)?;
        }
        let late = "A report may miss instances of the last 24 hours and launch templates of the \
            last days.";
        self.text += &wrapped(late, "  ", self.form.width);
        writeln!(self.text)
    }

    fn keys(&mut self, keys: &[KeyAdvice]) -> fmt::Result {
        let bold = self.colors.title;
        let intro = "Statements for key policies. Recipients need the same in an IAM policy of \
            their own account.";
        writeln!(self.text, "{bold}Keys{bold:#}")?;
        if keys.is_empty() {
            writeln!(self.text, "  No image that was looked at needs a key.\n")?;
            return Ok(());
        }
        self.text += &wrapped(intro, "  ", self.form.width);
        writeln!(self.text)?;
        for advice in keys {
            let count = Count(advice.images.len(), "image");
            writeln!(
                self.text,
                "  {bold}{}{bold:#}  {count}",
                Harmless(&advice.key)
            )?;
            let without: Vec<&str> = advice.without_key.iter().map(Grantee::as_str).collect();
            if !without.is_empty() {
                let text = format!("certainly cannot use it now: {}", without.join(", "));
                self.text += &wrapped(&text, "  ", self.form.width);
            }
            for note in &advice.notes {
                self.text += &wrapped(&one_line(note), "  ", self.form.width);
            }
            if !advice.statements.is_empty() {
                let json = serde_json::to_string_pretty(&advice.statements);
                writeln!(self.text, "{}", json.map_err(|_| fmt::Error)?)?;
            }
            writeln!(self.text)?;
        }
        Ok(())
    }

    fn last_line(&mut self, totals: &Totals) -> fmt::Result {
        let Colors { title, danger, .. } = self.colors;
        let public = match totals.to_publish {
            0 => String::new(),
            count => format!(" {danger}{} to make PUBLIC{danger:#},", Number(count)),
        };
        let mut text = format!(
            "{title}Plan:{title:#} {} to change;{public} {} to add, {} to remove",
            Count(totals.to_change, "image"),
            Count(totals.to_add, "grantee"),
            Number(totals.to_remove),
        );
        let mut also = |number: usize, words: &str| {
            if number > 0 {
                text += &format!(", {} {words}", Number(number));
            }
        };
        also(totals.to_unpublish, "no longer public");
        also(totals.copiers_to_add, "allowed to copy");
        also(totals.copiers_to_remove, "no longer allowed to copy");
        text += &format!("; {}", Count(totals.refusals, "refusal"));
        text += &format!(
            "; {} unchanged, {} skipped",
            Number(totals.unchanged),
            Number(totals.skipped)
        );
        for (number, word) in [(totals.deferred, "deferred"), (totals.failed, "failed")] {
            if number > 0 {
                text += &format!(", {} {word}", Number(number));
            }
        }
        if self.form.wraps_totals {
            self.text += &wrapped(&format!("{text}."), "", self.form.width);
            return Ok(());
        }
        writeln!(self.text, "{text}.")
    }
}

/// Whether the image would be made public.
fn publishes(record: &ImageRecord) -> bool {
    record
        .changes
        .iter()
        .any(|proposed| match &proposed.change {
            Change::LaunchPermission(change) => change.makes_public(),
            _ => false,
        })
}

/// The id of an image, and its name.
fn named(record: &ImageRecord) -> String {
    let name = record
        .name
        .as_deref()
        .map(|name| format!("  {}", Harmless(name)));
    format!("{}{}", record.id, name.unwrap_or_default())
}

/// Why an image would be left as it is; `None` if it would not, or if nobody needs to hear of it.
fn reason(record: &ImageRecord, named: bool) -> Option<String> {
    Some(match (record.outcome, &record.skipped) {
        (Outcome::Deferred, _) => "Deferred: pending, and looked at when available".to_owned(),
        (_, Some(SkipReason::Hold)) => "Skipped: the tag hold says so".to_owned(),
        (_, Some(SkipReason::State(state))) => format!("Skipped: the state is {state}"),
        (_, Some(SkipReason::NotFound)) => {
            "Not there, or not an image of this account and Region".to_owned()
        }
        (_, Some(SkipReason::NoDirectives)) if named => {
            "Skipped: no tag and no rule says anything".to_owned()
        }
        (Outcome::Unchanged, _) if named => "As wanted".to_owned(),
        _ => return None,
    })
}

fn seconds(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The changes and refusals of one image. The authors are said once for each attribute.
struct Lines<'a, 'b> {
    page: &'a mut Page<'b>,
    record: &'a ImageRecord,
    attribute: Option<Attribute>,
    sign: char,
    in_a_row: usize,
    left_out: usize,
}

impl Lines<'_, '_> {
    fn change(&mut self, change: &Change) -> fmt::Result {
        let attribute = change.attribute();
        match change {
            Change::CopyPermission(copy) => {
                for account in &copy.accounts {
                    let words = format!("{account} of {}", copy.snapshot);
                    match copy.direction {
                        Direction::Add => self.line('+', self.page.colors.add, &attribute, &words),
                        Direction::Remove => {
                            self.line('-', self.page.colors.remove, &attribute, &words)
                        }
                    }?;
                }
                Ok(())
            }
            Change::LaunchPermission(grants) => {
                let Colors {
                    add,
                    remove,
                    danger,
                    ..
                } = *self.page.colors;
                // Nobody should overlook it among a thousand accounts.
                if grants.makes_public() {
                    self.line('+', danger, &attribute, grantee(&Grantee::All))?;
                }
                for one in &grants.add {
                    if *one != Grantee::All {
                        self.line('+', add, &attribute, grantee(one))?;
                    }
                }
                for one in &grants.remove {
                    self.line('-', remove, &attribute, grantee(one))?;
                }
                Ok(())
            }
            change => {
                let style = self.page.colors.change;
                self.line('~', style, &attribute, &from_to(change))
            }
        }
    }

    fn line(
        &mut self,
        sign: char,
        style: Style,
        attribute: &Attribute,
        words: &str,
    ) -> fmt::Result {
        let is_first = self.attribute.as_ref() != Some(attribute);
        if is_first || self.sign != sign {
            self.end()?;
        }
        self.in_a_row += 1;
        self.sign = sign;
        if self.in_a_row > LINES_MAX && !self.page.survey.named {
            self.left_out += 1;
            return Ok(());
        }
        let aside = self.page.colors.aside;
        let name = Harmless(&attribute.to_string()).to_string();
        let width = self.page.form.width;
        let room = width.saturating_sub(WORDS_COLUMN).max(width / 3);
        let words = wrapped(&Harmless(words).to_string(), "", room);
        let text = &mut self.page.text;
        let mut column = 0;
        for (number, line) in words.lines().enumerate() {
            if number == 0 {
                write!(text, "  {style}{sign} {name:<16}  {line}{style:#}")?;
                column = WORDS_COLUMN.max(6 + name.chars().count()) + line.chars().count();
            } else {
                write!(text, "\n{:WORDS_COLUMN$}{style}{line}{style:#}", "")?;
                column = WORDS_COLUMN + line.chars().count();
            }
        }
        let mut stated = self.record.directives.iter();
        let directive = stated.find(|directive| directive.attribute == *attribute);
        if is_first && let Some(directive) = directive {
            let sources: Vec<String> = directive.sources.iter().map(source).collect();
            let sources = format!("({})", Harmless(&sources.join(", ")));
            if column + 2 + sources.chars().count() > width {
                write!(text, "\n{:WORDS_COLUMN$}{aside}{sources}{aside:#}", "")?;
            } else {
                write!(text, "  {aside}{sources}{aside:#}")?;
            }
        }
        self.attribute = Some(attribute.clone());
        writeln!(self.page.text)
    }

    /// Ends lines that are alike.
    fn end(&mut self) -> fmt::Result {
        if self.left_out > 0 {
            let (sign, more) = (self.sign, Number(self.left_out));
            writeln!(
                self.page.text,
                "  {sign} … and {more} more; --json lists them all"
            )?;
        }
        (self.in_a_row, self.left_out) = (0, 0);
        Ok(())
    }
}

/// A value before and after its change.
pub fn from_to(change: &Change) -> String {
    let quoted = |text: &Option<String>| match text {
        Some(text) => format!("{text:?}"),
        None => "unset".to_owned(),
    };
    match change {
        Change::Description { from, to } => format!("{} -> {to:?}", quoted(from)),
        Change::ImdsSupport { from, to } => {
            format!(
                "{} -> {:?}, which is irreversible",
                quoted(from),
                to.as_str()
            )
        }
        Change::Deprecation { from, to } => {
            let to = to.as_ref().map_or("never".to_owned(), seconds);
            format!("{} -> {to}", from.as_deref().unwrap_or("never"))
        }
        Change::SharedTag { from, to, .. } => format!("{} -> {}", quoted(from), quoted(to)),
        Change::CopyPermission(_) | Change::LaunchPermission(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use ami_warden::{ChangeRecord, Effect};
    use ami_warden_core::{LaunchPermissionChange, testing::grantees};

    fn rendered(changes: Vec<Change>, width: usize, named: bool) -> String {
        let mut survey = Survey::sample(&["golden"]);
        survey.named = named;
        let proposed = |change| ChangeRecord {
            change,
            effect: Effect::Proposed,
        };
        survey.images[0].record.changes = changes.into_iter().map(proposed).collect();
        let colors = Colors::NONE;
        let form = Form {
            colors,
            width,
            wraps_totals: true,
            inventory: false,
        };
        render(&survey, None, &form)
    }

    #[test]
    fn nothing_is_wider_than_the_terminal_but_an_arn_that_stays_whole() {
        let description = "a long description with many words ".repeat(7);
        let unit = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";
        let change =
            LaunchPermissionChange::new(&grantees(""), grantees(unit), grantees(""), false);
        let changes = vec![
            Change::Description {
                from: None,
                to: description,
            },
            Change::LaunchPermission(change.unwrap()),
        ];
        for width in [60, 80, 120] {
            let text = rendered(changes.clone(), width, false);
            for line in text.lines().filter(|line| !line.contains(unit)) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            assert!(text.contains(unit), "{text}");
        }
    }

    #[test]
    fn a_thousand_grantees_are_some_lines_and_a_number_unless_the_image_was_named() {
        let accounts: Vec<String> = (0..1000).map(|number| format!("{number:012}")).collect();
        let add = grantees(&accounts.join(" "));
        let change = LaunchPermissionChange::new(&grantees(""), add, grantees(""), false).unwrap();
        let changes = vec![Change::LaunchPermission(change)];
        let text = rendered(changes.clone(), 80, false);
        assert!(
            text.contains("  + … and 980 more; --json lists them all\n"),
            "{text}"
        );
        assert_eq!(text.matches("+ launchPermission").count(), 20);
        assert_eq!(
            rendered(changes, 80, true)
                .matches("+ launchPermission")
                .count(),
            1000
        );
    }

    #[test]
    fn no_colours_are_no_escape_sequences() {
        let Colors {
            title,
            add,
            remove,
            change,
            refuse,
            danger,
            aside,
        } = Colors::NONE;
        for style in [title, add, remove, change, refuse, danger, aside] {
            assert_eq!(format!("{style}x{style:#}"), "x");
        }
    }
}
