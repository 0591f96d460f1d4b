// An example: ami-warden from the files of a release, in a CDK app.
//
//   npm install && TEMPLATE=ami-warden-0.2.0.yaml CODE_BUCKET_PREFIX=PREFIX npx cdk deploy
//
// Nothing is described twice: the template of the release is included as it is, so its rules, its conditions and deploy/README.md hold
// here too.

import { App, Stack } from 'aws-cdk-lib';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';

class AmiWarden extends Stack {
  constructor(scope, id, { templateFile, parameters, ...properties }) {
    super(scope, id, properties);
    const template = new CfnInclude(this, 'Template', { templateFile, preserveLogicalIds: true });
    for (const [name, value] of Object.entries(parameters)) {
      // A parameter that the template does not have is an error, with its name.
      template.getParameter(name).default = value;
    }
  }
}

const app = new App();
new AmiWarden(app, 'ami-warden', {
  templateFile: process.env.TEMPLATE ?? 'ami-warden.yaml',
  parameters: {
    CodeBucketPrefix: process.env.CODE_BUCKET_PREFIX ?? 'my-code',
    OrganizationArn: 'arn:aws:organizations::123456789012:organization/o-exampleorgid',
    AllowedGrantees: 'o-exampleorgid',
    PolicyPath: '/ami-warden',
    StatusTag: 'ami-warden-status',
  },
});
