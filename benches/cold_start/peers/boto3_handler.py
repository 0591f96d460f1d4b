# /// script
# dependencies = ["boto3==1.44.8", "awslambdaric==4.2.2"]
# ///
"""What a user would write first: share the tagged image with the accounts that its tag names."""

import boto3

ec2 = boto3.client("ec2")


def handler(event, context):
    for item in event["detail"]["requestParameters"]["resourcesSet"]["items"]:
        image = ec2.describe_images(ImageIds=[item["resourceId"]])["Images"][0]
        tags = {tag["Key"]: tag["Value"] for tag in image.get("Tags", [])}
        accounts = tags.get("ami-warden:launch-permission", "").split()
        if accounts:
            ec2.modify_image_attribute(ImageId=image["ImageId"], LaunchPermission={"Add": [{"UserId": each} for each in accounts]})
    return {"Shared": accounts}
