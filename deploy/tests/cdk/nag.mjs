// Prints what cdk-nag says about a CloudFormation template, as JSON: [{"rule": "AwsSolutions-L1", "resource": "Function"}].
//
//   node nag.mjs TEMPLATE.json
//
// The template has no functions left and no conditions: cdk-nag takes what it cannot resolve for a finding.

import { App, Aspects, Stack } from 'aws-cdk-lib';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R5Checks, PCIDSS321Checks, ServerlessChecks } from 'cdk-nag';

const app = new App({ analyticsReporting: false, context: { 'aws:cdk:disable-stack-trace': true } });
const stack = new Stack(app, 'ami-warden');
new CfnInclude(stack, 'Template', { templateFile: process.argv[2], preserveLogicalIds: true });
for (const Pack of [AwsSolutionsChecks, ServerlessChecks, NIST80053R5Checks, HIPAASecurityChecks, PCIDSS321Checks]) {
  Aspects.of(app).add(new Pack({ reports: false }));
}
const found = app.synth({ skipValidation: true }).getStackByName('ami-warden').messages;
const findings = found
  .filter((message) => message.level === 'error' || message.level === 'warning')
  .map((message) => ({ rule: String(message.entry.data).split(/[:[]/)[0].trim(), resource: message.id.split('/').pop(), text: String(message.entry.data).trim() }));
process.stdout.write(JSON.stringify(findings));
