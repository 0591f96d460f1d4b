//! Who uses an image, by EC2's usage reports: asked before access is taken away.
//!
//! EC2 makes reports on request, keeps them for 30 days, and works on one for an image at a time.
//! So reports that are there are used, and a new one is asked for where there is none.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ami_warden::{CallError, FILTER_VALUES_MAX, ReportState, Retry, UsageReport, UsageReports};
use ami_warden_core::{AccountId, Grantee, ImageId, LaunchPermissionChange};
use chrono::{DateTime, Utc};
use indicatif::ProgressBar;
use tokio::time::Instant;

/// How long reports are waited for.
const REPORTS_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// The first and the longest pause between two looks at the reports.
const LOOK_PAUSE_MIN: Duration = Duration::from_secs(2);
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(20);

/// The use of an image, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Usage {
    /// A report tells it.
    Known {
        /// When the report was asked for.
        asked: Option<DateTime<Utc>>,
        /// The number of resources by account and type.
        accounts: BTreeMap<AccountId, BTreeMap<String, u64>>,
    },
    /// EC2 has not finished the report yet.
    Pending,
    /// There is no report, for this reason.
    Unknown(String),
}

/// Finds out who uses these images.
pub async fn usage<U: UsageReports>(
    reports: &U,
    retry: &Retry,
    images: &BTreeSet<ImageId>,
    bar: &ProgressBar,
) -> BTreeMap<ImageId, Usage> {
    let images: Vec<ImageId> = images.iter().copied().collect();
    let mut usage = BTreeMap::new();
    for images in images.chunks(FILTER_VALUES_MAX) {
        let mut batch = Batch {
            reports,
            retry,
            images,
            ready: BTreeMap::new(),
            asked: BTreeSet::new(),
            given_up: BTreeSet::new(),
            told: BTreeMap::new(),
        };
        if let Err(error) = batch.find_out(bar).await {
            for id in images {
                let unknown = Usage::Unknown(error.to_string());
                batch.told.entry(*id).or_insert(unknown);
            }
        }
        usage.extend(batch.told);
    }
    usage
}

/// Images whose reports are looked at with one call.
struct Batch<'a, U> {
    reports: &'a U,
    retry: &'a Retry,
    images: &'a [ImageId],
    /// The reports that can be read, by their ids.
    ready: BTreeMap<String, UsageReport>,
    /// The images for which a report was asked for.
    asked: BTreeSet<ImageId>,
    /// The failed reports in whose place another was asked for.
    given_up: BTreeSet<String>,
    told: BTreeMap<ImageId, Usage>,
}

