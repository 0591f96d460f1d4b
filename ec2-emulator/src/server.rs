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
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

use crate::control::{self, Asked};
use crate::engine::Engine;
use crate::engine::reply::Reply;
use crate::tls::{self, Tls};
use crate::wire::request::Request;

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
    request: hyper::Request<Incoming>,
) -> Result<Response<Payload>, Reset> {
    let (head, body) = request.into_parts();
    // A client that does not send the whole request gets no answer.
    let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or_default();
    if let Some(resource) = path.strip_prefix("/_emulator/") {
        let asked = Asked::new(head.method, resource, query, body);
        let (status, json) = control::answer(&engine, &asked).await;
        return Ok(respond(status, "application/json", json.to_string()));
    }
    if path != "/" || !matches!(head.method, Method::GET | Method::POST) {
        let text = "Only GET and POST of / are known here, and /_emulator/.\n".to_owned();
        return Ok(respond(404, "text/plain", text));
    }
    let header = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let request = Request {
        query: query.to_owned(),
        body,
        authorization: header("authorization"),
        target: header("x-amz-target"),
    };
    // A task of its own, which goes on when the client goes away: a write that a gate holds is
    // carried out when the gate lets it, even if nobody waits for it any more. A task that
    // panicked, in the hook of a test, gives no answer.
    let handled = tokio::spawn(engine.handle(request)).await;
    let (reply, _under_way) = handled.map_err(|_| Reset)?;
    send(reply).await
}

async fn send(reply: Reply) -> Result<Response<Payload>, Reset> {
    let message = match reply {
        Reply::Send(message) => message,
        Reply::Reset(Some(after)) => {
            sleep_for(after).await;
            return Err(Reset);
        }
        Reply::Reset(None) => std::future::pending().await,
    };
    sleep_for(message.delay).await;
    let mut response = respond(message.status, message.content_type, message.body);
    if let Ok(id) = message.request_id.parse() {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    if message.truncated {
        response.body_mut().truncate();
    }
    Ok(response)
}

/// A timer takes a millisecond even for no time at all.
async fn sleep_for(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

fn respond(status: u16, content_type: &'static str, body: String) -> Response<Payload> {
    let mut response = Response::new(Payload::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
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
