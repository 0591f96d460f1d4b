//! The results of Amazon Inspector's scan of an image, as `DescribeImages` shows them.

use std::{fmt, str::FromStr};

/// How severe a finding is; `None` is below the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the labels are EC2's own")]
pub enum Severity {
    /// No finding at all.
    None,
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// Every severity, from the lowest.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Informational,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// EC2's label, or `none`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected none, informational, low, medium, high or critical")]
pub struct NotASeverity;

impl FromStr for Severity {
    type Err = NotASeverity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.as_str() == text)
            .ok_or(NotASeverity)
    }
}

/// Whether an image was scanned, and the worst finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scan {
    /// `DescribeImages` shows no scan result.
    #[default]
    Unscanned,
    /// The highest severity found; [`Severity::None`] for a scan without findings.
    Scanned(Severity),
    /// A result whose severity cannot be read: as bad as it can be.
    Unreadable,
}

impl Scan {
    /// The highest severity that the scan may have found; `None` without a scan.
    #[must_use]
    pub fn worst(self) -> Option<Severity> {
        match self {
            Self::Unscanned => None,
            Self::Scanned(severity) => Some(severity),
            Self::Unreadable => Some(Severity::Critical),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_is_read_as_it_is_written_and_in_no_other_way() {
        for severity in Severity::ALL {
            assert_eq!(severity.to_string().parse(), Ok(severity));
        }
        assert_eq!("high".parse(), Ok(Severity::High));
        for text in ["", "High", "high ", "severe"] {
            assert_eq!(text.parse::<Severity>(), Err(NotASeverity), "{text}");
        }
    }

    #[test]
    fn a_scan_that_cannot_be_read_is_as_bad_as_it_can_be() {
        assert_eq!(Scan::Unscanned.worst(), None);
        assert_eq!(Scan::Scanned(Severity::Low).worst(), Some(Severity::Low));
        assert_eq!(Scan::Unreadable.worst(), Some(Severity::Critical));
    }
}
