//! Questions from the socket to the pipeline, which alone knows the answers.

use super::Report;
use crate::discover::Sight;
use tokio::sync::{mpsc, oneshot};

/// Questions that wait; more wait in their connections.
const MAX_WAITING: usize = 4;

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// Only this process.
    pub pid: Option<u32>,
    /// How many processes to leave out.
    pub offset: usize,
    /// How many to tell.
    pub limit: usize,
    reply: oneshot::Sender<Report>,
}

impl Question {
    /// A question, and where its answer comes.
    #[must_use]
    pub fn new(pid: Option<u32>, offset: usize, limit: usize) -> (Self, oneshot::Receiver<Report>) {
        let (reply, answer) = oneshot::channel();
        (Self { pid, offset, limit, reply }, answer)
    }

    /// It is about this process.
    pub(super) fn wants(&self, sight: &Sight<'_>) -> bool {
        self.pid.is_none_or(|pid| pid == sight.process.tgid)
    }

    /// Answers. Whoever asked may be gone.
    pub fn answer(self, report: Report) {
        drop(self.reply.send(report));
    }
}

/// Where questions are put. A clone is another way to the same pipeline.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Question>);

/// Where they come out.
#[derive(Debug)]
pub struct Questions(mpsc::Receiver<Question>);

/// Both ends.
#[must_use]
pub fn desk() -> (Desk, Questions) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    (Desk(sender), Questions(receiver))
}

impl Desk {
    /// Asks, and waits for the answer; none if the pipeline ends meanwhile.
    pub async fn ask(&self, pid: Option<u32>, offset: usize, limit: usize) -> Option<Report> {
        let (question, answer) = Question::new(pid, offset, limit);
        self.0.send(question).await.ok()?;
        answer.await.ok()
    }
}

impl Questions {
    /// The next one; waits for ever once nobody can ask any more.
    pub async fn next(&mut self) -> Question {
        match self.0.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }
}
