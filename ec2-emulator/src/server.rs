//! The HTTP server: HTTP/1.1 with keep-alive, and connections that break when they are told to.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

use crate::control;
use crate::engine::{self, Engine, Reply};
use crate::tls::{self, Tls};

/// Takes connections for ever.
pub(crate) async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    tls: Option<Tls>,
) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it, the last packet of an answer may wait for the client's
                // acknowledgement of the one before.
                let _ = stream.set_nodelay(true);
                let (engine, tls) = (Arc::clone(&engine), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve_connection(stream, |stream| stream, engine).await,
                        // A client that breaks the handshake off knows why.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve_connection(stream, tls::tcp, engine).await;
                            }
                        }
                    }
                });
            }
            // For example too many open files: better soon than never.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve_connection<S>(stream: S, tcp: impl Fn(&S) -> &TcpStream, engine: Arc<Engine>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |request| Box::pin(answer(Arc::clone(&engine), request)));
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let stream = connection.into_parts().io.into_inner();
    let reset = ended.is_err_and(|error| error.source().is_some_and(|e| e.is::<Reset>()));
    if reset {
        let _ = tcp(&stream).set_zero_linger();
    }
}

/// The connection is to be reset.
#[derive(Debug)]
struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is to be reset")
    }
}

impl Error for Reset {}

async fn answer(
    engine: Arc<Engine>,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Reset> {
    let (head, body) = request.into_parts();
    // Whoever does not send the whole request gets no answer.
    let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
    let path = head.uri.path();
    if let Some(resource) = path.strip_prefix("/_emulator/") {
        let (status, json) = control::answer(&engine, &head.method, resource, &body);
        return Ok(respond(status, "application/json", json.to_string()));
    }
    if path != "/" || !matches!(head.method, Method::GET | Method::POST) {
        let text = "Only GET and POST of / are known here, and /_emulator/.\n".to_owned();
        return Ok(respond(StatusCode::NOT_FOUND, "text/plain", text));
    }
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let (reply, _under_way) = engine.receive(&engine::Request {
        query: head.uri.query().unwrap_or_default(),
        body: &body,
        authorization: header("authorization"),
        target: header("x-amz-target"),
    });
    match reply {
        Reply::Send(message) => {
            sleep_for(message.delay).await;
            let status = StatusCode::from_u16(message.status).unwrap_or(StatusCode::BAD_GATEWAY);
            let mut response = respond(status, message.content_type, message.body);
            if let Ok(id) = message.request_id.parse() {
                response.headers_mut().insert("x-amzn-requestid", id);
            }
            if message.truncated {
                response.body_mut().truncate();
            }
            Ok(response)
        }
        Reply::Reset(after) => {
            match after {
                Some(after) => sleep_for(after).await,
                None => std::future::pending().await,
            }
            Err(Reset)
        }
    }
}

/// A timer takes a millisecond even for no time at all.
async fn sleep_for(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Payload> {
    let mut response = Response::new(Payload::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    response
}

/// A body of known length, which may break off before its end.
struct Payload {
    length: u64,
    rest: Option<Bytes>,
    breaks: Option<Pin<Box<Sleep>>>,
}

impl From<String> for Payload {
    fn from(body: String) -> Self {
        Self {
            length: body.len() as u64,
            rest: (!body.is_empty()).then(|| body.into()),
            breaks: None,
        }
    }
}

impl Payload {
    /// Half of it is sent; then, once that has gone out, the connection is closed.
    fn truncate(&mut self) {
        if let Some(rest) = &mut self.rest {
            rest.truncate(rest.len() / 2);
        }
        self.breaks = Some(Box::pin(sleep(Duration::from_millis(10))));
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(data) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match &mut self.breaks {
            None => Poll::Ready(None),
            Some(pause) => {
                ready!(pause.as_mut().poll(cx));
                Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