impl<U: UsageReports> Batch<'_, U> {
    async fn find_out(&mut self, bar: &ProgressBar) -> Result<(), CallError> {
        let until = Instant::now() + REPORTS_WAIT_MAX;
        let mut pause = LOOK_PAUSE_MIN;
        let mut open: BTreeSet<ImageId> = self.images.iter().copied().collect();
        loop {
            let newest = self.newest().await?;
            for id in open.clone() {
                if !self.is_settled(id, newest.get(&id)).await {
                    continue;
                }
                open.remove(&id);
                bar.inc(1);
            }
            if open.is_empty() || Instant::now() + pause > until {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LOOK_PAUSE_MAX);
        }
        for id in open {
            self.tell(id, Usage::Pending);
            bar.inc(1);
        }
        self.read().await
    }

    /// Whether there is nothing to wait for any more, after a look at the image's newest report.
    /// Asks for a report where there is none, and once more for one that did not come about.
    async fn is_settled(&mut self, id: ImageId, newest: Option<&UsageReport>) -> bool {
        if let Some(report) = newest {
            match report.state {
                ReportState::Pending => return false,
                ReportState::Available => {
                    self.ready.insert(report.id.clone(), report.clone());
                    return true;
                }
                ReportState::Failed(_) => {}
            }
        }
        if self.asked.insert(id) {
            self.given_up.extend(newest.map(|report| report.id.clone()));
            let Err(error) = self.ask_for(id).await else {
                return false;
            };
            self.tell(id, Usage::Unknown(error.to_string()));
            return true;
        }
        let Some(report) = newest else {
            return false;
        };
        match &report.state {
            ReportState::Failed(reason) if !self.given_up.contains(&report.id) => {
                let unknown = format!("EC2 made no usage report: {reason}");
                self.tell(id, Usage::Unknown(unknown));
                true
            }
            // The new report is not shown yet.
            _ => false,
        }
    }

    fn tell(&mut self, id: ImageId, usage: Usage) {
        self.told.insert(id, usage);
    }

    /// The newest report of each image: one that can be read before one that is still pending, and
    /// that before one that failed.
    async fn newest(&self) -> Result<BTreeMap<ImageId, UsageReport>, CallError> {
        let mut newest: BTreeMap<ImageId, UsageReport> = BTreeMap::new();
        let mut token: Option<String> = None;
        loop {
            let call = async || self.reports.reports_of(self.images, token.as_deref()).await;
            let attempts = self.retry.attempts();
            let page = attempts.call("DescribeImageUsageReports", call).await?;
            for report in page.items {
                // EC2 works on one for an image at a time, so a pending one must be waited for
                // anyway.
                if !report.is_whole && report.state != ReportState::Pending {
                    continue;
                }
                let known = newest.get(&report.image);
                if known.is_none_or(|known| rank(known) < rank(&report)) {
                    newest.insert(report.image, report);
                }
            }
            token = page.next;
            if token.is_none() {
                return Ok(newest);
            }
        }
    }

    async fn ask_for(&self, id: ImageId) -> Result<(), CallError> {
        // The same for every try of this call, so that none of them makes a second report.
        let token = format!("ami-warden-plan-{id}-{}", Utc::now().timestamp_micros());
        let call = async || self.reports.create_report(id, &token).await;
        self.retry
            .attempts()
            .call("CreateImageUsageReport", call)
            .await
            .map(drop)
    }

    async fn read(&mut self) -> Result<(), CallError> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = self.ready.keys().cloned().collect();
        let mut found: BTreeMap<ImageId, Usage> = BTreeMap::new();
        for report in self.ready.values() {
            let known = Usage::Known {
                asked: report.created,
                accounts: BTreeMap::new(),
            };
            found.insert(report.image, known);
        }
        let mut token: Option<String> = None;
        loop {
            let call = async || self.reports.report_entries(&ids, token.as_deref()).await;
            let attempts = self.retry.attempts();
            let page = attempts
                .call("DescribeImageUsageReportEntries", call)
                .await?;
            for entry in page.items {
                if let Some(report) = self.ready.get(&entry.report)
                    && let Some(Usage::Known { accounts, .. }) = found.get_mut(&report.image)
                {
                    let types = accounts.entry(entry.account).or_default();
                    *types.entry(entry.resource_type).or_default() += entry.count;
                }
            }
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        self.told.extend(found);
        Ok(())
    }
}

fn rank(report: &UsageReport) -> (u8, Option<DateTime<Utc>>) {
    let state = match report.state {
        ReportState::Failed(_) => 0,
        ReportState::Pending => 1,
        ReportState::Available => 2,
    };
    (state, report.created)
}

/// Whether the change may take the account's access away. An account that only an organization lets
/// in cannot be told apart, so it counts as hit when an organization, a unit or everybody is
/// removed.
pub fn is_hit(account: &AccountId, change: &LaunchPermissionChange, owner: &AccountId) -> bool {
    let own = Grantee::Account(account.clone());
    if account == owner || change.after.contains(&own) || change.after.contains(&Grantee::All) {
        return false;
    }
    let removes_many = change
        .remove
        .iter()
        .any(|grantee| !matches!(grantee, Grantee::Account(_)));
    removes_many || change.remove.contains(&own)
}

