//! Work that whoever began it carries along, and that goes on without them.
//!
//! A task of its own costs a hand-over in each direction, often to another thread
//! and back: more than all else that happens to a single text. So the one who
//! begins such work polls it beside whatever they wait for, and it becomes a task
//! only if they leave before it is done.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Work under way; becomes a task when it is dropped unfinished.
#[must_use = "it becomes a task at once when dropped"]
pub struct Errand(Option<Carried>);

struct Carried {
    work: Work,
    runtime: Handle,
    tasks: TaskTracker,
    /// Whoever waits for the tasks waits for this too.
    _token: TaskTrackerToken,
}

impl Errand {
    /// `work`, which counts as one of `tasks` until it is done. It begins when it is
    /// polled first, or dropped.
    ///
    /// # Panics
    /// Outside a runtime of tokio.
    pub fn new(work: impl Future<Output = ()> + Send + 'static, tasks: &TaskTracker) -> Self {
        Self(Some(Carried {
            work: Box::pin(work),
            runtime: Handle::current(),
            _token: tasks.token(),
            tasks: tasks.clone(),
        }))
    }

    /// Nothing to do.
    pub fn none() -> Self {
        Self(None)
    }

    /// Waits for `wanted`, doing the work meanwhile: the work first, because `wanted` may
    /// come of it. What is not done by then becomes a task. The work stands still while
    /// this is not polled.
    pub async fn beside<T>(mut self, wanted: impl Future<Output = T>) -> T {
        let mut wanted = pin!(wanted);
        poll_fn(|context| {
            self.go_on(context);
            wanted.as_mut().poll(context)
        })
        .await
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        if let Some(carried) = &mut self.0
            && let Poll::Ready(()) = carried.work.as_mut().poll(context)
        {
            self.0 = None;
        }
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        if let Some(Carried { work, runtime, tasks, _token }) = self.0.take() {
            drop(runtime.spawn(tasks.track_future(work)));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_wanted_may_come_of_the_work() {
        let (tasks, (sender, receiver)) = (TaskTracker::new(), oneshot::channel());
        let errand = Errand::new(async move { sender.send(7).unwrap() }, &tasks);
        assert_eq!(errand.beside(receiver).await, Ok(7));
        assert!(tasks.is_empty());
    }

    #[tokio::test]
    async fn work_goes_on_as_a_task_when_its_owner_has_what_it_wanted() {
        let (tasks, (sender, receiver)) = (TaskTracker::new(), oneshot::channel::<()>());
        let (done, is_done) = oneshot::channel();
        let work = async move {
            drop(receiver.await);
            done.send(()).unwrap();
        };
        Errand::new(work, &tasks).beside(async {}).await;
        assert_eq!(tasks.len(), 1);
        drop(sender);
        is_done.await.unwrap();
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn work_whose_owner_leaves_before_it_began_is_done_all_the_same() {
        let (tasks, (sender, receiver)) = (TaskTracker::new(), oneshot::channel());
        drop(Errand::new(async move { sender.send(()).unwrap() }, &tasks));
        receiver.await.unwrap();
    }

    #[tokio::test]
    async fn nothing_to_do_is_done() {
        assert_eq!(Errand::none().beside(async { 7 }).await, 7);
    }
}
