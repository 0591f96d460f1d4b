//! A strict stand-in for the parts of EC2 and Parameter Store that ami-warden talks to.
//!
//! The public emulators accept what EC2 refuses: an encrypted image made public, an image shared
//! while it is pending, a parameter that does not exist. A test against them proves little. This
//! one refuses what EC2 refuses, with EC2's codes, and where the behaviour of EC2 is not known it
//! takes the stricter side, so that a client must be right either way.
//!
//! ```no_run
//! use ec2_emulator::{Config, Emulator, Fault, Image};
//!
//! # async fn example() {
//! let emulator = Emulator::start(Config::default()).await;
//! emulator.add(Image::new("ami-0123456789abcdef0").tag("release", "stable"));
//! emulator.fault(Fault::error("ModifyImageAttribute", "RequestLimitExceeded").times(2));
//!
//! // … point AWS_ENDPOINT_URL at emulator.url() and run what is to be tested …
//!
//! let image = emulator.image("ami-0123456789abcdef0").expect("still there");
//! assert_eq!(image.grantees(), ["444455556666"]);
//! assert_eq!(emulator.writes().len(), 3);
//! # }
//! ```
//!
//! What flows where: [`server`] takes HTTP requests, [`engine`] decodes them (by [`wire`]),
//! lets them go wrong ([`faults`], [`bucket`]) or carries them out ([`ec2`], [`ssm`]) on a
//! [`state`], and logs them ([`call`]). [`control`] is the door for other processes.

#![warn(missing_docs, unreachable_pub)]
#![expect(
    rustdoc::private_intra_doc_links,
    reason = "the map above is for readers of the source"
)]

mod bucket;
mod call;
mod control;
mod ec2;
mod engine;
mod faults;
mod server;
mod ssm;
mod state;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

pub use bucket::Buckets;
pub use call::Call;
pub use faults::{Fault, FaultKind};
pub use ssm::{Parameter, ParameterType};
pub use state::grantee::Grantee;
pub use state::image::{BlockDevice, Image, ImageState, Snapshot};
pub use state::{BlockPublicAccess, Seed, State};
pub use tls::Tls;

use engine::Engine;

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
    /// What is there from the start, and again after a reset.
    pub seed: Seed,
    /// HTTPS in place of HTTP.
    pub tls: Option<Tls>,
}

impl Default for Config {
    /// Account 111122223333, any Region, a free port of 127.0.0.1, no latency, no limits, nothing
    /// there.
    fn default() -> Self {
        Self {
            account: "111122223333".to_owned(),
            region: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            latency: Duration::ZERO,
            buckets: Buckets::none(),
            largest_page: None,
            seed: Seed::default(),
            tls: None,
        }
    }
}

/// A running emulator. It serves on a thread of its own, so that a test may block, and stops when
/// it is dropped.
pub struct Emulator {
    engine: Arc<Engine>,
    address: SocketAddr,
    scheme: &'static str,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Starts an emulator that is ready when this returns.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub async fn start(config: Config) -> Self {
        Self::spawn(config).expect("the address can be listened on")
    }

    /// The same without async.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub fn spawn(config: Config) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(config.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let tls = config.tls.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let engine = Arc::new(Engine::new(config));
        let (stop, stopped) = oneshot::channel();
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let serving = Arc::clone(&engine);
        let thread = std::thread::Builder::new()
            .name("ec2-emulator".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        _ = server::serve(listener, serving, tls) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            engine,
            address,
            scheme,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What to set as `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds an image with its snapshots, or replaces it.
    pub fn add(&self, image: Image) {
        self.edit(|state| state.add(image));
    }

    /// Adds a parameter to Parameter Store, or replaces it.
    pub fn put_parameter(&self, name: &str, value: &str, kind: ParameterType) {
        self.edit(|state| state.put_parameter(Parameter::new(name, value, kind)));
    }

    /// Looks at the state or changes it, between two requests.
    pub fn edit<R>(&self, edit: impl FnOnce(&mut State) -> R) -> R {
        edit(&mut self.engine.lock().state)
    }

    /// An image as it is now.
    pub fn image(&self, id: &str) -> Option<Image> {
        self.engine.lock().state.images.get(id).cloned()
    }

    /// Puts a fault in place, behind those that are there.
    pub fn fault(&self, fault: Fault) {
        let inner = &mut *self.engine.lock();
        inner.faults.add(fault, &inner.state);
    }

    /// The faults that are not used up.
    pub fn faults_left(&self) -> Vec<Fault> {
        self.engine.lock().faults.left()
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.engine.lock().faults.clear();
    }

    /// Runs before every request is carried out (and before its signature is looked at), also for
    /// those that will fail. The call has no status yet. The hook may change the state; it must not
    /// use the emulator, which is locked.
    pub fn on_call(&self, hook: impl FnMut(&Call, &mut State) + Send + 'static) {
        self.engine.lock().hooks.push(Box::new(hook));
    }

    /// All calls so far, in the order in which they were carried out.
    pub fn calls(&self) -> Vec<Call> {
        self.engine.lock().calls.clone()
    }

    /// The same, and forgets them.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.engine.lock().calls)
    }

    /// The calls of one action.
    pub fn calls_of(&self, action: &str) -> Vec<Call> {
        self.calls_where(|call| call.action == action)
    }

    /// The calls that might change something, whatever became of them; dry runs are not among them.
    pub fn writes(&self) -> Vec<Call> {
        self.calls_where(Call::is_write)
    }

    fn calls_where(&self, wanted: impl Fn(&Call) -> bool) -> Vec<Call> {
        let inner = self.engine.lock();
        inner.calls.iter().filter(|c| wanted(c)).cloned().collect()
    }

    /// How many requests were refused for their rate, by bucket.
    pub fn throttled(&self) -> BTreeMap<String, u64> {
        self.engine.lock().throttle.refused().clone()
    }

    /// Back to how it all began: state, calls, faults and buckets. Hooks stay.
    pub fn reset(&self) {
        self.engine.reset();
    }

    /// Serves until the process ends.
    pub fn run(mut self) {
        if let Some(thread) = self.thread.take() {
            // The thread ends only when told to, or by a panic that has been reported already.
            let _ = thread.join();
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended before.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
