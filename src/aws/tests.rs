//! The requests on the wire, and the answers to them, of every call.

use std::{sync::mpsc, thread};

use ami_warden_core::{
    Change, CopyPermissionChange, Direction, ImageId, ImdsSupport, LaunchPermissionChange,
    LaunchPermissions, SnapshotFacts, StoredValue,
};
use aws_sdk_ec2::config::Credentials;
use tiny_http::{Response, Server};

use super::*;
use crate::act::{
    call_error::{CallError, ErrorKind},
    ports::{
        Caller, Described, Ec2, Ec2Write, Keys, Listing, Page, Parameters, ReportState,
        UsageReports, Which,
    },
};

const ID: &str = "ami-0123456789abcdef0";

fn id() -> ImageId {
    ID.parse().unwrap()
}

/// The result of a call that is answered in this way, and the request: the body of EC2's protocol
/// behind the version, or the target of the JSON protocol and its body.
async fn exchange<T>(
    status: u16,
    answer: impl Into<String>,
    call: impl AsyncFnOnce(Clients<ReadWrite>) -> T,
) -> (T, String) {
    let server = Server::http("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.server_addr());
    let (sender, receiver) = mpsc::channel();
    let answer = answer.into();
    thread::spawn(move || {
        let mut request = server.recv().unwrap();
        let mut body = String::new();
        request.as_reader().read_to_string(&mut body).unwrap();
        let mut headers = request.headers().iter();
        let target = headers.find(|header| header.field.equiv("X-Amz-Target"));
        let text = match target {
            Some(target) => format!("{} {body}", target.value),
            None => body.replacen("&Version=2016-11-15", "", 1),
        };
        sender.send(text).unwrap();
        request
            .respond(Response::from_string(answer).with_status_code(status))
            .unwrap();
    });
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .endpoint_url(url)
        .region("eu-west-1")
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .load()
        .await;
    let clients = Clients {
        ec2: Ec2Client::new(config.clone()),
        keys: KmsClient::new(config.clone()),
        caller: StsClient::new(config.clone()),
        parameters: SsmClient::new(config),
        region: None,
    };
    let result = call(clients).await;
    (result, receiver.recv().unwrap())
}

fn ec2_error(code: &str) -> String {
    let error = format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
    format!("<Response><Errors>{error}</Errors></Response>")
}

fn grantees(list: &str) -> LaunchPermissions {
    list.split_whitespace()
        .map(|grantee| grantee.parse().unwrap())
        .collect()
}

fn copy(direction: Direction) -> Change {
    Change::CopyPermission(CopyPermissionChange {
        snapshot: "snap-1".into(),
        direction,
        accounts: ["444455556666", "111122223333"]
            .map(|id| id.parse().unwrap())
            .into(),
    })
}

fn shared_tag(to: Option<&str>) -> Change {
    Change::SharedTag {
        key: "release".into(),
        from: None,
        to: to.map(str::to_owned),
    }
}

fn deprecation(to: Option<&str>) -> Change {
    Change::Deprecation {
        from: None,
        to: to.map(|time| time.parse().unwrap()),
    }
}

/// Every kind of change and its request.
fn changes() -> Vec<(Change, String)> {
    let organization = "arn:aws:organizations::111122223333:organization/o-exampleorgid";
    let launch = LaunchPermissionChange::new(
        &grantees("all"),
        grantees(&format!("444455556666 {organization}")),
        grantees("all"),
        false,
    );
    let image = format!("ImageId={ID}");
    vec![
        (
            Change::Description {
                from: None,
                to: "a b".into(),
            },
            format!("Action=ModifyImageAttribute&Description.Value=a%20b&{image}"),
        ),
        (
            Change::ImdsSupport {
                from: None,
                to: ImdsSupport::V2,
            },
            format!("Action=ModifyImageAttribute&{image}&ImdsSupport.Value=v2.0"),
        ),
        (
            Change::LaunchPermission(launch.unwrap()),
            format!(
                "Action=ModifyImageAttribute&{image}\
                 &LaunchPermission.Add.1.UserId=444455556666\
                 &LaunchPermission.Add.2.OrganizationArn=arn%3Aaws%3Aorganizations%3A%3A\
                 111122223333%3Aorganization%2Fo-exampleorgid\
                 &LaunchPermission.Remove.1.Group=all"
            ),
        ),
        (
            copy(Direction::Add),
            "Action=ModifySnapshotAttribute&CreateVolumePermission.Add.1.UserId=111122223333\
             &CreateVolumePermission.Add.2.UserId=444455556666&SnapshotId=snap-1"
                .into(),
        ),
        (
            copy(Direction::Remove),
            "Action=ModifySnapshotAttribute&CreateVolumePermission.Remove.1.UserId=111122223333\
             &CreateVolumePermission.Remove.2.UserId=444455556666&SnapshotId=snap-1"
                .into(),
        ),
        (
            deprecation(Some("2027-06-30T12:00:00Z")),
            format!("Action=EnableImageDeprecation&{image}&DeprecateAt=2027-06-30T12%3A00%3A00Z"),
        ),
        (
            deprecation(None),
            format!("Action=DisableImageDeprecation&{image}"),
        ),
        (
            shared_tag(Some("stable")),
            format!(
                "Action=CreateTags&ResourceId.1={ID}&Tag.1.Key=ec2%3ASharedTag%2Frelease\
                 &Tag.1.Value=stable"
            ),
        ),
        (
            shared_tag(None),
            format!("Action=DeleteTags&ResourceId.1={ID}&Tag.1.Key=ec2%3ASharedTag%2Frelease"),
        ),
    ]
}

/// The parameters of a request, in no order.
fn parameters(request: &str) -> Vec<&str> {
    let mut parameters: Vec<_> = request.split('&').collect();
    parameters.sort_unstable();
    parameters
}

#[tokio::test]
async fn every_change_is_one_request_that_a_dry_run_marks() {
    for (change, expected) in changes() {
        let operation = change.operation();
        let done = format!("<{operation}Response><return>true</return></{operation}Response>");
        let send =
            async |clients: Clients<ReadWrite>| clients.ec2.change(id(), &change, false).await;
        let (result, request) = exchange(200, done, send).await;
        assert_eq!(
            (result, parameters(&request)),
            (Ok(()), parameters(&expected))
        );

        let send =
            async |clients: Clients<ReadWrite>| clients.ec2.change(id(), &change, true).await;
        let (result, request) = exchange(412, ec2_error("DryRunOperation"), send).await;
        let expected = format!("{expected}&DryRun=true");
        assert_eq!(
            (result, parameters(&request)),
            (Ok(()), parameters(&expected))
        );

        let send =
            async |clients: Clients<ReadWrite>| clients.ec2.change(id(), &change, true).await;
        let (result, _) = exchange(403, ec2_error("UnauthorizedOperation"), send).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.operation, error.kind),
            (operation, ErrorKind::Denied)
        );
    }
}

