//! Words for people: text from elsewhere made harmless, and text that fits into the terminal.

use std::fmt::{self, Display, Write};

use ami_warden_core::Grantee;
use textwrap::Options;

/// The width of text that goes to a file or into a pipe.
pub const WIDTH_ELSEWHERE: usize = 100;

/// Narrower than this, words would be torn apart.
const WIDTH_MIN: usize = 40;

/// Text from elsewhere: a tag may hold any character, and must neither drive the terminal nor turn
/// around the words beside it.
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

/// A number of things: `1 image`, `3,000 images`.
pub struct Count(pub usize, pub &'static str);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}{}",
            Number(self.0),
            self.1,
            if self.0 == 1 { "" } else { "s" }
        )
    }
}

/// A number with its thousands apart.
pub struct Number(pub usize);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A grantee as a person should read it: `all` looks like nothing special.
pub fn grantee(grantee: &Grantee) -> &str {
    match grantee {
        Grantee::All => "PUBLIC: every AWS account",
        grantee => grantee.as_str(),
    }
}

/// One line, whatever the text holds: the messages of the SDK are several.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    Harmless(&words.join(" ")).to_string()
}

/// The width of the terminal; `None` where the text goes elsewhere.
pub fn terminal_width() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(width.0).max(WIDTH_MIN))
}

/// The text in lines of this width, each with this indent. Ids and ARNs are never torn apart.
pub fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let options = Options::new(width)
        .initial_indent(indent)
        .subsequent_indent(indent)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    let mut lines = textwrap::fill(text, options);
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_does_not_drive_the_terminal() {
        let text = "\u{1b}[2J \u{9b}2J \n \u{202e} ü 東 🦀 \"'\\";
        let harmless = r#"\u{1b}[2J \u{9b}2J \n \u{202e} ü 東 🦀 "'\"#;
        assert_eq!(Harmless(text).to_string(), harmless);
        assert_eq!(
            one_line("dispatch failure\n  caused by:\n\u{1b}x"),
            r"dispatch failure caused by: \u{1b}x"
        );
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(Number(number).to_string(), text);
        }
        assert_eq!(Count(1, "image").to_string(), "1 image");
        assert_eq!(Count(3000, "refusal").to_string(), "3,000 refusals");
    }

    #[test]
    fn lines_fit_and_arns_stay_whole() {
        let arn = "arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-ab12-cdef3456";
        let text = wrapped(
            &format!("a word before {arn} and some words behind it"),
            "    ",
            40,
        );
        assert_eq!(
            text,
            format!("    a word before\n    {arn}\n    and some words behind it\n")
        );
    }
}
