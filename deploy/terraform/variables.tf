# One variable for each parameter of the template. null stands for the default of the template, where each is described in full.

variable "code_bucket_prefix" {
  description = "The code is read from the bucket PREFIX-REGION, so that one template serves every Region."
  type        = string
}

variable "code_key" {
  description = "Key of another zip in that bucket than the one of this release for the Architecture."
  type        = string
  default     = null
}

variable "code_object_version" {
  description = "Version of that object, in a bucket that keeps versions (replication keeps their ids). Empty: the newest."
  type        = string
  default     = null
}

variable "code_sha256" {
  description = "SHA-256 of the zip in base64. A deployment with other content fails. Empty: the content is not compared."
  type        = string
  default     = null
}

variable "code_signing_profile_version_arn" {
  description = "Profile of AWS Signer by which the zip must be signed, in this Region. Empty: no signature is asked for."
  type        = string
  default     = null
}

variable "tag_prefix" {
  description = "Prefix of the directive tags (TAG_PREFIX). A person who may write such tags may share images; deploy/iam has policies that keep others from it."
  type        = string
  default     = null
}

variable "allow_public" {
  description = "May an image be made public at all (ALLOW_PUBLIC). Block public access for AMIs, set on the account, is the second lock."
  type        = bool
  default     = null
}

variable "allowed_grantees" {
  description = "Who may be given access (ALLOWED_GRANTEES): account ids, organizations, organizational units (ARNs, or o-... and ou-... with OrganizationArn); * is anyone but the public; an item with - in front is never added. Empty: nobody. Longer lists go into AllowedGranteesParameter."
  type        = list(string)
  default     = null
}

variable "allowed_grantees_parameter" {
  description = "Instead of AllowedGrantees: the full name of a StringList in Parameter Store that holds the same (ALLOWED_GRANTEES_PARAMETER), outside PolicyPath, for the security team alone to write. If it cannot be read, nothing is changed."
  type        = string
  default     = null
}

variable "organization_arn" {
  description = "ARN of your organization (ORGANIZATION_ARN), which completes o-... and ou-... in tags, policy and AllowedGrantees."
  type        = string
  default     = null
}

variable "policy_path" {
  description = "Path in Parameter Store that holds groups and rules (POLICY_PATH), for example /ami-warden. Any tag change on an image is then looked at, since a rule may match any tag. Empty: only tags."
  type        = string
  default     = null
}

variable "allowed_copiers" {
  description = "Accounts that may be allowed to copy images (ALLOWED_COPIERS), or * for any. A copy cannot be taken back. Empty: nobody, and no permission to share snapshots."
  type        = list(string)
  default     = null
}

variable "shared_tags" {
  description = "Keys of the tags that recipients may be shown (SHARED_TAGS), without ec2:SharedTag/; * is a wildcard. Empty: none, and no permission to write such tags."
  type        = list(string)
  default     = null
}

variable "share_backups" {
  description = "May images that AWS Backup or Data Lifecycle Manager made be shared (SHARE_BACKUPS). They carry the tags of the instance."
  type        = bool
  default     = null
}

variable "max_finding_severity" {
  description = "Highest severity of scan findings with which an image may be shared (MAX_FINDING_SEVERITY); one without a scan is then refused. Empty: scans are not looked at."
  type        = string
  default     = null
}

variable "key_check" {
  description = "Look at the keys of encrypted snapshots (KEY_CHECK): warn notes that certainly nobody over there can use the key, refuse refuses. Empty: no look, and no permission on keys."
  type        = string
  default     = null
}

variable "max_removals" {
  description = "Most removals of access for one image in one run (MAX_REMOVALS); more are refused. 0 forbids any. Empty: no limit."
  type        = number
  default     = null
}

variable "dry_run" {
  description = "Plan and report, change nothing (DRY_RUN). A good first day in an account with a history, and the way to stop all changes."
  type        = bool
  default     = null
}

variable "status_tag" {
  description = "Key of a tag, outside TagPrefix, on which the function leaves an image's refusals (STATUS_TAG). Empty: no such tag, and no permission to write it."
  type        = string
  default     = null
}

variable "architecture" {
  description = "Processor of the function. The code must be built for it: sam build --parameter-overrides Architecture=arm64."
  type        = string
  default     = null
}

variable "memory_size" {
  description = "Memory in MB, which on Lambda is also the share of a processor. 10 to 15 are used; 256 start three times as fast as 128."
  type        = number
  default     = null
}

variable "reserved_concurrency" {
  description = "Most invocations at one time; 1 to 5 keep sweeps that people start from running side by side. Events wait up to six hours. With 0 they do not wait: Lambda sends all to the dead-letter queue at once; to stop changes set DryRun. Empty: no reservation."
  type        = number
  default     = null
}

variable "sweep_schedule" {
  description = "How often every image is looked at: rate(...) or cron(...). All other events are delivered on a best effort basis, so only this bounds how long a missed one stays missed. Empty: never."
  type        = string
  default     = null
}

variable "cloud_trail_events" {
  description = "Also react to CreateImage, CopyImage, RegisterImage, CreateTags and DeleteTags as CloudTrail reports them. Needs a trail that logs management events here; a second source where native events were missed."
  type        = bool
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the function's role, where your organization demands one."
  type        = string
  default     = null
}

variable "permissions_boundary_name" {
  description = "Instead, for a StackSet: name, with its path, of a policy that each account has, such as team/boundary."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "Key, in this Region, that encrypts the log group and the queues; deploy/README.md has its policy. Empty: keys of AWS."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "Days that the log, which says what was done to which image and why, is kept."
  type        = number
  default     = null
}

variable "alarms" {
  description = "Make the alarms. deploy/README.md has the price of each, for one stack and for a fleet."
  type        = bool
  default     = null
}

variable "alarm_topic_arn" {
  description = "Standard SNS topic, in this Region, of any account, that hears the alarms. Empty: they tell nobody. deploy/README.md has one place that hears those of many accounts and Regions."
  type        = string
  default     = null
}

variable "dashboard" {
  description = "Make the dashboard. An account has three for nothing; each further one costs 3 dollars a month."
  type        = bool
  default     = null
}