#[tokio::test]
async fn only_ec2s_own_answer_is_taken_for_a_change_that_was_made() {
    for (change, _) in changes() {
        let send =
            async |clients: Clients<ReadWrite>| clients.ec2.change(id(), &change, false).await;
        let (result, _) = exchange(200, "<html>Welcome</html>", send).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.operation, error.kind),
            (change.operation(), ErrorKind::Transient)
        );
        assert!(
            ["UnreadableAnswer", "Http200"].contains(&error.code.as_ref()),
            "{error}"
        );
    }
    // A dry run that is permitted is an error of a real call.
    let (change, _) = changes().remove(0);
    let send = async |clients: Clients<ReadWrite>| clients.ec2.change(id(), &change, false).await;
    let (result, _) = exchange(412, ec2_error("DryRunOperation"), send).await;
    assert_eq!(result.unwrap_err().code, "DryRunOperation");
}

#[tokio::test]
async fn a_tag_is_set_with_a_value_and_deleted_without() {
    let send = async |clients: Clients<ReadWrite>| clients.ec2.set_tag(id(), "s", Some("x")).await;
    let (result, request) = exchange(200, "<CreateTagsResponse/>", send).await;
    let expected = format!("Action=CreateTags&ResourceId.1={ID}&Tag.1.Key=s&Tag.1.Value=x");
    assert_eq!(
        (result, parameters(&request)),
        (Ok(()), parameters(&expected))
    );
    let send = async |clients: Clients<ReadWrite>| clients.ec2.set_tag(id(), "s", None).await;
    let (result, request) = exchange(200, "<DeleteTagsResponse/>", send).await;
    let expected = format!("Action=DeleteTags&ResourceId.1={ID}&Tag.1.Key=s");
    assert_eq!(
        (result, parameters(&request)),
        (Ok(()), parameters(&expected))
    );
}

