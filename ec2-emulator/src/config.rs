//! The settings of an emulator.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::rules::lag::Lag;
use crate::rules::rates::Buckets;
use crate::state::seed::Seed;
use crate::tls::Tls;

/// How an emulator is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// The account that all requests come from.
    pub account: String,
    /// The only Region that requests may be signed for; none: any.
    pub region: Option<String>,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long every answer takes at least. Requests that overlap wait at the same time.
    pub latency: Duration,
    /// The limits of the request rate.
    pub buckets: Buckets,
    /// No page is longer than this, even where the request would allow it. Real services may end a
    /// page early too.
    pub largest_page: Option<usize>,
    /// How far reads lag behind writes; none: not at all.
    pub lags: Vec<Lag>,
    /// What is there from the start, and again after a reset.
    pub seed: Seed,
    /// HTTPS instead of HTTP.
    pub tls: Option<Tls>,
}

impl Default for Config {
    /// Account 111122223333, any Region, a free port of 127.0.0.1, no latency, no limits, no lag,
    /// nothing there.
    fn default() -> Self {
        Self {
            account: "111122223333".to_owned(),
            region: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            latency: Duration::ZERO,
            buckets: Buckets::none(),
            largest_page: None,
            lags: Vec::new(),
            seed: Seed::default(),
            tls: None,
        }
    }
}
