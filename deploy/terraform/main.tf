# ami-warden from the files of a release, as one CloudFormation stack. Nothing is described twice: the template of the release is deployed as
# it is, so its rules, its conditions and deploy/README.md hold here too.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "template_file" {
  description = "The plain template of a release: ami-warden-VERSION.yaml."
  type        = string
}

variable "name" {
  description = "Name of the stack."
  type        = string
  default     = "ami-warden"
}

variable "tags" {
  description = "Tags of the stack and of all that it makes."
  type        = map(string)
  default     = {}
}

locals {
  parameters = {
    CodeBucketPrefix             = var.code_bucket_prefix
    CodeKey                      = var.code_key
    CodeObjectVersion            = var.code_object_version
    CodeSha256                   = var.code_sha256
    CodeSigningProfileVersionArn = var.code_signing_profile_version_arn
    TagPrefix                    = var.tag_prefix
    AllowPublic                  = var.allow_public == null ? null : tostring(var.allow_public)
    AllowedGrantees              = var.allowed_grantees == null ? null : join(" ", var.allowed_grantees)
    AllowedGranteesParameter     = var.allowed_grantees_parameter
    OrganizationArn              = var.organization_arn
    PolicyPath                   = var.policy_path
    AllowedCopiers               = var.allowed_copiers == null ? null : join(" ", var.allowed_copiers)
    SharedTags                   = var.shared_tags == null ? null : join(",", var.shared_tags)
    ShareBackups                 = var.share_backups == null ? null : tostring(var.share_backups)
    MaxFindingSeverity           = var.max_finding_severity
    KeyCheck                     = var.key_check
    MaxRemovals                  = var.max_removals == null ? null : tostring(var.max_removals)
    DryRun                       = var.dry_run == null ? null : tostring(var.dry_run)
    StatusTag                    = var.status_tag
    Architecture                 = var.architecture
    MemorySize                   = var.memory_size == null ? null : tostring(var.memory_size)
    ReservedConcurrency          = var.reserved_concurrency == null ? null : tostring(var.reserved_concurrency)
    SweepSchedule                = var.sweep_schedule
    CloudTrailEvents             = var.cloud_trail_events == null ? null : tostring(var.cloud_trail_events)
    PermissionsBoundaryArn       = var.permissions_boundary_arn
    PermissionsBoundaryName      = var.permissions_boundary_name
    KmsKeyArn                    = var.kms_key_arn
    LogRetentionDays             = var.log_retention_days == null ? null : tostring(var.log_retention_days)
    Alarms                       = var.alarms == null ? null : tostring(var.alarms)
    AlarmTopicArn                = var.alarm_topic_arn
    Dashboard                    = var.dashboard == null ? null : tostring(var.dashboard)
  }
}

resource "aws_cloudformation_stack" "this" {
  name          = var.name
  template_body = file(var.template_file)
  capabilities  = ["CAPABILITY_IAM"]
  parameters    = { for name, value in local.parameters : name => value if value != null }
  tags          = var.tags
}

output "outputs" {
  description = "The outputs of the stack: FunctionName, FunctionArn, RoleArn, LogGroupName, the URLs of the queues, DashboardUrl."
  value       = aws_cloudformation_stack.this.outputs
}

output "stack_id" {
  description = "The stack's id."
  value       = aws_cloudformation_stack.this.id
}
