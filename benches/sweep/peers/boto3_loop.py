"""The script that a user would write first: share each tagged image with the accounts that its tag names."""

import resource

import boto3

TAG = "ami-warden:launch-permission"

ec2 = boto3.client("ec2")
for page in ec2.get_paginator("describe_images").paginate(Owners=["self"], Filters=[{"Name": "tag-key", "Values": [TAG]}]):
    for image in page["Images"]:
        tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
        try:
            answer = ec2.describe_image_attribute(ImageId=image["ImageId"], Attribute="launchPermission")
            present = {each.get("UserId") for each in answer["LaunchPermissions"]}
            missing = set(tags[TAG].split()) - present
            if missing:
                ec2.modify_image_attribute(
                    ImageId=image["ImageId"], LaunchPermission={"Add": [{"UserId": each} for each in missing]}
                )
        except ec2.exceptions.ClientError as error:
            print(image["ImageId"], error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