fn images(items: &str, next: &str) -> String {
    format!(
        "<DescribeImagesResponse><imagesSet>{items}</imagesSet><nextToken>{next}</nextToken>\
         </DescribeImagesResponse>"
    )
}

#[tokio::test]
async fn images_are_asked_for_by_a_filter_and_one_odd_image_spoils_no_page() {
    let items = format!(
        "<item><imageId>{ID}</imageId><imageOwnerId>111122223333</imageOwnerId>\
         <imageState>available</imageState></item>\
         <item><imageId>ami-0123abcd</imageId><imageState>available</imageState></item>\
         <item><imageOwnerId>111122223333</imageOwnerId></item>"
    );
    let read = async |clients: Clients<ReadWrite>| clients.ec2.images(&[id()], Some("t")).await;
    let (page, request) = exchange(200, images(&items, "next"), read).await;
    let page = page.unwrap();
    assert!(matches!(&page.items[0], Described::Image(image) if image.id == id()));
    let unreadable = "ami-0123abcd".parse().unwrap();
    assert!(matches!(&page.items[1], Described::Unreadable(id, _) if *id == unreadable));
    assert_eq!(page.items[2..], [Described::Nameless]);
    assert_eq!(page.next.as_deref(), Some("next"));
    let expected = format!(
        "Action=DescribeImages&Owner.1=self&IncludeDisabled=true&NextToken=t\
         &Filter.1.Name=image-id&Filter.1.Value.1={ID}"
    );
    assert_eq!(parameters(&request), parameters(&expected));
}

#[tokio::test]
async fn a_listing_asks_for_ids_in_pages_and_keeps_the_place_of_odd_ones() {
    let which = |which| Listing {
        which,
        id_patterns: Vec::new(),
    };
    let tagged = Which::Tagged(["status", "x:*"].map(str::to_owned).into());
    let some = Listing {
        which: tagged,
        id_patterns: vec!["ami-0*".into(), "ami-1*".into()],
    };
    for (listing, filters) in [
        (which(Which::All), ""),
        (
            which(Which::Public),
            "&Filter.1.Name=is-public&Filter.1.Value.1=true",
        ),
        (
            some,
            "&Filter.1.Name=tag-key&Filter.1.Value.1=status&Filter.1.Value.2=x%3A%2A\
             &Filter.2.Name=image-id&Filter.2.Value.1=ami-0%2A&Filter.2.Value.2=ami-1%2A",
        ),
    ] {
        let read =
            async |clients: Clients<ReadWrite>| clients.ec2.image_ids(&listing, 500, None).await;
        let items = format!("<item><imageId>{ID}</imageId></item><item/>");
        let (page, request) = exchange(200, images(&items, ""), read).await;
        assert_eq!(
            page,
            Ok(Page {
                items: vec![Some(id()), None],
                next: None
            })
        );
        let expected = format!(
            "Action=DescribeImages&Owner.1=self&IncludeDisabled=true&MaxResults=500{filters}"
        );
        assert_eq!(parameters(&request), parameters(&expected));
    }
}

