//! The busiest topics and the slowest groups of all shards, for the admin port.

use std::{
    collections::BTreeSet,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hashbrown::HashMap;

use crate::{
    admin::{GroupLag, TOP_MOST, Top, TopicRate},
    base::TopicId,
    broker::{Broker, Ends, Job, Mailboxes, keep_slowest},
    env::{Clock, LocalFuture},
};

/// Who asks again so soon gets the same rates, so that each window is long enough for one.
const WINDOW_MIN: Duration = Duration::from_millis(500);

/// All topics' messages at a moment.
#[derive(Clone, Default)]
struct Sample {
    at: Duration,
    messages: HashMap<TopicId, u64>,
}

/// The samples that the last rates were made of.
#[derive(Default)]
struct Window {
    earlier: Option<Arc<Sample>>,
    last: Option<Arc<Sample>>,
}

/// Compares what there is with what there was when somebody asked last. Shared between threads.
pub struct Busiest {
    clock: Arc<dyn Clock>,
    window: Mutex<Window>,
}

impl Busiest {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, window: Mutex::default() }
    }

    /// Asks all shards.
    pub async fn top(&self, mailboxes: &Mailboxes) -> Top {
        let ends =
            each(mailboxes, |broker| Box::pin(async move { broker.queue_ends().await })).await;
        let ends: Arc<Ends> = Arc::new(ends.into_iter().flatten().collect());
        let mut now = Sample { at: self.clock.monotonic(), ..Sample::default() };
        for (partition, end) in ends.iter() {
            *now.messages.entry(partition.topic).or_default() += u64::try_from(*end).unwrap_or(0);
        }
        let lags = each(mailboxes, move |broker| {
            let ends = Arc::clone(&ends);
            Box::pin(async move { broker.slowest_groups(ends, TOP_MOST).await })
        });
        let mut lags: Vec<_> = lags.await.into_iter().flatten().collect();
        keep_slowest(&mut lags, TOP_MOST);
        let (earlier, now) = self.window(now);
        let (window_s, rates) = rates(earlier.as_deref(), &now);

        let named = rates.iter().map(|(topic, ..)| *topic);
        let named: BTreeSet<_> = named.chain(lags.iter().map(|lag| lag.worst.topic)).collect();
        let names = names(mailboxes, named).await;
        // A topic that was deleted meanwhile has no name any more, and is left out.
        let topics = rates.into_iter().filter_map(|(topic, messages_per_s, messages)| {
            Some(TopicRate { topic: names.get(&topic)?.clone(), messages_per_s, messages })
        });
        let groups = lags.into_iter().filter_map(|lag| {
            let worst = format!("{}-{}", names.get(&lag.worst.topic)?, lag.worst.partition);
            let (group, lag_messages) = (lag.group.to_string(), lag.lag);
            Some(GroupLag { group, lag_messages, worst, worst_lag_messages: lag.worst_lag })
        });
        Top { window_s, topics: topics.collect(), groups: groups.collect() }
    }

    /// The samples to compare: this one with the last, or the last two if the last is too new.
    fn window(&self, now: Sample) -> (Option<Arc<Sample>>, Arc<Sample>) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        match &window.last {
            Some(last) if now.at.saturating_sub(last.at) < WINDOW_MIN => {
                (window.earlier.clone(), Arc::clone(last))
            }
            _ => {
                let now = Arc::new(now);
                window.earlier = window.last.replace(Arc::clone(&now));
                (window.earlier.clone(), now)
            }
        }
    }
}

