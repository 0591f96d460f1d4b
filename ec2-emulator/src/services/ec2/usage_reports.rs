//! CreateImageUsageReport, DescribeImageUsageReports, DescribeImageUsageReportEntries.
//! Source: API Reference of these; EC2 User Guide, "View your AMI usage" (quotas). No real refusal
//! is known: the codes here are not confirmed, but for that of a client token used twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::services::caller::Caller;
use crate::services::ec2::answer::write_tags;
use crate::services::ec2::named::own_image;
use crate::services::ec2::query::{Done, Query};
use crate::state::account::State;
use crate::state::grantee::is_account;
use crate::state::image::timestamp;
use crate::state::resource_id::is_resource_id;
use crate::state::tags::Tags;
use crate::state::usage::{CoveredType, RESOURCE_TYPES, ReportState, Usage, UsageReport, now};
use crate::wire::error::ApiError;
use crate::wire::filter::Filter;
use crate::wire::page::Paging;
use crate::wire::query::Params;
use crate::wire::xml::Writer;

/// Of an account in a Region, pending ones and others.
const REPORTS_MAX: usize = 2000;
/// Ids of images, reports or accounts.
const IDS_PER_CALL_MAX: usize = 200;
const TOKEN_CHARACTERS_MAX: usize = 128;

pub(crate) fn create(state: &mut State, query: &mut Query, out: &mut Writer) -> Done {
    let params = &mut query.params;
    let fingerprint = params.fingerprint();
    let image_id = params.require("ImageId")?;
    let resource_types = take_types(params)?;
    let account_ids = take_accounts(params)?;
    let token = take_token(params)?;
    let tags = take_tags(params)?;
    let dry_run = params.finish()?;
    own_image(state, &image_id)?;
    dry_run.permitted()?;
    let request = token.map(|token| (token, fingerprint));
    if let Some((token, _)) = &request {
        let mut reports = state.present_reports();
        let same = reports.find(|r| r.request.as_ref().is_some_and(|(t, _)| t == token));
        if let Some(same) = same {
            return repeat(same, &request, out);
        }
    }
    check_quotas(state, &image_id)?;
    let report_id = loop {
        state.reports_made += 1;
        let id = format!("amiur-{:017x}", state.reports_made);
        if !state.usage_reports.contains_key(&id) {
            break id;
        }
    };
    let covers = |usage: &&Usage| {
        usage.image_id == image_id
            && resource_types
                .iter()
                .any(|t| t.resource_type == usage.resource_type)
            && (account_ids.is_empty() || account_ids.contains(&usage.account_id))
    };
    let entries: Vec<Usage> = state.usage.iter().filter(covers).cloned().collect();
    out.text("reportId", &report_id);
    state.add_usage_report(UsageReport {
        report_id,
        image_id,
        resource_types,
        account_ids,
        state: None,
        state_reason: None,
        creation_time: now(),
        tags,
        entries,
        described: 0,
        request,
    });
    Ok(())
}

/// The same request with the same token makes no further report. EC2 Developer Guide, "Ensuring
/// idempotency": other parameters with the same token are an error.
fn repeat(
    report: &UsageReport,
    request: &Option<(String, u64)>,
    out: &mut Writer,
) -> Result<(), ApiError> {
    if report.request != *request {
        let message = "The client token was used before, with other parameters.";
        return Err(ApiError::new("IdempotentParameterMismatch", message));
    }
    out.text("reportId", &report.report_id);
    Ok(())
}

fn check_quotas(state: &State, image_id: &str) -> Result<(), ApiError> {
    let mut reports = state.present_reports();
    let is_pending = |report: &UsageReport| {
        report.image_id == image_id && state.report_state(report) == ReportState::Pending
    };
    if reports.any(is_pending) {
        let message = format!("A usage report of {image_id} is pending already.");
        return Err(ApiError::new("ResourceLimitExceeded", message));
    }
    if state.present_reports().count() >= REPORTS_MAX {
        let message = format!("There are {REPORTS_MAX} usage reports already.");
        return Err(ApiError::new("ResourceLimitExceeded", message));
    }
    Ok(())
}