#[tokio::test]
async fn permissions_of_images_and_snapshots_are_read() {
    let read = async |clients: Clients<ReadWrite>| clients.ec2.launch_permissions(id()).await;
    let answer = "<DescribeImageAttributeResponse><launchPermission>\
                  <item><userId>444455556666</userId></item><item><group>all</group></item>\
                  </launchPermission></DescribeImageAttributeResponse>";
    let (permissions, request) = exchange(200, answer, read).await;
    assert_eq!(permissions, Ok(grantees("444455556666 all")));
    let expected = format!("Action=DescribeImageAttribute&Attribute=launchPermission&ImageId={ID}");
    assert_eq!(parameters(&request), parameters(&expected));

    let read = async |clients: Clients<ReadWrite>| clients.ec2.launch_permissions(id()).await;
    let (odd, _) = exchange(200, answer.replace("all", "some"), read).await;
    assert_eq!(odd.unwrap_err().code, "UnreadableAnswer");

    let read = async |clients: Clients<ReadWrite>| clients.ec2.copy_permissions("snap-1").await;
    let answer = "<DescribeSnapshotAttributeResponse><createVolumePermission>\
                  <item><userId>444455556666</userId></item><item><group>all</group></item>\
                  </createVolumePermission></DescribeSnapshotAttributeResponse>";
    let (permissions, request) = exchange(200, answer, read).await;
    assert_eq!(permissions, Ok(["444455556666".parse().unwrap()].into()));
    let expected = "Action=DescribeSnapshotAttribute&Attribute=createVolumePermission\
                    &SnapshotId=snap-1";
    assert_eq!(parameters(&request), parameters(expected));
}

#[tokio::test]
async fn snapshots_and_block_public_access_are_read() {
    let read = async |clients: Clients<ReadWrite>| {
        clients.ec2.snapshots(&["snap-1", "snap-2"], None).await
    };
    let answer = "<DescribeSnapshotsResponse><snapshotSet>\
                  <item><snapshotId>snap-1</snapshotId><encrypted>true</encrypted>\
                  <kmsKeyId>arn:key</kmsKeyId></item><item><snapshotId>snap-2</snapshotId></item>\
                  </snapshotSet><nextToken>n</nextToken></DescribeSnapshotsResponse>";
    let (page, request) = exchange(200, answer, read).await;
    let encrypted = SnapshotFacts {
        encrypted: Some(true),
        key: Some("arn:key".into()),
    };
    let items = vec![
        ("snap-1".to_owned(), encrypted),
        ("snap-2".to_owned(), SnapshotFacts::default()),
    ];
    assert_eq!(
        page,
        Ok(Page {
            items,
            next: Some("n".into())
        })
    );
    let expected = "Action=DescribeSnapshots&Filter.1.Name=snapshot-id\
                    &Filter.1.Value.1=snap-1&Filter.1.Value.2=snap-2";
    assert_eq!(parameters(&request), parameters(expected));

    for (state, on) in [
        ("block-new-sharing", Some(true)),
        ("unblocked", Some(false)),
        ("new-state", None),
    ] {
        let read = async |clients: Clients<ReadWrite>| clients.ec2.block_public_access().await;
        let answer = format!(
            "<GetImageBlockPublicAccessStateResponse><imageBlockPublicAccessState>{state}\
             </imageBlockPublicAccessState></GetImageBlockPublicAccessStateResponse>"
        );
        let (read, request) = exchange(200, answer, read).await;
        assert_eq!(
            (read, request.as_str()),
            (Ok(on), "Action=GetImageBlockPublicAccessState")
        );
    }
}

