//! The EC2 actions, and nothing beside them: what is not in [`find`] is an `InvalidAction`.

mod answer;
mod attributes;
mod deprecation;
mod image_filters;
mod image_xml;
mod images;
mod launch_permission;
mod lifecycle;
mod listing;
mod named;
mod permissions;
mod public_access;
pub(crate) mod query;
mod snapshot_attributes;
mod snapshots;
mod tags;
mod usage_reports;

use crate::services::ec2::query::{Done, Query};
use crate::state::account::State;
use crate::wire::xml::Writer;

type Read = fn(&State, &mut Query, &mut Writer) -> Done;
type Write = fn(&mut State, &mut Query, &mut Writer) -> Done;

/// An action either reads or may change the state.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Read(Read),
    Write(Write),
}

pub(crate) fn find(name: &str) -> Option<Action> {
    Some(match name {
        "DescribeImages" => Action::Read(images::describe_images),
        "DescribeImageAttribute" => Action::Read(attributes::describe),
        "DescribeSnapshots" => Action::Read(snapshots::describe_snapshots),
        "DescribeSnapshotAttribute" => Action::Read(snapshot_attributes::describe),
        "GetImageBlockPublicAccessState" => Action::Read(public_access::get_state),
        "DescribeImageUsageReports" => Action::Read(usage_reports::describe),
        "DescribeImageUsageReportEntries" => Action::Read(usage_reports::describe_entries),
        "CreateImageUsageReport" => Action::Write(usage_reports::create),
        "ModifyImageAttribute" => Action::Write(attributes::modify),
        "ModifySnapshotAttribute" => Action::Write(snapshot_attributes::modify),
        "ResetImageAttribute" => Action::Write(attributes::reset),
        "EnableImageBlockPublicAccess" => Action::Write(public_access::enable),
        "DisableImageBlockPublicAccess" => Action::Write(public_access::disable),
        "EnableImageDeprecation" => Action::Write(deprecation::enable),
        "DisableImageDeprecation" => Action::Write(deprecation::disable),
        "EnableImage" => Action::Write(lifecycle::enable_image),
        "DisableImage" => Action::Write(lifecycle::disable_image),
        "DeregisterImage" => Action::Write(lifecycle::deregister_image),
        "CreateTags" => Action::Write(tags::create_tags),
        "DeleteTags" => Action::Write(tags::delete_tags),
        _ => return None,
    })
}

/// Whether an action may change the state.
pub(crate) fn is_write(name: &str) -> bool {
    matches!(find(name), Some(Action::Write(_)))
}