/// `15 instances, 4 launch templates`
pub fn words(resources: &BTreeMap<String, u64>) -> String {
    let mut parts = Vec::new();
    for (resource_type, count) in resources {
        let name = match resource_type.as_str() {
            "ec2:Instance" => "instance",
            "ec2:LaunchTemplate" => "launch template",
            other => other,
        };
        let plural = if *count == 1 { "" } else { "s" };
        parts.push(format!("{count} {name}{plural}"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use ami_warden::{Page, UsageEntry};
    use ami_warden_core::testing::grantees;

    use super::*;

    /// An EC2 that finishes a report when it was looked at often enough.
    #[derive(Default)]
    struct Reports {
        reports: RefCell<Vec<UsageReport>>,
        entries: Vec<UsageEntry>,
        /// So many looks leave a report pending.
        looks_pending: usize,
        looks: Cell<usize>,
        created: RefCell<Vec<ImageId>>,
        refuses: Option<&'static str>,
        /// So many looks do not show a report that was asked for.
        looks_behind: usize,
    }

    impl Reports {
        fn with(
            self,
            id: &str,
            image: ImageId,
            state: ReportState,
            day: u32,
            is_whole: bool,
        ) -> Self {
            let created = format!("2026-11-{day:02}T00:00:00Z").parse().ok();
            self.reports.borrow_mut().push(UsageReport {
                id: id.into(),
                image,
                state,
                created,
                is_whole,
            });
            self
        }

        fn entry(mut self, report: &str, account: &str, resource_type: &str, count: u64) -> Self {
            self.entries.push(UsageEntry {
                report: report.into(),
                account: account.parse().unwrap(),
                resource_type: resource_type.into(),
                count,
            });
            self
        }
    }

    impl UsageReports for Reports {
        async fn create_report(&self, image: ImageId, token: &str) -> Result<String, CallError> {
            if let Some(code) = self.refuses {
                return Err(CallError::answered(
                    "CreateImageUsageReport",
                    code,
                    400,
                    "No.",
                ));
            }
            assert!(token.len() <= 64, "{token}");
            self.created.borrow_mut().push(image);
            let id = format!("amiur-new-{image}");
            let state = ReportState::Pending;
            let report = UsageReport {
                id: id.clone(),
                image,
                state,
                created: None,
                is_whole: true,
            };
            self.reports.borrow_mut().push(report);
            Ok(id)
        }

        async fn reports_of(
            &self,
            images: &[ImageId],
            page: Option<&str>,
        ) -> Result<Page<UsageReport>, CallError> {
            if page.is_none() {
                self.looks.set(self.looks.get() + 1);
            }
            let mut reports = self.reports.borrow_mut();
            for report in reports.iter_mut() {
                if report.state == ReportState::Pending && self.looks.get() > self.looks_pending {
                    report.state = ReportState::Available;
                }
            }
            // One a page.
            let number: usize = page.map_or(0, |page| page.parse().unwrap());
            let is_shown = |report: &&UsageReport| {
                let is_new = report.id.starts_with("amiur-new");
                images.contains(&report.image) && (!is_new || self.looks.get() > self.looks_behind)
            };
            let of_these: Vec<_> = reports.iter().filter(is_shown).collect();
            let next = (number + 1 < of_these.len()).then(|| (number + 1).to_string());
            let items = of_these
                .get(number)
                .map(|report| (*report).clone())
                .into_iter()
                .collect();
            Ok(Page { items, next })
        }

        async fn report_entries(
            &self,
            reports: &[String],
            _: Option<&str>,
        ) -> Result<Page<UsageEntry>, CallError> {
            let of_these = self
                .entries
                .iter()
                .filter(|entry| reports.contains(&entry.report));
            Ok(Page {
                items: of_these.cloned().collect(),
                next: None,
            })
        }
    }

    fn id(number: u32) -> ImageId {
        format!("ami-{number:08x}").parse().unwrap()
    }

    async fn ask(reports: &Reports, numbers: &[u32]) -> BTreeMap<ImageId, Usage> {
        let retry = Retry::until(Instant::now() + Duration::from_secs(24 * 60 * 60));
        let images = numbers.iter().map(|number| id(*number)).collect();
        usage(reports, &retry, &images, &ProgressBar::hidden()).await
    }

    fn accounts(usage: &Usage) -> Vec<String> {
        let Usage::Known { accounts, .. } = usage else {
            panic!("{usage:?}")
        };
        accounts
            .iter()
            .map(|(account, types)| format!("{account}: {}", words(types)))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_is_asked_for_once_waited_for_and_told_by_account() {
        let new = format!("amiur-new-{}", id(1));
        let reports = Reports {
            looks_pending: 5,
            ..Reports::default()
        }
        .entry(&new, "444455556666", "ec2:Instance", 15)
        .entry(&new, "444455556666", "ec2:LaunchTemplate", 4)
        .entry(&new, "222233334444", "ec2:Instance", 1);
        let told = ask(&reports, &[1]).await;
        assert_eq!(
            accounts(&told[&id(1)]),
            [
                "222233334444: 1 instance",
                "444455556666: 15 instances, 4 launch templates"
            ]
        );
        assert_eq!(*reports.created.borrow(), [id(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn reports_that_are_there_are_used_the_newest_that_can_be_read() {
        let reports = Reports {
            looks_pending: 9,
            ..Reports::default()
        }
        .with("old", id(1), ReportState::Available, 1, true)
        .with("new", id(1), ReportState::Available, 20, true)
        .with("narrow", id(1), ReportState::Available, 25, false)
        .with("broken", id(1), ReportState::Failed("x".into()), 26, true)
        .with("pending", id(2), ReportState::Pending, 26, true)
        .entry("old", "444455556666", "ec2:Instance", 1)
        .entry("new", "444455556666", "ec2:Instance", 2)
        .entry("narrow", "444455556666", "ec2:Instance", 3)
        .entry("pending", "555566667777", "ec2:Instance", 4);
        let told = ask(&reports, &[1, 2]).await;
        assert_eq!(accounts(&told[&id(1)]), ["444455556666: 2 instances"]);
        assert_eq!(accounts(&told[&id(2)]), ["555566667777: 4 instances"]);
        assert_eq!(*reports.created.borrow(), [], "none is asked for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_does_not_come_is_pending_and_one_that_cannot_be_made_has_a_reason() {
        let reports = Reports {
            looks_pending: usize::MAX,
            ..Reports::default()
        };
        assert_eq!(ask(&reports, &[1]).await[&id(1)], Usage::Pending);

        let reports = Reports {
            refuses: Some("UnauthorizedOperation"),
            ..Reports::default()
        };
        let told = ask(&reports, &[1]).await;
        let Usage::Unknown(reason) = &told[&id(1)] else {
            panic!("{told:?}")
        };
        assert!(
            reason.contains("CreateImageUsageReport failed with UnauthorizedOperation"),
            "{reason}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_did_not_come_about_is_asked_for_once_more() {
        let new = format!("amiur-new-{}", id(1));
        let reports = Reports {
            looks_behind: 3,
            ..Reports::default()
        }
        .with("old", id(1), ReportState::Failed("x".into()), 1, true)
        .entry(&new, "444455556666", "ec2:Instance", 2);
        let told = ask(&reports, &[1]).await;
        assert_eq!(accounts(&told[&id(1)]), ["444455556666: 2 instances"]);
        assert_eq!(*reports.created.borrow(), [id(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_without_users_has_a_report_without_accounts() {
        let told = ask(&Reports::default(), &[1]).await;
        assert_eq!(accounts(&told[&id(1)]), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn three_hundred_images_are_asked_about_in_parts() {
        let numbers: Vec<u32> = (0..300).collect();
        let reports = Reports::default();
        assert_eq!(ask(&reports, &numbers).await.len(), 300);
        assert_eq!(reports.created.borrow().len(), 300);
    }

    #[test]
    fn those_are_hit_who_may_lose_their_access() {
        let organization = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
        let owner = "111122223333".parse().unwrap();
        for (before, remove, account, hit) in [
            ("444455556666", "444455556666", "444455556666", true),
            (
                "444455556666 555566667777",
                "444455556666",
                "555566667777",
                false,
            ),
            ("444455556666", "444455556666", "999999999999", false),
            (
                &*format!("{organization} 444455556666"),
                organization,
                "555566667777",
                true,
            ),
            (
                &*format!("{organization} 444455556666"),
                organization,
                "444455556666",
                false,
            ),
            ("all", "all", "555566667777", true),
            ("all", "all", "111122223333", false),
            ("all 444455556666", "444455556666", "444455556666", false),
        ] {
            let before = grantees(before);
            let change =
                LaunchPermissionChange::new(&before, grantees(""), grantees(remove), false);
            assert_eq!(
                is_hit(&account.parse().unwrap(), &change.unwrap(), &owner),
                hit,
                "{account}"
            );
        }
    }
}
