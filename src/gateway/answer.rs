//! Answers on their way to the client, and how they are sent.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_lite::future;

use super::cold_room::ColdHeld;
use crate::{
    base::{Position, Stage},
    broker::{Broker, LogSlice},
    env::{ColdBytes, glommio::Connection},
};
use std::rc::Rc;

/// Slices given to the socket at a time.
const SLICES: usize = 128;

/// Bytes that a socket is given at a time. A copy of that many takes a tenth or two of a millisecond; a
/// socket would take several times as much, and those at the log's end would wait for it.
const TURN_BYTES: usize = 512 << 10;

/// What an answer takes beside its bytes, in bytes: itself, and room that its bytes leave free.
const ANSWER_BYTES: usize = 512;

/// Bytes in memory that may wait to be sent before no further request is read. Who does not read has
/// an answer more than that, and the ones its socket is being given.
const HELD_MAX: usize = 64 << 20;

/// Answers that wait, of a client that counts as one with many requests under way.
const MANY: usize = 8;

/// The longest that such a client is not read: on its connection may be what does not wait for the log.
const GATHER: Duration = Duration::from_millis(10);

/// A piece of an answer.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Bytes(Bytes),
    /// A payload that was read from disk.
    Cold(ColdBytes),
    /// A payload in the log, of which the first `sent` bytes have gone out.
    Log {
        slice: LogSlice,
        sent: u32,
    },
}

impl Part {
    /// Bytes that have not gone out.
    fn left(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Cold(bytes) => bytes.len(),
            Self::Log { slice, sent } => (slice.length - *sent) as usize,
        }
    }
}

/// An answer: its bytes, and what has to be durable before it leaves.
#[derive(Debug)]
pub(super) struct Answer {
    pub parts: Vec<Part>,
    /// Leaves once the log is durable up to here.
    pub after: Position,
    /// Which stage its sending counts for.
    pub stage: Stage,
    /// When it was ready to wait for the log, on the monotonic clock; for answers that wait.
    pub waits_since: Option<Duration>,
    /// Room that its cold parts take, until they are sent.
    pub cold: Option<ColdHeld>,
}

impl Answer {
    pub(super) fn now(bytes: Bytes) -> Self {
        Self {
            parts: vec![Part::Bytes(bytes)],
            after: Position(0),
            stage: Stage::Answer,
            waits_since: None,
            cold: None,
        }
    }

    /// Messages around which nothing has to become durable.
    pub(super) fn messages(parts: Vec<Part>, cold: ColdHeld) -> Self {
        Self { parts, after: Position(0), stage: Stage::Send, waits_since: None, cold: Some(cold) }
    }

    /// What it takes in memory, in bytes, but for what lies in the hot tail.
    fn held_bytes(&self) -> usize {
        let held = self.parts.iter().map(|part| match part {
            Part::Log { .. } => 0,
            part => bytes_of(part).len(),
        });
        held.sum()
    }
}

#[derive(Default)]
struct Line {
    answers: VecDeque<Answer>,
    /// Bytes of all of them in memory.
    held: usize,
    /// No more answers will come.
    closed: bool,
    sender: Option<Waker>,
    reader: Option<Waker>,
}

/// The answers of one connection, in the order of their requests.
#[derive(Default)]
pub(super) struct Answers {
    line: RefCell<Line>,
}

impl Answers {
    pub(super) fn push(&self, answer: Answer) {
        let mut line = self.line.borrow_mut();
        line.held += answer.held_bytes();
        line.answers.push_back(answer);
        line.sender.take().into_iter().for_each(Waker::wake);
    }

    /// Lets the sender end after what is there.
    pub(super) fn close(&self) {
        let mut line = self.line.borrow_mut();
        line.closed = true;
        line.sender.take().into_iter().for_each(Waker::wake);
    }

