//! What stands for [`Tls`] where the feature `tls` is off: nothing that there could be.

use std::io;

use tokio::net::TcpStream;

/// HTTPS, which needs the feature `tls`.
#[derive(Debug, Clone)]
pub enum Tls {}

impl Tls {
    #[expect(clippy::unused_async, reason = "as with the feature")]
    pub(crate) async fn accept(self, _: TcpStream) -> io::Result<TcpStream> {
        match self {}
    }
}

pub(crate) fn tcp(stream: &TcpStream) -> &TcpStream {
    stream
}