fn take_types(params: &mut Params) -> Result<Vec<CoveredType>, ApiError> {
    let mut types = Vec::new();
    for mut member in params.take_structs("ResourceType")? {
        let resource_type = member.require("ResourceType")?;
        let version_depth = take_depth(&mut member)?;
        member.finish_member()?;
        if !RESOURCE_TYPES.contains(&resource_type.as_str()) {
            let why = format!("Expecting one of {}.", RESOURCE_TYPES.join(", "));
            return Err(ApiError::invalid_value(
                "ResourceType",
                &resource_type,
                &why,
            ));
        }
        if version_depth.is_some() && resource_type != "ec2:LaunchTemplate" {
            let message = "Only ec2:LaunchTemplate has options.";
            return Err(ApiError::invalid_combination(message));
        }
        types.push(CoveredType {
            resource_type,
            version_depth,
        });
    }
    if types.is_empty() {
        return Err(ApiError::missing_parameter("ResourceType"));
    }
    Ok(types)
}

fn take_depth(member: &mut Params) -> Result<Option<u32>, ApiError> {
    let mut depth = None;
    for mut option in member.take_structs("ResourceTypeOption")? {
        let name = option.require("OptionName")?;
        let values = option.take_list("OptionValue")?;
        option.finish_member()?;
        let value = match values.as_slice() {
            [value] => value.parse::<u32>().ok(),
            _ => None,
        };
        let value = value.filter(|value| (1..=10_000).contains(value));
        if name != "version-depth" || value.is_none() || depth.is_some() {
            let why = "Expecting one version-depth from 1 to 10000.";
            return Err(ApiError::invalid_value("ResourceTypeOption", &name, why));
        }
        depth = value;
    }
    Ok(depth)
}

fn take_accounts(params: &mut Params) -> Result<BTreeSet<String>, ApiError> {
    let accounts = params.take_list("AccountId")?;
    check_count("AccountId", &accounts)?;
    if let Some(bad) = accounts.iter().find(|account| !is_account(account)) {
        return Err(ApiError::invalid_value(
            "AccountId",
            bad,
            "Expecting 12 digits.",
        ));
    }
    Ok(accounts.into_iter().collect())
}

fn take_token(params: &mut Params) -> Result<Option<String>, ApiError> {
    let token = params.take("ClientToken").filter(|token| !token.is_empty());
    match token {
        Some(token) if token.len() > TOKEN_CHARACTERS_MAX => {
            let why = format!("At most {TOKEN_CHARACTERS_MAX} characters.");
            Err(ApiError::invalid_value("ClientToken", &token, &why))
        }
        token => Ok(token),
    }
}

fn take_tags(params: &mut Params) -> Result<Tags, ApiError> {
    let mut tags = Tags::new();
    for mut member in params.take_structs("TagSpecification")? {
        let kind = member.require("ResourceType")?;
        if kind != "image-usage-report" {
            let why = "Expecting image-usage-report.";
            return Err(ApiError::invalid_value("ResourceType", &kind, why));
        }
        for mut tag in member.take_structs("Tag")? {
            let key = tag.require("Key")?;
            tags.insert(key, tag.take("Value").unwrap_or_default());
            tag.finish_member()?;
        }
        member.finish_member()?;
    }
    Ok(tags)
}

