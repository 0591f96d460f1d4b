//! Signature Version 4, as far as it is looked at: the header must be there, and its credential
//! scope must fit. The signature itself is not checked.

use crate::wire::error::ApiError;

/// The access key of an `Authorization` header, if there is one.
pub(crate) fn access_key_id(header: &str) -> Option<String> {
    let (_, rest) = header.split_once("Credential=")?;
    let (key, _) = rest.split_once('/')?;
    Some(key.to_owned())
}

/// What a request was signed for.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) region: String,
}

impl Scope {
    /// Checks an `Authorization` header: `AWS4-HMAC-SHA256
    /// Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=…, Signature=…`.
    pub(crate) fn check(
        header: Option<&str>,
        service: &str,
        region: Option<&str>,
    ) -> Result<Self, ApiError> {
        let header = header.ok_or_else(|| {
            ApiError::new(
                "MissingAuthenticationToken",
                "The request must contain a valid signature",
            )
        })?;
        let refuse = |why: String| {
            ApiError::new(
                "AuthFailure",
                format!("AWS was not able to validate the provided access credentials: {why}"),
            )
        };
        let fields = header
            .strip_prefix("AWS4-HMAC-SHA256 ")
            .ok_or_else(|| refuse("not Signature Version 4".to_owned()))?;
        let field = |name: &str| {
            fields
                .split(',')
                .find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
                .filter(|value| !value.is_empty())
                .ok_or_else(|| refuse(format!("no {name}")))
        };
        field("SignedHeaders")?;
        field("Signature")?;
        let scope: Vec<&str> = field("Credential")?.split('/').collect();
        let [_, _, signed_region, signed_service, "aws4_request"] = scope[..] else {
            return Err(refuse("malformed credential scope".to_owned()));
        };
        if signed_service != service {
            return Err(refuse(format!(
                "signed for {signed_service}, not {service}"
            )));
        }
        if let Some(region) = region.filter(|region| *region != signed_region) {
            return Err(refuse(format!("signed for {signed_region}, not {region}")));
        }
        Ok(Self {
            region: signed_region.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "AWS4-HMAC-SHA256 \
        Credential=AKIDEXAMPLE/20260325/us-gov-west-1/ec2/aws4_request, \
        SignedHeaders=host;x-amz-date, Signature=00";

    fn code(header: Option<&str>, service: &str, region: Option<&str>) -> Option<String> {
        Scope::check(header, service, region)
            .err()
            .map(|error| error.code)
    }

    #[test]
    fn the_scope_must_name_the_service_and_the_region() {
        let scope = Scope::check(Some(HEADER), "ec2", Some("us-gov-west-1")).expect("good");
        assert_eq!(scope.region, "us-gov-west-1");
        assert_eq!(code(Some(HEADER), "ec2", None), None);
        let refused = Some("AuthFailure".to_owned());
        assert_eq!(code(Some(HEADER), "ssm", None), refused);
        assert_eq!(code(Some(HEADER), "ec2", Some("us-east-1")), refused);
        assert_eq!(code(Some("Basic eDp5"), "ec2", None), refused);
    }

    #[test]
    fn a_request_without_a_signature_is_refused() {
        let refused = Some("MissingAuthenticationToken".to_owned());
        assert_eq!(code(None, "ec2", None), refused);
    }
}
