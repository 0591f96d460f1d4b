//! The usage reports of an account, as time and describing change them.

use chrono::{TimeDelta, Utc};

use crate::state::account::State;
use crate::state::usage::{ReportState, UsageReport};

impl State {
    /// Adds a report, or replaces it.
    pub fn add_usage_report(&mut self, report: UsageReport) {
        self.usage_reports.insert(report.report_id.clone(), report);
    }

    /// The reports that EC2 has not deleted yet.
    pub(crate) fn present_reports(&self) -> impl Iterator<Item = &UsageReport> {
        let now = Utc::now();
        let reports = self.usage_reports.values();
        reports.filter(move |report| report.expiration_time() > now)
    }

    pub(crate) fn report_state(&self, report: &UsageReport) -> ReportState {
        if let Some(state) = report.state {
            return state;
        }
        let age = Utc::now() - report.creation_time;
        let pace = self.report_pace;
        let is_ready = age >= TimeDelta::milliseconds(pace.ms.into());
        if is_ready && report.described >= pace.describes {
            ReportState::Available
        } else {
            ReportState::Pending
        }
    }

    /// Counts that reports were described.
    pub(crate) fn count_described(&mut self, ids: &[String]) {
        for id in ids {
            if let Some(report) = self.usage_reports.get_mut(id) {
                report.described = report.described.saturating_add(1);
            }
        }
    }
}