fn check_count(name: &str, ids: &[String]) -> Result<(), ApiError> {
    if ids.len() > IDS_PER_CALL_MAX {
        let message = format!("At most {IDS_PER_CALL_MAX} values of {name} are possible.");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    Ok(())
}

/// What both describing calls ask for.
struct Asked {
    paging: Paging,
    image_ids: Vec<String>,
    report_ids: Vec<String>,
    filters: Vec<Filter>,
}

impl Asked {
    fn take(state: &State, caller: &Caller, params: &mut Params) -> Result<Self, ApiError> {
        let paging = Paging::take_within(params, 1, caller.largest_page)?;
        let image_ids = params.take_list("ImageId")?;
        let report_ids = params.take_list("ReportId")?;
        let filters = Filter::take_all(params)?;
        params.finish()?.permitted()?;
        check_count("ImageId", &image_ids)?;
        check_count("ReportId", &report_ids)?;
        if let Some(malformed) = image_ids.iter().find(|id| !is_resource_id(id, "ami-")) {
            return Err(ApiError::image_malformed(malformed));
        }
        let known: BTreeSet<_> = state
            .present_reports()
            .map(|r| r.report_id.as_str())
            .collect();
        if let Some(unknown) = report_ids.iter().find(|id| !known.contains(id.as_str())) {
            let message = format!("The image usage report '{unknown}' does not exist");
            return Err(ApiError::new("InvalidImageUsageReportId.NotFound", message));
        }
        Ok(Self {
            paging,
            image_ids,
            report_ids,
            filters,
        })
    }

    /// The reports that are asked for by id.
    fn reports<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a UsageReport> {
        let named = |ids: &[String], id: &String| ids.is_empty() || ids.contains(id);
        state.present_reports().filter(move |report| {
            named(&self.image_ids, &report.image_id) && named(&self.report_ids, &report.report_id)
        })
    }
}

pub(crate) fn describe(state: &State, query: &mut Query, out: &mut Writer) -> Done {
    let Query { caller, params } = query;
    let asked = Asked::take(state, caller, params)?;
    for filter in &asked.filters {
        let name = filter.name.as_str();
        if !matches!(name, "creation-time" | "state") && !name.starts_with("tag:") {
            return Err(filter.unknown());
        }
    }
    let holds = |filter: &Filter, report: &UsageReport| match filter.name.as_str() {
        "creation-time" => filter.holds_for(&timestamp(report.creation_time)),
        "state" => filter.holds_for(state.report_state(report).as_str()),
        name => {
            let value = report.tags.get(name.trim_start_matches("tag:"));
            value.is_some_and(|value| filter.holds_for(value))
        }
    };
    let reports = asked.reports(state);
    let reports = reports.filter(|report| asked.filters.iter().all(|f| holds(f, report)));
    let reports = reports.filter(|r| asked.paging.after().is_none_or(|id| *r.report_id > *id));
    let reports = reports.map(|report| (report.report_id.as_str(), report));
    let (page, next) = asked.paging.cut(reports);
    out.items("imageUsageReportSet", page, |w, report| {
        w.resource(&report.report_id, |w| write_report(w, state, report));
    });
    out.optional("nextToken", next);
    Ok(())
}

fn write_report(w: &mut Writer, state: &State, report: &UsageReport) {
    w.text("imageId", &report.image_id);
    w.text("reportId", &report.report_id);
    w.items("resourceTypeSet", &report.resource_types, |w, covered| {
        w.text("resourceType", &covered.resource_type);
        if let Some(depth) = covered.version_depth {
            w.items("resourceTypeOptionSet", [depth], |w, depth| {
                w.text("optionName", "version-depth");
                w.element("optionValueSet", |w| w.text("item", depth.to_string()));
            });
        }
    });
    if !report.account_ids.is_empty() {
        w.element("accountIdSet", |w| {
            for account in &report.account_ids {
                w.text("item", account);
            }
        });
    }
    w.text("state", state.report_state(report).as_str());
    w.optional("stateReason", report.state_reason.as_ref());
    w.text("creationTime", timestamp(report.creation_time));
    w.text("expirationTime", timestamp(report.expiration_time()));
    write_tags(w, &report.tags);
}

/// A report that is not available has no entries yet.
pub(crate) fn describe_entries(state: &State, query: &mut Query, out: &mut Writer) -> Done {
    let Query { caller, params } = query;
    let asked = Asked::take(state, caller, params)?;
    for filter in &asked.filters {
        if !matches!(
            filter.name.as_str(),
            "account-id" | "creation-time" | "resource-type"
        ) {
            return Err(filter.unknown());
        }
    }
    let holds = |filter: &Filter, report: &UsageReport, usage: &Usage| match filter.name.as_str() {
        "account-id" => filter.holds_for(&usage.account_id),
        "resource-type" => filter.holds_for(&usage.resource_type),
        _ => filter.holds_for(&timestamp(report.creation_time)),
    };
    let mut entries = BTreeMap::new();
    for report in asked.reports(state) {
        if state.report_state(report) != ReportState::Available {
            continue;
        }
        for usage in &report.entries {
            if asked
                .filters
                .iter()
                .all(|filter| holds(filter, report, usage))
            {
                let id = &report.report_id;
                let key = format!("{id}/{}/{}", usage.account_id, usage.resource_type);
                entries.insert(key, (report, usage));
            }
        }
    }
    let entries = entries.iter().map(|(key, entry)| (key.as_str(), entry));
    let entries = entries.filter(|(key, _)| asked.paging.after().is_none_or(|after| *key > after));
    let (page, next) = asked.paging.cut(entries);
    out.items("imageUsageReportEntrySet", page, |w, (report, usage)| {
        w.resource(&report.report_id, |w| write_entry(w, report, usage));
    });
    out.optional("nextToken", next);
    Ok(())
}

fn write_entry(w: &mut Writer, report: &UsageReport, usage: &Usage) {
    w.text("resourceType", &usage.resource_type);
    w.text("reportId", &report.report_id);
    w.text("usageCount", usage.count.to_string());
    w.text("accountId", &usage.account_id);
    w.text("imageId", &usage.image_id);
    w.text("reportCreationTime", timestamp(report.creation_time));
}
