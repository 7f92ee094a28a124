//! What gateways and the broker's own parts call to change the state.

use std::{
    cell::{Ref, RefCell},
    future::poll_fn,
    sync::Arc,
    task::Poll,
};

use super::{
    Applied, BrokerScope, ClusterError, ClusterState, Command, ConfigChange, GroupConfig, NewTopic,
    Topic, uuid::random_uuid,
};
use crate::{
    base::{QueueId, TopicId},
    env::LocalFuture,
};

/// Commands of one request under way at a time. They share group commits; more than this would only
/// cost memory and polling.
const COMMANDS: usize = 256;

/// Producer ids taken from the log at a time (as many as Kafka takes).
const PRODUCER_IDS: u32 = 1_000;

/// Producer ids of this shard that nobody has yet. Lost at a stop, which costs nothing but numbers.
#[derive(Debug, Default)]
pub struct ProducerIds {
    next: i64,
    left: u32,
}

impl ProducerIds {
    fn take(&mut self) -> Option<i64> {
        self.left = self.left.checked_sub(1)?;
        let id = self.next;
        self.next += 1;
        Some(id)
    }
}

/// More partitions for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPartitions {
    /// The topic.
    pub topic: Arc<str>,
    /// How many there are to be in all.
    pub total: i32,
    /// The brokers of each new partition, if the client wants to say so.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// Whose configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigResource {
    /// A topic's own.
    Topic(Arc<str>),
    /// A broker's dynamic ones.
    Broker(BrokerScope),
}

/// What to do to a resource's configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigUpdate {
    /// Put these in place of all there are.
    Replace(Vec<(Arc<str>, Option<Arc<str>>)>),
    /// Change some.
    Change(Vec<ConfigChange>),
}

/// This shard's copy of the state, and the log it is fed by.
///
/// A shard implements the first part; the rest follows from it. All results are in the order of what
/// was asked; one's failure is not another's. An answer comes after the change is durable and
/// applied on every shard, so that whoever reads it finds the change wherever it asks next.
#[expect(async_fn_in_trait, reason = "a shard is one thread: no future has to be Send")]
pub trait ControlPlane {
    /// This shard's copy. Must not be held across an await.
    fn cluster(&self) -> Ref<'_, ClusterState>;

    /// Wall-clock milliseconds since 1970.
    fn now_ms(&self) -> i64;

    /// 16 random bytes.
    fn random(&self) -> [u8; 16];

    /// This shard's stock of producer ids.
    fn producer_ids(&self) -> &RefCell<ProducerIds>;

    /// Makes a command durable, applies it on every shard and tells what it changed.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`]; whether the command took effect is then not known.
    fn execute(&self, command: Command) -> LocalFuture<'_, Result<Applied, ClusterError>>;

    /// Creates topics, or only checks whether they could be. The topics told in the second case have
    /// no id and no queues' numbers.
    async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Vec<Result<Arc<Topic>, ClusterError>> {
        let plan = |topic: &NewTopic| {
            let id = TopicId(random_uuid(self.random()));
            self.cluster().plan_create_topic(topic, id, self.now_ms())
        };
        let plans: Vec<_> = topics.iter().map(plan).collect();
        if validate_only {
            let preview = |plan: Result<_, _>| plan.map(|plan| preview(&self.cluster(), plan));
            return plans.into_iter().map(preview).collect();
        }
        let topic = |applied| match applied {
            Applied::TopicCreated(topic) => topic,
            other => unreachable!("a topic's creation did {other:?}"),
        };
        execute_all(self, plans).await.into_iter().map(|result| result.map(topic)).collect()
    }

    /// The topic of this name, which is created unless it is there.
    ///
    /// # Errors
    /// What keeps it from being created.
    async fn ensure_topic(&self, topic: NewTopic) -> Result<Arc<Topic>, ClusterError> {
        if let Some(topic) = self.cluster().topic(&topic.name) {
            return Ok(Arc::clone(topic));
        }
        match self.create_topics(&[topic], false).await.remove(0) {
            // Somebody else was faster.
            Err(ClusterError::TopicExists { name }) => {
                let cluster = self.cluster();
                cluster.topic(&name).cloned().ok_or(ClusterError::UnknownTopic { name })
            }
            created => created,
        }
    }

    /// Deletes topics and tells what they were.
    async fn delete_topics(&self, ids: &[TopicId]) -> Vec<Result<Arc<Topic>, ClusterError>> {
        let plans = ids.iter().map(|&id| self.cluster().plan_delete_topic(id)).collect();
        let topic = |applied| match applied {
            Applied::TopicDeleted(topic) => topic,
            other => unreachable!("a topic's deletion did {other:?}"),
        };
        execute_all(self, plans).await.into_iter().map(|result| result.map(topic)).collect()
    }

    /// Adds partitions, or only checks whether they could be.
    async fn create_partitions(
        &self,
        topics: &[NewPartitions],
        validate_only: bool,
    ) -> Vec<Result<(), ClusterError>> {
        let plan = |new: &NewPartitions| {
            let assignments = new.assignments.as_deref();
            self.cluster().plan_create_partitions(&new.topic, new.total, assignments)
        };
        execute_unless(self, validate_only, topics.iter().map(plan).collect()).await
    }

