//! The emulator as tests use it: within their own process.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::Config;
use crate::engine::Engine;
use crate::held_gate::HeldGate;
use crate::rules::acts::{Act, ActError};
use crate::rules::call::Call;
use crate::rules::carry_out::carry_out;
use crate::rules::faults::Fault;
use crate::rules::gates::Gate;
use crate::rules::lag::Lag;
use crate::rules::rates::Buckets;
use crate::rules::triggers::Trigger;
use crate::server;
use crate::state::account::State;
use crate::state::image::Image;
use crate::state::key::Key;
use crate::state::parameter::{Parameter, ParameterType};

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

    /// Where it listens, with the port that it got if the settings say 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds an image with its snapshots, or replaces it.
    pub fn add(&self, image: Image) {
        self.edit(|state| state.add(image));
    }

    /// Adds many images at once.
    pub fn add_all(&self, images: impl IntoIterator<Item = Image>) {
        self.edit(|state| images.into_iter().for_each(|image| state.add(image)));
    }

    /// Adds a parameter to Parameter Store, or replaces it.
    pub fn put_parameter(&self, name: &str, value: &str, kind: ParameterType) {
        self.put(Parameter::new(name, value, kind));
    }

    /// The same with all that a parameter has.
    pub fn put(&self, parameter: Parameter) {
        self.edit(|state| state.put_parameter(parameter));
    }

    /// Adds a KMS key, or replaces it.
    pub fn add_key(&self, key: Key) {
        self.edit(|state| state.add_key(key));
    }

    /// Looks at the state or changes it, between two requests.
    pub fn edit<R>(&self, edit: impl FnOnce(&mut State) -> R) -> R {
        self.engine.with(|inner| inner.edit(edit))
    }

    /// An image as it is now.
    pub fn image(&self, id: &str) -> Option<Image> {
        self.engine.lock().state.images.get(id).cloned()
    }

    /// Puts a fault in place, behind those that are there.
    pub fn fault(&self, fault: Fault) {
        self.engine.add_faults(vec![fault]);
    }

    /// The faults that are not used up.
    pub fn faults_left(&self) -> Vec<Fault> {
        self.engine.lock().faults.left()
    }

    /// Removes all faults, used up or not.
    pub fn clear_faults(&self) {
        self.engine.lock().faults.clear();
    }

    /// Runs before every request is carried out (and before its signature is looked at), also for
    /// those that will fail. The call has no status yet. The hook may change the state; it must not
    /// use the emulator, which is locked.
    pub fn on_call(&self, hook: impl FnMut(&Call, &mut State) + Send + 'static) {
        self.engine.lock().hooks.push(Box::new(hook));
    }

    /// Puts a gate in place, where chosen calls wait.
    pub fn gate(&self, gate: Gate) -> HeldGate {
        HeldGate::new(Arc::clone(&self.engine), gate)
    }

    /// Has changes by hand happen at chosen calls.
    pub fn trigger(&self, trigger: Trigger) {
        self.engine.with(|inner| inner.triggers.add(trigger));
    }

    /// Changes something by hand, as people do while something runs.
    ///
    /// # Errors
    ///
    /// When the image, snapshot or parameter is not there.
    pub fn act(&self, act: Act) -> Result<(), ActError> {
        self.edit(|state| carry_out(state, vec![act]))
    }

    /// Has reads lag behind writes from now on; none: no longer.
    pub fn set_lags(&self, lags: impl IntoIterator<Item = Lag>) {
        let lags = lags.into_iter().collect();
        self.engine.with(|inner| inner.lags.set(lags));
    }

    /// Waits until the state and the calls so far are as wanted, for at most so long; whether they
    /// are.
    pub fn wait_until(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&State, &[Call]) -> bool,
    ) -> bool {
        let found = self.engine.wait_for(patience, |inner| {
            wanted(&inner.state, &inner.calls).then_some(())
        });
        found.is_some()
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

    /// Changes the limits of the request rate meanwhile. What is in the buckets stays there.
    pub fn set_buckets(&self, buckets: Buckets) {
        self.engine.with(|inner| inner.throttle.set(buckets));
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