#[tokio::test]
async fn parameters_are_read_in_pages_of_ten() {
    let read = async |clients: Clients<ReadWrite>| clients.parameters.below("/p", Some("t")).await;
    let answer = r#"{"Parameters": [{"Name": "/p/rules", "Type": "String", "Value": "[]",
        "LastModifiedDate": 1.5}, {"Name": "/p/groups/x", "Type": "SecureString", "Value": "c"}],
        "NextToken": "n"}"#;
    let (page, request) = exchange(200, answer, read).await;
    let page = page.unwrap();
    assert_eq!(page.next.as_deref(), Some("n"));
    assert_eq!(page.items[0].value, StoredValue::Text("[]".into()));
    assert_eq!(page.items[0].modified.unwrap().timestamp_millis(), 1500);
    assert_eq!(page.items[1].value, StoredValue::Secure);
    assert_eq!(
        request,
        "AmazonSSM.GetParametersByPath \
         {\"Path\":\"/p\",\"Recursive\":true,\"MaxResults\":10,\"NextToken\":\"t\"}"
    );

    let read = async |clients: Clients<ReadWrite>| clients.parameters.below("/p", None).await;
    let (cut, _) = exchange(200, "{}", read).await;
    assert_eq!(cut.unwrap_err().message, "the answer holds no Parameters");

    let read = async |clients: Clients<ReadWrite>| clients.parameters.parameter("/l").await;
    let answer = r#"{"__type": "ParameterNotFound", "message": "gone"}"#;
    let (absent, request) = exchange(400, answer, read).await;
    let expected = CallError {
        operation: "GetParameter",
        code: "ParameterNotFound".into(),
        message: "gone".into(),
        kind: ErrorKind::Refused,
    };
    assert_eq!(absent, Err(expected));
    assert_eq!(request, r#"AmazonSSM.GetParameter {"Name":"/l"}"#);
}

