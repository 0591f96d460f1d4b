//! The smallest HTTP client that will do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    access_key_id: &'static str,
    patience: Duration,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

pub fn signature(region: &str, service: &str) -> String {
    signature_by("AKIDEXAMPLE", region, service)
}

fn signature_by(access_key_id: &str, region: &str, service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={access_key_id}/20260325/{region}/{service}/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=0000"
    )
}

pub fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish()
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            access_key_id: "AKIDEXAMPLE",
            patience: Duration::from_secs(20),
        }
    }

    /// The same, waiting so long for an answer.
    pub fn patient_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same with another access key.
    pub fn signing_as(self, access_key_id: &'static str) -> Self {
        Self {
            access_key_id,
            ..self
        }
    }

    /// A signed EC2 call that gets an answer.
    pub fn ec2(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.try_ec2(action, parameters).expect("an answer")
    }

    pub fn try_ec2(&self, action: &str, parameters: &[(&str, &str)]) -> io::Result<Answer> {
        let mut all = vec![("Action", action), ("Version", "2016-11-15")];
        all.extend(parameters);
        let signature = signature_by(self.access_key_id, "us-east-1", "ec2");
        self.send("POST", "/", &[("Authorization", &signature)], &form(&all))
    }

    /// ModifyImageAttribute of the one image.
    pub fn modify(&self, parameters: &[(&str, &str)]) -> Answer {
        let mut all = vec![("ImageId", crate::ID)];
        all.extend(parameters);
        self.ec2("ModifyImageAttribute", &all)
    }

    /// A signed Systems Manager call.
    pub fn ssm(&self, operation: &str, body: &Value) -> Answer {
        self.json("ssm", &format!("AmazonSSM.{operation}"), body)
    }

    /// A signed KMS call.
    pub fn kms(&self, operation: &str, body: &Value) -> Answer {
        self.json("kms", &format!("TrentService.{operation}"), body)
    }

    fn json(&self, service: &str, target: &str, body: &Value) -> Answer {
        let signature = signature_by(self.access_key_id, "us-east-1", service);
        let headers = [("Authorization", &*signature), ("X-Amz-Target", target)];
        self.send("POST", "/", &headers, &body.to_string())
            .expect("an answer")
    }

    /// A request to the control API.
    pub fn control(&self, method: &str, resource: &str, body: &str) -> Answer {
        self.send(method, &format!("/_emulator/{resource}"), &[], body)
            .expect("an answer")
    }

    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(self.patience))?;
        write_request(&mut stream, method, target, headers, body)?;
        read_answer(&mut BufReader::new(stream))
    }
}

pub fn write_request(
    stream: &mut TcpStream,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<()> {
    let mut request = format!(
        "{method} {target} HTTP/1.1\r\nhost: emulator\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes())
}

pub fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Answer { status, body })
}

impl Answer {
    /// The texts of all elements of that name.
    pub fn texts(&self, element: &str) -> Vec<&str> {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let mut texts = Vec::new();
        let mut rest = self.body.as_str();
        while let Some((_, after)) = rest.split_once(&open) {
            let Some((text, after)) = after.split_once(&close) else {
                break;
            };
            texts.push(text);
            rest = after;
        }
        texts
    }

    /// The text of the first element of that name.
    pub fn text(&self, element: &str) -> Option<&str> {
        self.texts(element).first().copied()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    #[track_caller]
    pub fn assert_ok(&self) {
        assert_eq!(self.status, 200, "{}", self.body);
    }

    #[track_caller]
    pub fn assert_refused(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.text("Code")),
            (status, Some(code)),
            "{}",
            self.body
        );
    }
}
