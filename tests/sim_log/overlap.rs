//! Two writes of the log under way at once.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    path::Path,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use mainstem::{
    base::Position,
    env::{BlockSink, Disk, File, OpenMode},
    storage::commit_log::{FileSink, Step},
};

use crate::world::{Live, World};

/// A sink whose writes can be held between the moment they reach the disk and the moment they are
/// durable.
pub struct HeldSink {
    disk: Arc<dyn Disk>,
    file: Option<Arc<dyn File>>,
    durable: FileSink,
    hold: Rc<Cell<bool>>,
}

impl HeldSink {
    pub fn new(disk: &Arc<dyn Disk>, hold: &Rc<Cell<bool>>) -> Self {
        let durable = FileSink::new(Arc::clone(disk));
        Self { disk: Arc::clone(disk), file: None, durable, hold: Rc::clone(hold) }
    }
}

impl BlockSink for HeldSink {
    async fn open(&mut self, path: &Path) -> io::Result<()> {
        self.file = Some(self.disk.open(path, OpenMode::WriteDirect)?);
        self.durable.open(path).await
    }

    async fn write(&mut self, bytes: &[u8], offset: u64, durable: bool) -> io::Result<()> {
        if self.hold.get() {
            self.file.as_ref().expect("a segment is open").write_at(bytes, offset)?;
            poll_fn(|_| if self.hold.get() { Poll::Pending } else { Poll::Ready(()) }).await;
        }
        self.durable.write(bytes, offset, durable).await
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.durable.sync().await
    }

    async fn wait(&self, woken: &flume::Receiver<()>, wait: Duration) -> bool {
        self.durable.wait(woken, wait).await
    }
}

/// A step that was begun; none once it has come to its end.
struct Begun<'a> {
    step: Pin<Box<dyn Future<Output = io::Result<Step>> + 'a>>,
    hold: &'a Cell<bool>,
}

impl<'a> Begun<'a> {
    /// Begins a step and holds what it writes. An error if it ended at once.
    fn hold(
        step: impl Future<Output = io::Result<Step>> + 'a,
        hold: &'a Cell<bool>,
    ) -> Result<Self, io::Result<Step>> {
        hold.set(true);
        let mut begun = Self { step: Box::pin(step), hold };
        match begun.poll() {
            Poll::Pending => Ok(begun),
            Poll::Ready(result) => {
                hold.set(false);
                Err(result)
            }
        }
    }

    fn poll(&mut self) -> Poll<io::Result<Step>> {
        self.step.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn end(mut self) -> io::Result<Step> {
        self.hold.set(false);
        match self.poll() {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("nothing holds it"),
        }
    }
}

/// What becomes of two writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Both are done, in one order or the other.
    Done,
    /// At most one is, before the machine stops.
    CutOff,
}

/// Has two writers write at once.
pub fn overlap(world: &mut World, live: &mut Live, fate: Fate) {
    for (before, result) in write_twice(world, live, fate) {
        world.after_write(live, before, result);
    }
    live.holds.iter().for_each(|hold| hold.set(false));
}

/// What the steps that came to an end ended with, and what was durable before.
fn write_twice(
    world: &mut World,
    live: &mut Live,
    fate: Fate,
) -> Vec<(Position, io::Result<Step>)> {
    let Live { log, writer, beside: Some(beside), holds, .. } = live else { return Vec::new() };
    let before = log.durable();
    let mut results = Vec::new();
    let mut note = |result| results.push((before, result));
    world.append(log);
    let first = Begun::hold(writer.step(), &holds[0]).map_err(&mut note).ok();
    world.append(log);
    let second = Begun::hold(beside.step(), &holds[1]).map_err(&mut note).ok();
    let both = first.is_some() && second.is_some();
    world.saw("two writes at once", both);
    let mut begun = [first, second];
    let reversed = world.dice.once_in(2);
    if reversed {
        begun.reverse();
    }
    let ends = match fate {
        Fate::Done => 2,
        Fate::CutOff => world.dice.below(2) as usize,
    };
    for (number, begun) in begun.into_iter().enumerate() {
        match begun {
            Some(begun) if number < ends => results.push((log.durable(), begun.end())),
            Some(_) => world.model.in_flight = true,
            None => {}
        }
        if number == 0 && both && reversed {
            assert_eq!(log.durable(), before, "a gap was acknowledged");
            world.saw("the second of two writes done first", ends > 0);
        }
    }
    results
}
