use chrono::Utc;
use ec2_emulator::{Config, Fault, Parameter, ParameterType};
use serde_json::{Value, json};

use crate::{with, with_config};

fn names(answer: &Value) -> Vec<&str> {
    let parameters = answer["Parameters"].as_array().expect("a list");
    parameters
        .iter()
        .filter_map(|p| p["Name"].as_str())
        .collect()
}

#[test]
fn a_path_is_read_in_pages_of_ten() {
    let (emulator, client) = with([]);
    for n in 0..23 {
        emulator.put_parameter(
            &format!("/ami-warden/groups/g{n:02}"),
            "111122223333",
            ParameterType::StringList,
        );
    }
    emulator.put_parameter("/ami-warden-other", "x", ParameterType::String);
    let mut sizes = Vec::new();
    let mut token = Value::Null;
    loop {
        let mut body = json!({ "Path": "/ami-warden", "Recursive": true });
        if token.is_string() {
            body["NextToken"] = token;
        }
        let answer = client.ssm("GetParametersByPath", &body);
        answer.assert_ok();
        sizes.push(names(&answer.json()).len());
        token = answer.json()["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(sizes, [10, 10, 3]);
    let bodies = emulator.calls_of("GetParametersByPath");
    assert_eq!(bodies[0].params["Path"], "/ami-warden");
    assert_eq!(bodies[0].params["Recursive"], "true");
    assert_eq!(bodies[0].service, "ssm");
}

#[test]
fn without_recursion_only_the_next_level_is_read() {
    let (emulator, client) = with([]);
    emulator.put_parameter("/p/rules", "[]", ParameterType::String);
    emulator.put_parameter("/p/groups/a", "1", ParameterType::StringList);
    let answer = client.ssm("GetParametersByPath", &json!({ "Path": "/p/" }));
    assert_eq!(names(&answer.json()), ["/p/rules"]);
    let nothing = client.ssm("GetParametersByPath", &json!({ "Path": "/q" }));
    assert_eq!(nothing.json(), json!({ "Parameters": [] }));
}

#[test]
fn one_parameter_is_read_by_name() {
    let (emulator, client) = with([]);
    let value = "111122223333,444455556666";
    let parameter = Parameter::new("/guard/allowed", value, ParameterType::StringList);
    let at = "2026-11-26T10:00:00.250Z".parse().expect("a time");
    emulator.put(parameter.modified(at));
    let answer = client.ssm("GetParameter", &json!({ "Name": "/guard/allowed" }));
    assert_eq!(
        answer.json()["Parameter"],
        json!({
            "Name": "/guard/allowed",
            "Type": "StringList",
            "Value": "111122223333,444455556666",
            "Version": 1,
            "LastModifiedDate": 1_795_687_200.25,
            "ARN": "arn:aws:ssm:us-east-1:111122223333:parameter/guard/allowed",
            "DataType": "text",
        })
    );
    let missing = client.ssm("GetParameter", &json!({ "Name": "/guard/none" }));
    assert_eq!(
        (missing.status, &missing.json()["__type"]),
        (400, &json!("ParameterNotFound"))
    );
}

#[test]
fn several_parameters_are_read_by_name() {
    let (emulator, client) = with([]);
    emulator.put_parameter("a", "1", ParameterType::String);
    emulator.put_parameter("s", "secret", ParameterType::SecureString);
    let answer = client
        .ssm("GetParameters", &json!({ "Names": ["a", "s", "none"] }))
        .json();
    assert_eq!(names(&answer), ["a", "s"]);
    assert_ne!(answer["Parameters"][1]["Value"], "secret");
    assert_eq!(answer["InvalidParameters"], json!(["none"]));
    let open = json!({ "Names": ["s"], "WithDecryption": true });
    assert_eq!(
        client.ssm("GetParameters", &open).json()["Parameters"][0]["Value"],
        "secret"
    );
}

#[test]
fn what_is_not_known_or_not_allowed_is_refused() {
    let (_emulator, client) = with([]);
    for (operation, body, code) in [
        ("PutParameter", json!({}), "UnknownOperationException"),
        (
            "GetParameter",
            json!({ "Names": [] }),
            "SerializationException",
        ),
        (
            "GetParametersByPath",
            json!({ "Path": "p" }),
            "ValidationException",
        ),
        (
            "GetParametersByPath",
            json!({ "Path": "/p", "MaxResults": 11 }),
            "ValidationException",
        ),
        (
            "GetParametersByPath",
            json!({ "Path": "/p", "NextToken": "x" }),
            "InvalidNextToken",
        ),
        (
            "GetParameters",
            json!({ "Names": [] }),
            "ValidationException",
        ),
    ] {
        let answer = client.ssm(operation, &body);
        assert_eq!(
            (answer.status, &answer.json()["__type"]),
            (400, &json!(code)),
            "{}",
            answer.body
        );
    }
}

#[test]
fn faults_and_short_pages_work_here_too() {
    let config = Config {
        largest_page: Some(1),
        ..Config::default()
    };
    let (emulator, client) = with_config(config, []);
    emulator.put_parameter("/p/a", "1", ParameterType::String);
    emulator.put_parameter("/p/b", "1", ParameterType::String);
    let ask = || client.ssm("GetParametersByPath", &json!({ "Path": "/p" }));
    assert_eq!(names(&ask().json()), ["/p/a"]);
    emulator.fault(Fault::error("GetParametersByPath", "ThrottlingException"));
    assert_eq!(ask().json()["__type"], "ThrottlingException");
}

#[test]
fn the_time_of_the_last_change_can_be_set_and_is_now_otherwise() {
    let (_emulator, client) = with([]);
    let put = |parameter: Value| {
        client
            .control("PUT", "parameter", &parameter.to_string())
            .assert_ok();
        let answer = client
            .ssm("GetParametersByPath", &json!({ "Path": "/p" }))
            .json();
        answer["Parameters"][0].clone()
    };
    let seen = put(json!({ "Name": "/p/a", "Value": "1", "LastModifiedDate": 1_795_687_200.25 }));
    assert_eq!(
        (&seen["LastModifiedDate"], &seen["Version"]),
        (&json!(1_795_687_200.25), &json!(1))
    );
    let text = "2026-11-26T10:00:01Z";
    let seen = put(json!({ "Name": "/p/a", "Value": "2", "LastModifiedDate": text }));
    assert_eq!(
        (&seen["LastModifiedDate"], &seen["Version"]),
        (&json!(1_795_687_201.0), &json!(2))
    );
    let before = Utc::now().timestamp() as f64;
    let seen = put(json!({ "Name": "/p/a", "Value": "3", "DataType": "aws:ec2:image" }));
    assert!(
        seen["LastModifiedDate"]
            .as_f64()
            .is_some_and(|at| at >= before),
        "{seen}"
    );
    assert_eq!(
        (&seen["DataType"], &seen["Version"]),
        (&json!("aws:ec2:image"), &json!(3))
    );
    let bad = json!({ "Name": "/p/a", "Value": "3", "LastModifiedDate": "yesterday" });
    assert_eq!(
        client.control("PUT", "parameter", &bad.to_string()).status,
        400
    );
}

#[test]
fn a_secure_string_shows_ciphertext_in_every_read() {
    let (emulator, client) = with([]);
    emulator.put_parameter("/p/s", "secret", ParameterType::SecureString);
    for (operation, ask) in [
        ("GetParameter", json!({ "Name": "/p/s" })),
        ("GetParameters", json!({ "Names": ["/p/s"] })),
        ("GetParametersByPath", json!({ "Path": "/p" })),
    ] {
        let sealed = client.ssm(operation, &ask).body;
        assert!(
            !sealed.contains("secret") && sealed.contains("SecureString"),
            "{sealed}"
        );
        let mut open = ask;
        open["WithDecryption"] = json!(true);
        assert!(client.ssm(operation, &open).body.contains("secret"));
    }
}