    /// Changes configs, or only checks whether they could be.
    async fn alter_configs(
        &self,
        updates: &[(ConfigResource, ConfigUpdate)],
        validate_only: bool,
    ) -> Vec<Result<(), ClusterError>> {
        let plan = |(resource, update): &(ConfigResource, ConfigUpdate)| {
            let cluster = self.cluster();
            match (resource, update) {
                (ConfigResource::Topic(name), ConfigUpdate::Replace(configs)) => {
                    cluster.plan_replace_topic_configs(name, configs)
                }
                (ConfigResource::Topic(name), ConfigUpdate::Change(changes)) => {
                    cluster.plan_alter_topic(name, changes)
                }
                (ConfigResource::Broker(scope), ConfigUpdate::Replace(configs)) => {
                    cluster.plan_replace_broker_configs(*scope, configs)
                }
                (ConfigResource::Broker(scope), ConfigUpdate::Change(changes)) => {
                    cluster.plan_alter_broker(*scope, changes)
                }
            }
        };
        execute_unless(self, validate_only, updates.iter().map(plan).collect()).await
    }

    /// Puts a group's config in place.
    ///
    /// # Errors
    /// `InvalidRequest`, `PolicyViolation`, `Unavailable`.
    async fn set_group_config(&self, group: &str, config: GroupConfig) -> Result<(), ClusterError> {
        let plan = self.cluster().plan_set_group_config(group, config)?;
        self.execute(plan).await.map(drop)
    }

    /// Takes a group's config away, if it has one.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`].
    async fn remove_group_config(&self, group: &str) -> Result<(), ClusterError> {
        if !self.cluster().group_configs().contains_key(group) {
            return Ok(());
        }
        self.execute(Command::RemoveGroupConfig { group: group.into() }).await.map(drop)
    }

    /// A producer id that no producer has or had.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`].
    async fn allocate_producer_id(&self) -> Result<i64, ClusterError> {
        if let Some(id) = self.producer_ids().borrow_mut().take() {
            return Ok(id);
        }
        let applied = self.execute(Command::AllocateProducerIds { count: PRODUCER_IDS }).await?;
        let Applied::ProducerIds { first, count } = applied else {
            unreachable!("allocating producer ids did {applied:?}");
        };
        let mut stock = self.producer_ids().borrow_mut();
        // Of several that found the stock empty, one's block stays; the others use their first id.
        if stock.left == 0 {
            *stock = ProducerIds { next: first + 1, left: count - 1 };
        }
        Ok(first)
    }
}

/// What a plan's topic would be.
fn preview(cluster: &ClusterState, plan: Command) -> Arc<Topic> {
    let Command::CreateTopic { name, partitions, configs, created_ms, .. } = plan else {
        unreachable!("the plan of a topic is {plan:?}");
    };
    let settings = cluster.settings_for(&configs);
    let queues = vec![QueueId::default(); partitions as usize].into();
    Arc::new(Topic { id: TopicId::ZERO, name, queues, configs, settings, created_ms })
}

async fn execute_unless<C: ControlPlane + ?Sized>(
    control: &C,
    validate_only: bool,
    plans: Vec<Result<Command, ClusterError>>,
) -> Vec<Result<(), ClusterError>> {
    if validate_only {
        return plans.into_iter().map(|plan| plan.map(drop)).collect();
    }
    execute_all(control, plans).await.into_iter().map(|result| result.map(drop)).collect()
}

/// Executes what was planned, with many commands under way at a time, in their order.
async fn execute_all<C: ControlPlane + ?Sized>(
    control: &C,
    plans: Vec<Result<Command, ClusterError>>,
) -> Vec<Result<Applied, ClusterError>> {
    let mut results = Vec::with_capacity(plans.len());
    let mut plans = plans.into_iter();
    loop {
        let chunk: Vec<_> = plans.by_ref().take(COMMANDS).collect();
        if chunk.is_empty() {
            return results;
        }
        let start = |plan: Result<Command, _>| match plan {
            Ok(command) => Step::Running(control.execute(command)),
            Err(error) => Step::Done(Err(error)),
        };
        results.extend(finish(chunk.into_iter().map(start).collect()).await);
    }
}

enum Step<'a> {
    Running(LocalFuture<'a, Result<Applied, ClusterError>>),
    Done(Result<Applied, ClusterError>),
}

/// Waits for all; the first poll is in their order.
async fn finish(mut steps: Vec<Step<'_>>) -> Vec<Result<Applied, ClusterError>> {
    poll_fn(|context| {
        let mut running = false;
        for step in &mut steps {
            if let Step::Running(future) = step {
                match future.as_mut().poll(context) {
                    Poll::Ready(result) => *step = Step::Done(result),
                    Poll::Pending => running = true,
                }
            }
        }
        if running { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let result = |step| match step {
        Step::Done(result) => match result {
            Ok(Applied::Refused(error)) => Err(error),
            other => other,
        },
        Step::Running(_) => unreachable!("all are done"),
    };
    steps.into_iter().map(result).collect()
}
