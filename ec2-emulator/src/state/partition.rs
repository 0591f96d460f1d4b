//! Partitions: AWS, AWS GovCloud, AWS in China and the others.

/// The partition that a Region belongs to.
pub(crate) fn partition_of(region: &str) -> &'static str {
    let starts = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eusc-", "aws-eusc"),
    ];
    for (start, partition) in starts {
        if region.starts_with(start) {
            return partition;
        }
    }
    "aws"
}

#[cfg(test)]
mod tests {
    use super::partition_of;

    #[test]
    fn the_region_tells_the_partition() {
        assert_eq!(partition_of("us-east-1"), "aws");
        assert_eq!(partition_of("us-gov-west-1"), "aws-us-gov");
        assert_eq!(partition_of("us-isob-east-1"), "aws-iso-b");
    }
}