    /// Waits until fewer than `limit` answers are there, and not too many bytes in memory; false if
    /// nobody sends them any more.
    pub(super) async fn below(&self, limit: usize) -> bool {
        poll_fn(|context| {
            let mut line = self.line.borrow_mut();
            if line.closed || (line.answers.len() < limit && line.held <= HELD_MAX) {
                return Poll::Ready(!line.closed);
            }
            line.reader = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Where the client has many requests under way: waits until the log has what the first of their
    /// answers waits for, unless that takes long. What is read before cannot be answered sooner; read
    /// together, many cost one wake-up of the shard.
    pub(super) async fn gather(&self, broker: &Broker) {
        if let Some(after) = self.first_of_many() {
            // Where the log has stopped, the one who sends the answers says so.
            let durable = async { broker.durable(after).await.unwrap_or(()) };
            future::or(durable, broker.env().tasks.sleep(GATHER)).await;
        }
    }

    fn first_of_many(&self) -> Option<Position> {
        let line = self.line.borrow();
        line.answers.front().filter(|_| line.answers.len() >= MANY).map(|first| first.after)
    }

    /// Memory of the answers there are, in bytes, but for what lies in the log.
    pub(super) fn queued_bytes(&self) -> usize {
        let line = self.line.borrow();
        let parts = line.answers.iter().flat_map(|answer| &answer.parts);
        let parts = parts.map(|part| if let Part::Bytes(bytes) = part { bytes.len() } else { 0 });
        parts.sum::<usize>() + line.answers.len() * ANSWER_BYTES
    }

    async fn first_after(&self) -> Option<Position> {
        poll_fn(|context| {
            let mut line = self.line.borrow_mut();
            match line.answers.front() {
                Some(first) => Poll::Ready(Some(first.after)),
                None if line.closed => Poll::Ready(None),
                None => {
                    line.sender = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Takes the answers at the front that may leave.
    fn take_ready(&self, durable: Position, taken: &mut Vec<Answer>) {
        let mut line = self.line.borrow_mut();
        while line.answers.front().is_some_and(|first| first.after <= durable) {
            let first = line.answers.pop_front().expect("it is there");
            line.held -= first.held_bytes();
            taken.push(first);
        }
        line.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Sends answers until there are no more to come or the connection fails.
    pub(super) async fn send_all(&self, broker: &Rc<Broker>, to: &Connection) -> io::Result<()> {
        let result = self.send_loop(broker, to).await;
        if result.is_err() {
            self.close();
            let mut line = self.line.borrow_mut();
            line.answers.clear();
            line.held = 0;
            line.reader.take().into_iter().for_each(Waker::wake);
        }
        result
    }

    async fn send_loop(&self, broker: &Rc<Broker>, to: &Connection) -> io::Result<()> {
        let clock = &broker.env().clock;
        let mut ready = Vec::new();
        let (mut parts, mut cold) = (VecDeque::new(), Vec::new());
        while let Some(after) = self.first_after().await {
            broker.durable(after).await.map_err(io::Error::other)?;
            self.take_ready(broker.log().durable(), &mut ready);
            let began = clock.monotonic();
            let stage = ready.last().map_or(Stage::Answer, |answer| answer.stage);
            for answer in ready.drain(..) {
                if let Some(since) = answer.waits_since {
                    broker.record(Stage::WaitLog, began.saturating_sub(since));
                }
                parts.extend(answer.parts);
                cold.extend(answer.cold);
            }
            send_parts(broker, to, &mut parts).await?;
            cold.clear();
            broker.record(stage, clock.monotonic().saturating_sub(began));
        }
        Ok(())
    }
}

/// Sends all parts in order. Payloads are borrowed from the hot tail for one call at a time; what
/// the socket did not take stays a position, so a slow client holds nothing in place. Who is sent much
/// lets others on the shard have a turn in between, while there are some who write.
async fn send_parts(
    broker: &Rc<Broker>,
    to: &Connection,
    parts: &mut VecDeque<Part>,
) -> io::Result<()> {
    while !parts.is_empty() {
        let count = parts_of_turn(parts);
        let sent = match gather(broker, parts, count, TURN_BYTES, |slices| to.try_write(slices)) {
            Some(sent) => sent?,
            None => {
                load_cold(broker, parts, count).await?;
                continue;
            }
        };
        let sent = match sent {
            Some(sent) => sent,
            // The socket is full: wait for it with the first slice alone.
            None => {
                to.write(|poll| {
                    let _ = gather(broker, parts, 1, TURN_BYTES, |slices| poll(&slices[0]));
                })
                .await?
            }
        };
        advance(parts, sent);
        if sent == TURN_BYTES && broker.log_moves() {
            broker.env().tasks.sleep(Duration::ZERO).await;
        }
    }
    Ok(())
}

/// How many of the first parts a socket is given at a time: what lies behind them is not even looked
/// at, so that of an answer whose parts have left the hot tail no more is in memory at a time.
fn parts_of_turn(parts: &VecDeque<Part>) -> usize {
    let mut bytes = 0;
    let fits = |part: &&Part| {
        let is_within = bytes < TURN_BYTES;
        bytes += part.left();
        is_within
    };
    parts.iter().take(SLICES).take_while(fits).count()
}

/// Calls `send` with the bytes of the first `count` parts, `limit` of them at most; `None` if one of
/// those parts has left the hot tail.
fn gather<R>(
    broker: &Broker,
    parts: &VecDeque<Part>,
    count: usize,
    limit: usize,
    send: impl FnOnce(&[IoSlice<'_>]) -> R,
) -> Option<R> {
    let first = || parts.iter().take(count);
    let oldest = first().filter_map(|part| match part {
        Part::Log { slice, .. } => Some(slice.position),
        Part::Bytes(_) | Part::Cold(_) => None,
    });
    let Some(oldest) = oldest.min() else {
        return Some(send(&slices_of(first().map(bytes_of), limit)));
    };
    broker.tail().with(oldest, |view| {
        let bytes_of = |part| match part {
            &Part::Log { slice, sent } => {
                &view.slice(slice.position, slice.length as usize)[sent as usize..]
            }
            part => bytes_of(part),
        };
        send(&slices_of(first().map(bytes_of), limit))
    })
}

/// The first `left` bytes of `pieces`.
fn slices_of<'a>(pieces: impl Iterator<Item = &'a [u8]>, mut left: usize) -> Vec<IoSlice<'a>> {
    let mut slices = Vec::with_capacity(pieces.size_hint().0);
    slices.extend(pieces.map_while(|piece| {
        let piece = (left > 0).then(|| &piece[..piece.len().min(left)])?;
        left -= piece.len();
        Some(IoSlice::new(piece))
    }));
    slices
}

fn bytes_of(part: &Part) -> &[u8] {
    match part {
        Part::Bytes(bytes) => bytes,
        Part::Cold(bytes) => bytes,
        Part::Log { .. } => unreachable!("only called where no part is in the log"),
    }
}

/// Takes `sent` bytes off the front.
fn advance(parts: &mut VecDeque<Part>, mut sent: usize) {
    while let Some(first) = parts.front_mut() {
        let left = first.left();
        if sent < left {
            match first {
                Part::Bytes(bytes) => drop(bytes.split_to(sent)),
                Part::Cold(bytes) => *bytes = bytes.slice(sent..bytes.len()),
                Part::Log { sent: before, .. } => *before += sent as u32,
            }
            return;
        }
        sent -= left;
        parts.pop_front();
    }
}

/// Replaces those of the first `count` parts that have left the hot tail by verified bytes from disk.
async fn load_cold(
    broker: &Rc<Broker>,
    parts: &mut VecDeque<Part>,
    count: usize,
) -> io::Result<()> {
    let start = broker.tail().start();
    let mut cold = Vec::new();
    for (at, part) in parts.iter().take(count).enumerate() {
        if let Part::Log { slice, sent } = part
            && slice.position < start
        {
            cold.push((at, *slice, *sent));
        }
    }
    let slices: Vec<_> = cold.iter().map(|(_, slice, _)| *slice).collect();
    let loaded = broker.load(&slices).await;
    for ((at, _, sent), bytes) in cold.into_iter().zip(loaded) {
        let bytes = bytes.map_err(io::Error::other)?;
        parts[at] = Part::Cold(bytes.slice(sent as usize..bytes.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_count_beside_their_bytes() {
        let answers = Answers::default();
        assert_eq!(answers.queued_bytes(), 0);
        answers.push(Answer::now(Bytes::from_static(b"one")));
        answers.push(Answer::now(Bytes::new()));
        assert_eq!(answers.queued_bytes(), 3 + 2 * ANSWER_BYTES);
    }

    #[test]
    fn no_more_is_asked_while_much_waits_to_be_sent() {
        use futures_lite::future::{block_on, poll_once};
        let answers = Answers::default();
        let goes_on = || block_on(poll_once(answers.below(10)));
        let large = Bytes::from(vec![0; HELD_MAX / 2 + 1]);
        answers.push(Answer::now(large.clone()));
        assert_eq!(goes_on(), Some(true));
        answers.push(Answer::now(large));
        assert_eq!(goes_on(), None);
        answers.take_ready(Position(0), &mut Vec::new());
        assert_eq!(goes_on(), Some(true));
    }

    #[test]
    fn only_who_has_many_requests_under_way_waits_for_the_log() {
        let answers = Answers::default();
        for position in 1..MANY as u64 {
            answers.push(Answer { after: Position(position), ..Answer::now(Bytes::new()) });
            assert_eq!(answers.first_of_many(), None);
        }
        answers.push(Answer { after: Position(100), ..Answer::now(Bytes::new()) });
        assert_eq!(answers.first_of_many(), Some(Position(1)));
        answers.take_ready(Position(1), &mut Vec::new());
        assert_eq!(answers.first_of_many(), None);
    }

    #[test]
    fn no_more_than_a_turn_is_looked_at() {
        let part = |bytes| Part::Bytes(Bytes::from(vec![0; bytes]));
        let parts = |bytes: &[usize]| bytes.iter().copied().map(part).collect();
        assert_eq!(parts_of_turn(&parts(&[3 * TURN_BYTES, 1])), 1);
        assert_eq!(parts_of_turn(&parts(&[TURN_BYTES - 1, 1, 1])), 2);
        assert_eq!(parts_of_turn(&parts(&[0; 2 * SLICES])), SLICES);
    }

    #[test]
    fn a_turn_ends_inside_a_piece() {
        let pieces: [&[u8]; 4] = [b"head", b"", b"0123456789", b"more"];
        let lengths = |limit| -> Vec<usize> {
            slices_of(pieces.into_iter(), limit).iter().map(|slice| slice.len()).collect()
        };
        assert_eq!(lengths(usize::MAX), [4, 0, 10, 4]);
        assert_eq!(lengths(4), [4], "what comes behind is not looked at");
        assert_eq!(lengths(6), [4, 0, 2]);
        assert_eq!(lengths(14), [4, 0, 10]);
    }
}