#[tokio::test]
async fn keys_their_policies_and_grants_are_read() {
    let arn = "arn:aws:kms:eu-west-1:111122223333:key/k";
    let read = async |clients: Clients<ReadWrite>| clients.keys.key(arn).await;
    let answer = r#"{"KeyMetadata": {"KeyId": "k", "KeyManager": "AWS", "KeyState": "Disabled"}}"#;
    let (key, request) = exchange(200, answer, read).await;
    let key = key.unwrap();
    assert_eq!(
        (key.aws_managed, key.state.as_str(), key.reach),
        (true, "Disabled", None)
    );
    assert_eq!(
        request,
        format!(r#"TrentService.DescribeKey {{"KeyId":"{arn}"}}"#)
    );

    let read = async |clients: Clients<ReadWrite>| clients.keys.policy_names(arn, None).await;
    let answer = r#"{"PolicyNames": ["default", "AWS_RAM"], "Truncated": false}"#;
    let (names, request) = exchange(200, answer, read).await;
    let items = ["default", "AWS_RAM"].map(str::to_owned).to_vec();
    assert_eq!(names, Ok(Page { items, next: None }));
    assert_eq!(
        request,
        format!(r#"TrentService.ListKeyPolicies {{"KeyId":"{arn}"}}"#)
    );

    let read = async |clients: Clients<ReadWrite>| clients.keys.policy(arn, "AWS_RAM").await;
    let (policy, request) = exchange(200, r#"{"Policy": "{}"}"#, read).await;
    assert_eq!(policy.as_deref(), Ok("{}"));
    let expected =
        format!(r#"TrentService.GetKeyPolicy {{"KeyId":"{arn}","PolicyName":"AWS_RAM"}}"#);
    assert_eq!(request, expected);

    let read = async |clients: Clients<ReadWrite>| clients.keys.grantees(arn, Some("m")).await;
    let answer = r#"{"Grants": [{"GranteePrincipal": "arn:aws:iam::444455556666:root"},
        {"GranteeServicePrincipal": "rds.amazonaws.com"}, {}],
        "Truncated": true, "NextMarker": "n"}"#;
    let (grantees, request) = exchange(200, answer, read).await;
    let items = ["arn:aws:iam::444455556666:root", "rds.amazonaws.com", "*"];
    let items = items.map(str::to_owned).to_vec();
    assert_eq!(
        grantees,
        Ok(Page {
            items,
            next: Some("n".into())
        })
    );
    let expected =
        format!(r#"TrentService.ListGrants {{"Limit":100,"Marker":"m","KeyId":"{arn}"}}"#);
    assert_eq!(request, expected);

    let read = async |clients: Clients<ReadWrite>| clients.keys.grantees(arn, None).await;
    let denied = r#"{"__type": "AccessDeniedException", "Message": "no"}"#;
    let (denied, _) = exchange(400, denied, read).await;
    assert_eq!(denied.unwrap_err().kind, ErrorKind::Denied);
}

fn answer_of(operation: &str, content: &str) -> String {
    format!("<{operation}Response>{content}</{operation}Response>")
}

#[tokio::test]
async fn usage_reports_are_asked_for_and_read() {
    let ask = async |clients: Clients<ReadWrite>| {
        clients.ec2.usage_reports().create_report(id(), "t").await
    };
    let answer = answer_of("CreateImageUsageReport", "<reportId>amiur-1</reportId>");
    let (report, request) = exchange(200, answer, ask).await;
    assert_eq!(report.as_deref(), Ok("amiur-1"));
    let mut sent = parameters(&request);
    sent.sort_unstable();
    assert_eq!(
        sent,
        [
            "Action=CreateImageUsageReport",
            "ClientToken=t",
            "ImageId=ami-0123456789abcdef0",
            "ResourceType.1.ResourceType=ec2%3AInstance",
            "ResourceType.2.ResourceType=ec2%3ALaunchTemplate",
        ]
    );

    let look = async |clients: Clients<ReadWrite>| {
        clients
            .ec2
            .usage_reports()
            .reports_of(&[id()], Some("p"))
            .await
    };
    let types = ["ec2:Instance", "ec2:LaunchTemplate"]
        .map(|one| format!("<item><resourceType>{one}</resourceType></item>"))
        .concat();
    let report = |id: &str, rest: &str| {
        format!("<item><reportId>{id}</reportId><imageId>{ID}</imageId>{rest}</item>")
    };
    let all = format!("<resourceTypeSet>{types}</resourceTypeSet>");
    let items = [
        report("a", &format!("{all}<state>available</state>")),
        report(
            "b",
            &format!("{all}<state>pending</state><accountIdSet><item>1</item></accountIdSet>"),
        ),
        report("c", "<state>error</state><stateReason>why</stateReason>"),
        "<item><state>available</state></item>".to_owned(),
    ];
    let set = format!(
        "<imageUsageReportSet>{}</imageUsageReportSet>",
        items.concat()
    );
    let answer = answer_of("DescribeImageUsageReports", &set);
    let (page, request) = exchange(200, answer, look).await;
    assert!(request.contains("ImageId.1=ami-0123456789abcdef0") && request.contains("NextToken=p"));
    let told: Vec<_> = page.unwrap().items.into_iter().collect();
    let told: Vec<_> = told
        .iter()
        .map(|report| (report.id.as_str(), &report.state, report.is_whole))
        .collect();
    assert_eq!(
        told,
        [
            ("a", &ReportState::Available, true),
            ("b", &ReportState::Pending, false),
            ("c", &ReportState::Failed("why".into()), false),
        ]
    );

    let read = async |clients: Clients<ReadWrite>| {
        clients
            .ec2
            .usage_reports()
            .report_entries(&["a".to_owned()], None)
            .await
    };
    let entry = |rest: &str| {
        let set = format!(
            "<imageUsageReportEntrySet><item><reportId>a</reportId><accountId>444455556666\
             </accountId><resourceType>ec2:Instance</resourceType>{rest}</item>\
             </imageUsageReportEntrySet>"
        );
        answer_of("DescribeImageUsageReportEntries", &set)
    };
    let (page, request) = exchange(200, entry("<usageCount>15</usageCount>"), read).await;
    assert!(request.contains("ReportId.1=a"), "{request}");
    let entry_read = &page.unwrap().items[0];
    assert_eq!(
        (entry_read.account.as_str(), entry_read.count),
        ("444455556666", 15)
    );
    let (page, _) = exchange(200, entry(""), read).await;
    assert_eq!(
        page.unwrap_err().code,
        "UnreadableAnswer",
        "no count is not zero"
    );
}

#[tokio::test]
async fn sts_tells_the_account() {
    let ask = async |clients: Clients<ReadWrite>| clients.caller.account().await;
    let answer = "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>111122223333\
        </Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
    let (account, request) = exchange(200, answer, ask).await;
    assert_eq!(account.unwrap().as_str(), "111122223333");
    assert!(request.starts_with("Action=GetCallerIdentity"), "{request}");
    let answer = answer.replace("<Account>111122223333</Account>", "");
    let (nobody, _) = exchange(200, answer, ask).await;
    assert_eq!(nobody.unwrap_err().code, "UnreadableAnswer");
}
