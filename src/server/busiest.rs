//! The busiest topics and the slowest groups of all shards, for the admin port.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hashbrown::HashMap;
use tokio::sync::Mutex;

use super::all_shards::each;
use crate::{
    admin::{GroupLag, TOP_MOST, Top, TopicRate},
    base::TopicId,
    broker::{Ends, Job, Mailboxes, keep_slowest},
    env::Clock,
};

/// Who asks again so soon gets the same: a walk over all queues and groups is not to be had for nothing.
const WINDOW_MIN: Duration = Duration::from_millis(500);

/// All topics' messages at a moment.
#[derive(Default)]
struct Sample {
    at: Duration,
    messages: HashMap<TopicId, u64>,
}

/// Compares what there is with what there was when somebody asked last. Shared between threads.
pub struct Busiest {
    clock: Arc<dyn Clock>,
    /// What was found last. Held while the shards are asked, so that they are by one at a time.
    last: Mutex<Option<(Sample, Top)>>,
}

impl Busiest {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last: Mutex::default() }
    }

    /// Asks all shards, but for what was found a moment ago.
    pub async fn top(&self, mailboxes: &Mailboxes) -> Top {
        let mut last = self.last.lock().await;
        let at = self.clock.monotonic();
        if let Some((sample, top)) = &*last
            && at.saturating_sub(sample.at) < WINDOW_MIN
        {
            return top.clone();
        }
        let ends =
            each(mailboxes, |broker| Box::pin(async move { broker.queue_ends().await })).await;
        let ends: Arc<Ends> = Arc::new(ends.into_iter().flatten().collect());
        let mut now = Sample { at, ..Sample::default() };
        for (partition, end) in ends.iter() {
            *now.messages.entry(partition.topic).or_default() += u64::try_from(*end).unwrap_or(0);
        }
        let lags = each(mailboxes, move |broker| {
            let ends = Arc::clone(&ends);
            Box::pin(async move { broker.slowest_groups(ends, TOP_MOST).await })
        });
        let mut lags: Vec<_> = lags.await.into_iter().flatten().collect();
        keep_slowest(&mut lags, TOP_MOST);
        let (window_s, rates) = rates(last.as_ref().map(|(earlier, _)| earlier), &now);

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
        let top = Top { window_s, topics: topics.collect(), groups: groups.collect() };
        *last = Some((now, top.clone()));
        top
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
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_lite::future::block_on;

    use super::*;

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

    struct StoppedClock(AtomicU64);

    impl Clock for StoppedClock {
        fn wall_ms(&self) -> i64 {
            0
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    /// A shard that knows nothing and answers nobody.
    fn no_shard() -> Mailboxes {
        Box::new([flume::bounded(1).0])
    }

    #[test]
    fn a_window_is_never_too_short() {
        let clock = Arc::new(StoppedClock(AtomicU64::new(0)));
        let busiest = Busiest::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let asked = |at_ms| {
            clock.0.store(at_ms, Ordering::Relaxed);
            block_on(busiest.top(&no_shard())).window_s
        };
        assert_eq!(asked(1_000), 0.0);
        assert_eq!(asked(1_100), 0.0, "the same");
        assert_eq!(asked(2_000), 1.0);
        assert_eq!(asked(2_499), 1.0, "the same");
        assert_eq!(asked(2_500), 0.5);
    }
}
