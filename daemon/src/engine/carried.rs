//! A future that is carried on in the background if whoever waits for it stops waiting.
//!
//! The one who waits polls it, so the usual case costs no task and no wake-up in between; only if it is dropped
//! halfway it becomes a task of the engine, and a drain waits for it either way.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// See the module.
pub(crate) struct CarriedOn<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    future: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
    _counted: TaskTrackerToken,
}

impl<F> CarriedOn<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    /// Begins at the first poll.
    pub fn new(tasks: TaskTracker, future: F) -> Self {
        let counted = tasks.token();
        Self { future: Some(Box::pin(future)), tasks, _counted: counted }
    }
}

impl<F> Future for CarriedOn<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let done = future.as_mut().poll(context);
        if done.is_ready() {
            self.future = None;
        }
        done
    }
}

impl<F> Drop for CarriedOn<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
        // After a panic inside there is nothing to go on with; after the end of the runtime nowhere.
        if let Some(future) = self.future.take()
            && !std::thread::panicking()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.tasks.spawn_on(future, &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_was_begun_goes_on_when_nobody_waits_any_more() {
        let (tasks, go, said) = (TaskTracker::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (wait, say) = (Arc::clone(&go), Arc::clone(&said));
        let mut carried = CarriedOn::new(tasks.clone(), async move {
            wait.notified().await;
            say.notify_one();
        });
        assert!(futures::poll!(&mut carried).is_pending());
        drop(carried);
        tasks.close();
        assert_eq!(tasks.len(), 1, "a drain waits for it");
        go.notify_one();
        said.notified().await;
        tasks.wait().await;
    }

    #[tokio::test]
    async fn what_is_waited_for_gives_its_answer_and_leaves_no_task() {
        let tasks = TaskTracker::new();
        assert_eq!(CarriedOn::new(tasks.clone(), async { 7 }).await, 7);
        assert!(tasks.is_empty());
    }
}