/// Seconds between two samples, and the busiest topics with their rates and all their messages.
fn rates(earlier: Option<&Sample>, now: &Sample) -> (f64, Vec<(TopicId, f64, u64)>) {
    let window_s = earlier.map_or(0.0, |earlier| (now.at - earlier.at).as_secs_f64());
    let rate = |topic: &TopicId, messages: u64| {
        let before = earlier.and_then(|earlier| earlier.messages.get(topic)).copied().unwrap_or(0);
        if window_s > 0.0 { messages.saturating_sub(before) as f64 / window_s } else { 0.0 }
    };
    let rated = |(topic, messages): (&TopicId, &u64)| (*topic, rate(topic, *messages), *messages);
    let mut rates: Vec<_> = now.messages.iter().map(rated).collect();
    rates.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.2.cmp(&a.2)).then(a.0.cmp(&b.0)));
    rates.truncate(TOP_MOST);
    (window_s, rates)
}

/// The same work on every shard, and all results.
async fn each<R: Send + 'static>(
    mailboxes: &Mailboxes,
    work: impl Fn(Rc<Broker>) -> LocalFuture<'static, R> + Clone + Send + 'static,
) -> Vec<R> {
    let (answer, answers) = flume::unbounded();
    for mailbox in mailboxes.iter() {
        let (answer, work) = (answer.clone(), work.clone());
        let job: Job = Box::new(move |broker| {
            Box::pin(async move {
                let _ = answer.send(work(broker).await);
            })
        });
        let _ = mailbox.send_async(job).await;
    }
    drop(answer);
    let mut results = Vec::new();
    while let Ok(result) = answers.recv_async().await {
        results.push(result);
    }
    results
}

/// The names of topics, by the first shard's copy of the cluster's state.
async fn names(mailboxes: &Mailboxes, topics: BTreeSet<TopicId>) -> HashMap<TopicId, String> {
    let (answer, answers) = flume::bounded(1);
    let job: Job = Box::new(move |broker| {
        Box::pin(async move {
            let cluster = broker.cluster();
            let name = |id| Some((id, cluster.topic_by_id(id)?.name.to_string()));
            let _ = answer.send(topics.into_iter().filter_map(name).collect());
        })
    });
    let _ = mailboxes[0].send_async(job).await;
    answers.recv_async().await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::blocking::SystemClock;

    fn sample(at_ms: u64, messages: &[(u8, u64)]) -> Sample {
        let messages = messages.iter().map(|(topic, messages)| (TopicId([*topic; 16]), *messages));
        Sample { at: Duration::from_millis(at_ms), messages: messages.collect() }
    }

    #[test]
    fn the_busiest_come_first_and_new_ones_count_from_none() {
        let earlier = sample(1_000, &[(1, 100), (2, 100), (3, 7)]);
        let now = sample(3_000, &[(1, 110), (2, 300), (4, 50)]);
        let (window_s, rates) = rates(Some(&earlier), &now);
        let rates: Vec<_> = rates.iter().map(|(id, rate, all)| (id.0[0], *rate, *all)).collect();
        assert_eq!((window_s, rates), (2.0, vec![(2, 100.0, 300), (4, 25.0, 50), (1, 5.0, 110)]));
    }

    #[test]
    fn there_are_at_most_so_many() {
        let many: Vec<_> = (0..50).map(|topic| (topic, u64::from(topic))).collect();
        let (window_s, rates) = rates(None, &sample(5, &many));
        assert_eq!((window_s, rates.len()), (0.0, TOP_MOST));
        assert_eq!(rates[0], (TopicId([49; 16]), 0.0, 49));
    }

    #[test]
    fn a_window_is_never_too_short() {
        let busiest = Busiest::new(Arc::new(SystemClock::default()));
        let compared = |at_ms| {
            let (earlier, now) = busiest.window(sample(at_ms, &[]));
            (earlier.map(|earlier| earlier.at.as_millis()), now.at.as_millis())
        };
        assert_eq!(compared(1_000), (None, 1_000));
        assert_eq!(compared(1_100), (None, 1_000));
        assert_eq!(compared(2_000), (Some(1_000), 2_000));
        assert_eq!(compared(2_499), (Some(1_000), 2_000));
        assert_eq!(compared(2_500), (Some(2_000), 2_500));
    }
}
