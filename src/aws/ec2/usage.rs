//! The calls about usage reports.
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/your-ec2-ami-usage.html>

use ami_warden_core::{AccountId, ImageId};
use aws_sdk_ec2::{
    Client,
    types::{self, ImageUsageResourceTypeRequest},
};
use chrono::DateTime;

use crate::{
    act::{
        call_error::CallError,
        ports::{Page, ReportState, UsageEntry, UsageReport, UsageReports},
    },
    aws::{
        answer::filled,
        error::{call_error, incomplete},
    },
};

/// The types of resources that a report is about.
const RESOURCE_TYPES: [&str; 2] = ["ec2:Instance", "ec2:LaunchTemplate"];

/// Usage reports through the AWS SDK. It makes reports, which EC2 deletes after 30 days, and
/// changes no image.
#[derive(Debug, Clone)]
pub struct UsageReportsClient(Client);

impl UsageReportsClient {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }
}

impl UsageReports for UsageReportsClient {
    async fn create_report(&self, image: ImageId, token: &str) -> Result<String, CallError> {
        const OPERATION: &str = "CreateImageUsageReport";
        let mut call = self
            .0
            .create_image_usage_report()
            .image_id(image.to_string());
        for resource_type in RESOURCE_TYPES {
            let of_type = ImageUsageResourceTypeRequest::builder().resource_type(resource_type);
            call = call.resource_types(of_type.build());
        }
        let answer = call.client_token(token).send().await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        answer
            .report_id
            .ok_or_else(|| incomplete(OPERATION, "reportId"))
    }

    async fn reports_of(
        &self,
        images: &[ImageId],
        page: Option<&str>,
    ) -> Result<Page<UsageReport>, CallError> {
        const OPERATION: &str = "DescribeImageUsageReports";
        let ids = images.iter().map(ToString::to_string).collect();
        let call = self
            .0
            .describe_image_usage_reports()
            .set_image_ids(Some(ids));
        let answer = call.set_next_token(page.map(str::to_owned)).send().await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        let reports = answer.image_usage_reports.unwrap_or_default().into_iter();
        // A report without an id or an image answers for nothing.
        let items = reports.filter_map(read_report).collect();
        Ok(Page {
            items,
            next: filled(answer.next_token),
        })
    }

    async fn report_entries(
        &self,
        reports: &[String],
        page: Option<&str>,
    ) -> Result<Page<UsageEntry>, CallError> {
        const OPERATION: &str = "DescribeImageUsageReportEntries";
        let call = self.0.describe_image_usage_report_entries();
        let call = call.set_report_ids(Some(reports.to_vec()));
        let answer = call.set_next_token(page.map(str::to_owned)).send().await;
        let answer = answer.map_err(|error| call_error(OPERATION, &error))?;
        let mut items = Vec::new();
        for entry in answer.image_usage_report_entries.unwrap_or_default() {
            items.push(read_entry(entry).ok_or_else(|| incomplete(OPERATION, "whole entry"))?);
        }
        Ok(Page {
            items,
            next: filled(answer.next_token),
        })
    }
}

fn read_report(report: types::ImageUsageReport) -> Option<UsageReport> {
    let kinds = report.resource_types.unwrap_or_default();
    let has = |wanted: &&str| {
        kinds
            .iter()
            .any(|kind| kind.resource_type() == Some(*wanted))
    };
    let of_all_types = RESOURCE_TYPES.iter().all(has);
    let of_all_accounts = report.account_ids.unwrap_or_default().is_empty();
    let created = report
        .creation_time
        .and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()));
    Some(UsageReport {
        id: report.report_id?,
        image: report.image_id?.parse().ok()?,
        state: match report.state.as_deref() {
            Some("available") => ReportState::Available,
            Some("pending") => ReportState::Pending,
            // `error`, and states that AWS may add.
            state => {
                let reason = report.state_reason.or_else(|| state.map(str::to_owned));
                ReportState::Failed(reason.unwrap_or_else(|| "EC2 gives no reason".to_owned()))
            }
        },
        created,
        is_whole: of_all_types && of_all_accounts,
    })
}

fn read_entry(entry: types::ImageUsageReportEntry) -> Option<UsageEntry> {
    Some(UsageEntry {
        report: entry.report_id?,
        account: AccountId::from_aws(&entry.account_id?),
        resource_type: entry.resource_type?,
        count: entry.usage_count?.try_into().ok()?,
    })
}
