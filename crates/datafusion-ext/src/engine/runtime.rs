//! The process-wide Tokio runtime, and waiting on it from threads that belong to the caller.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures::future::{Aborted, abortable};
use tokio::runtime::{Builder, Runtime};

use crate::error::{Code, EngineError, Result};
use crate::functions::planning;

/// How often a waiting thread asks whether it was interrupted.
const INTERRUPT_POLL: Duration = Duration::from_millis(100);

/// Planning recurses as deep as the query; pages of the stack that are not touched cost nothing.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// Tells a waiting thread to give up, for instance because Ctrl-C was pressed.
pub trait Interrupt: Send + Sync {
    fn interrupted(&self) -> bool;
}

/// For callers that have no signals to look after.
pub struct NeverInterrupted;

impl Interrupt for NeverInterrupted {
    fn interrupted(&self) -> bool {
        false
    }
}

struct OwnedRuntime {
    process: u32,
    runtime: Runtime,
}

/// Return the runtime that all engines of this process share.
pub fn runtime() -> Result<&'static Runtime> {
    static SHARED: OnceLock<Result<OwnedRuntime>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("datafusion-ext")
            .thread_stack_size(STACK_BYTES)
            .build()
            .map_err(|error| EngineError::new(Code::Resources, format!("No worker threads: {error}")))?;
        Ok(OwnedRuntime { process: std::process::id(), runtime })
    });
    let owned = shared.as_ref().map_err(Clone::clone)?;
    if owned.process != std::process::id() {
        return Err(EngineError::new(
            Code::Forked,
            "The engine was started before this process was forked, and threads do not survive a fork. \
             Start workers with the 'spawn' method",
        ));
    }
    Ok(&owned.runtime)
}

/// Wakes a thread that waits for a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Wait for a future on the calling thread; dropping it when interrupted frees what it holds.
///
/// The wait has a clock of its own: the runtime's timers stand still while all its threads compute.
pub fn block_on<F: Future>(future: F, interrupt: &dyn Interrupt) -> Result<F::Output> {
    let _entered = runtime()?.enter();
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut asked = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(output);
        }
        thread::park_timeout(INTERRUPT_POLL);
        if asked.elapsed() >= INTERRUPT_POLL {
            asked = Instant::now();
            if interrupt.interrupted() {
                return Err(EngineError::new(Code::Interrupted, "The query was interrupted"));
            }
        }
    }
}

/// Do work on a thread of its own and wait for it on the calling one. When interrupted, the work is dropped where
/// it next yields; until then it keeps its thread, and no other work waits for that one.
pub fn run<T, F>(work: F, interrupt: &dyn Interrupt) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let handle = runtime()?.handle().clone();
    let (work, ending) = abortable(planning(work));
    let mut task = runtime()?.spawn_blocking(move || handle.block_on(work));
    let outcome = block_on(&mut task, interrupt);
    ending.abort();
    match outcome? {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(Aborted)) => Err(EngineError::new(Code::Interrupted, "The query was interrupted")),
        Err(failure) => Err(EngineError::new(Code::Internal, format!("The engine panicked: {failure}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always;

    impl Interrupt for Always {
        fn interrupted(&self) -> bool {
            true
        }
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let error = block_on(std::future::pending::<()>(), &Always).unwrap_err();
        assert_eq!(error.code, Code::Interrupted);
    }

    #[test]
    fn work_that_was_given_up_is_in_nobodys_way() {
        let (ended, ends) = std::sync::mpsc::channel::<()>();
        let ends = Arc::new(std::sync::Mutex::new(ends));
        for _ in 0..2 * runtime().unwrap().metrics().num_workers() {
            let ends = Arc::clone(&ends);
            let computing = async move {
                let _ = ends.lock().unwrap().recv();
                Ok(())
            };
            assert_eq!(run(computing, &Always).unwrap_err().code, Code::Interrupted);
        }
        let spawned = async { Ok(tokio::spawn(async { 7 }).await.unwrap()) };
        assert_eq!(run(spawned, &NeverInterrupted).unwrap(), 7);
        drop(ended);
    }

    #[test]
    fn a_result_is_returned() {
        assert_eq!(run(async { Ok(7) }, &NeverInterrupted).unwrap(), 7);
    }

    #[test]
    fn a_panic_is_an_error() {
        async fn panicking() -> Result<()> {
            panic!("on purpose")
        }
        assert_eq!(run(panicking(), &NeverInterrupted).unwrap_err().code, Code::Internal);
    }
}
