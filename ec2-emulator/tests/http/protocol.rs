use std::io::BufReader;
use std::net::TcpStream;

use ec2_emulator::{Config, Image};

use crate::client::{form, read_answer, signature, write_request};
use crate::{ID, with, with_config};

#[test]
fn an_unknown_action_is_refused() {
    let (_emulator, client) = with([]);
    client
        .ec2("CopyImage", &[])
        .assert_refused(400, "InvalidAction");
}

#[test]
fn another_api_version_is_refused() {
    let (_emulator, client) = with([]);
    let signature = signature("us-east-1", "ec2");
    let body = form(&[("Action", "DescribeImages"), ("Version", "2014-02-01")]);
    client
        .send("POST", "/", &[("Authorization", &signature)], &body)
        .expect("an answer")
        .assert_refused(400, "NoSuchVersion");
}

#[test]
fn an_unknown_parameter_is_refused_and_named() {
    let (_emulator, client) = with([Image::new(ID)]);
    let parameters = [("Description.Value", "x"), ("Descripton", "y")];
    let answer = client.modify(&parameters);
    answer.assert_refused(400, "UnknownParameter");
    assert!(answer.body.contains("Descripton"), "{}", answer.body);
    client
        .modify(&[("LaunchPermission.Add.1.UserID", "444455556666")])
        .assert_refused(400, "UnknownParameter");
}

#[test]
fn a_request_must_be_signed_for_the_service_and_the_region() {
    let config = Config {
        region: Some("us-east-1".to_owned()),
        ..Config::default()
    };
    let (_emulator, client) = with_config(config, []);
    let body = form(&[("Action", "DescribeImages"), ("Version", "2016-11-15")]);
    let send =
        |headers: &[(&str, &str)]| client.send("POST", "/", headers, &body).expect("an answer");
    send(&[]).assert_refused(403, "MissingAuthenticationToken");
    send(&[("Authorization", &signature("us-east-1", "ssm"))]).assert_refused(400, "AuthFailure");
    send(&[("Authorization", &signature("eu-west-1", "ec2"))]).assert_refused(400, "AuthFailure");
    send(&[("Authorization", &signature("us-east-1", "ec2"))]).assert_ok();
}

#[test]
fn sts_tells_who_asks() {
    let (emulator, client) = with([]);
    let ask = |extra: &[(&str, &str)], service| {
        let mut all = vec![("Version", "2011-06-15")];
        all.extend(extra);
        let signature = signature("us-gov-west-1", service);
        client
            .send("POST", "/", &[("Authorization", &signature)], &form(&all))
            .expect("an answer")
    };
    let identity = ("Action", "GetCallerIdentity");
    let answer = ask(&[identity], "sts");
    answer.assert_ok();
    assert_eq!(answer.text("Account"), Some("111122223333"));
    let arn = "arn:aws-us-gov:iam::111122223333:user/emulated";
    assert_eq!(answer.text("Arn"), Some(arn));
    assert!(answer.text("UserId").is_some() && answer.text("RequestId").is_some());
    let role = "arn:aws:sts::111122223333:assumed-role/admin/me";
    let seed = format!(r#"{{"CallerArn":"{role}"}}"#);
    client.control("POST", "seed", &seed).assert_ok();
    assert_eq!(ask(&[identity], "sts").text("Arn"), Some(role));
    ask(&[identity], "ec2").assert_refused(400, "AuthFailure");
    ask(&[identity, ("Account", "1")], "sts").assert_refused(400, "UnknownParameter");
    let other = ask(&[("Action", "AssumeRole")], "sts");
    other.assert_refused(400, "InvalidAction");
    assert!(other.body.contains("<ErrorResponse>"), "{}", other.body);
    let call = &emulator.calls()[0];
    assert_eq!(
        (call.service, call.action.as_str()),
        ("sts", "GetCallerIdentity")
    );
}

#[test]
fn parameters_may_stand_in_the_query_string() {
    let (_emulator, client) = with([Image::new(ID)]);
    let query = form(&[
        ("Action", "DescribeImages"),
        ("Version", "2016-11-15"),
        ("ImageId.1", ID),
    ]);
    let signature = signature("us-east-1", "ec2");
    let answer = client
        .send(
            "GET",
            &format!("/?{query}"),
            &[("Authorization", &signature)],
            "",
        )
        .expect("an answer");
    assert_eq!(answer.texts("imageId"), [ID]);
}

#[test]
fn a_connection_serves_many_requests() {
    let (emulator, _client) = with([Image::new(ID)]);
    let signature = signature("us-east-1", "ec2");
    let body = form(&[("Action", "DescribeImages"), ("Version", "2016-11-15")]);
    let mut stream = TcpStream::connect(emulator.address()).expect("a connection");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    for _ in 0..3 {
        write_request(
            &mut stream,
            "POST",
            "/",
            &[("Authorization", &signature)],
            &body,
        )
        .expect("sent");
        let answer = read_answer(&mut reader).expect("an answer");
        assert_eq!(answer.texts("imageId"), [ID]);
    }
    assert_eq!(emulator.calls().len(), 3);
}

#[test]
fn calls_are_logged_in_order_with_parameters_and_outcome() {
    let (emulator, client) = with([Image::new(ID)]);
    client.ec2(
        "DescribeImages",
        &[("Filter.1.Name", "image-id"), ("Filter.1.Value.1", ID)],
    );
    client.modify(&[("ImdsSupport.Value", "v1.0")]);
    client.modify(&[("ImdsSupport.Value", "v2.0"), ("DryRun", "true")]);
    client.modify(&[("ImdsSupport.Value", "v2.0")]);

    let calls = emulator.calls();
    let seen: Vec<_> = calls
        .iter()
        .map(|call| {
            (
                call.action.as_str(),
                call.status,
                call.error_code.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("DescribeImages", Some(200), None),
            (
                "ModifyImageAttribute",
                Some(400),
                Some("InvalidParameterValue")
            ),
            ("ModifyImageAttribute", Some(412), Some("DryRunOperation")),
            ("ModifyImageAttribute", Some(200), None),
        ]
    );
    let parameters: Vec<_> = calls[0].params.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(
        parameters,
        [("Filter.1.Name", "image-id"), ("Filter.1.Value.1", ID)]
    );
    assert!(
        calls
            .iter()
            .all(|call| call.service == "ec2" && call.in_flight == 1)
    );
    assert_eq!(emulator.writes(), [calls[1].clone(), calls[3].clone()]);
    assert_eq!(emulator.take_calls(), calls);
    assert!(emulator.calls().is_empty());
}

#[test]
fn a_hook_may_change_the_state_before_a_call_is_carried_out() {
    let (emulator, client) = with([Image::new(ID)]);
    emulator.on_call(|call, state| {
        if call.action == "ModifyImageAttribute"
            && let Some(image) = state.images.get_mut(ID)
        {
            *image = image.clone().disabled();
        }
    });
    client
        .ec2("DescribeImages", &[("ImageId.1", ID)])
        .assert_ok();
    client
        .modify(&[("Description.Value", "x")])
        .assert_refused(400, "InvalidAMIID.Unavailable");
}
