//! Memory that a client's heartbeats leave behind, here and with the owners of its groups, and how much
//! of it one connection may have.

use std::{
    cell::{Cell, RefCell},
    mem::size_of,
    sync::Arc,
};

use hashbrown::HashMap;

use super::refusal::Refusal;
use crate::{
    broker::{Member, Subscription},
    wire::rocketmq::{
        ResponseCode,
        body::{ConsumerData, SubscriptionData},
    },
};

/// Bytes for one connection: 5,000 groups with a topic each, or as many topics of one group.
const BYTES_MAX: usize = 8 << 20;

/// Most groups that one connection may be in, and most topics in one of them.
const ENTRIES_MAX: usize = 10_000;

/// What an allocation, or an entry of a map, takes beside what is in it.
const BESIDE: usize = 64;

/// What a filter takes for each byte of the expression it was made of, at most.
const FILTER_BYTES_PER_BYTE: usize = 16;

/// How much of one connection is held.
#[derive(Default)]
pub(super) struct Held(Cell<usize>);

impl Held {
    /// Takes so many bytes in place of others.
    ///
    /// # Errors
    /// That is too much; then nothing has changed.
    pub(super) fn replace(&self, before: usize, now: usize) -> Result<(), Refusal> {
        let bytes = self.0.get() - before + now;
        if bytes > BYTES_MAX {
            return Err(too_much(format!("{bytes} bytes of groups, ids and subscriptions")));
        }
        self.0.set(bytes);
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.0.set(self.0.get() - bytes);
    }
}

/// A group, and the id of the client in it.
pub(super) type Place = (Arc<str>, Arc<str>);

/// The groups that a connection is in, under which ids, and the bytes that each takes.
#[derive(Default)]
pub(super) struct HeldGroups(RefCell<HashMap<Place, usize>>);

impl HeldGroups {
    /// It is in a group, or still is; `bytes` are what it leaves there.
    ///
    /// # Errors
    /// It is in too many, or all of them take too much; then nothing has changed.
    pub(super) fn enter(
        &self,
        held: &Held,
        group: &Arc<str>,
        id: &Arc<str>,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let mut groups = self.0.borrow_mut();
        let place = (Arc::clone(group), Arc::clone(id));
        let before = groups.get(&place).copied();
        if before.is_none() {
            check_entries(groups.len() + 1)?;
        }
        let bytes = bytes + name_bytes(group) + name_bytes(id);
        held.replace(before.unwrap_or(0), bytes)?;
        groups.insert(place, bytes);
        Ok(())
    }

    /// It is in a group no more.
    pub(super) fn leave(&self, held: &Held, group: &Arc<str>, id: &Arc<str>) {
        let left = self.0.borrow_mut().remove(&(Arc::clone(group), Arc::clone(id)));
        held.give_back(left.unwrap_or(0));
    }

    /// All that it is in.
    pub(super) fn all(&self) -> Vec<Place> {
        self.0.borrow().keys().cloned().collect()
    }
}

/// # Errors
/// There are too many groups, or topics of one.
pub(super) fn check_entries(count: usize) -> Result<(), Refusal> {
    if count <= ENTRIES_MAX {
        return Ok(());
    }
    Err(too_much(format!("{count} groups, or topics of one")))
}

fn too_much(what: String) -> Refusal {
    Refusal::new(ResponseCode::SystemError, format!("too much for one connection: {what}"))
}

/// What a name takes that is kept here and with an owner.
pub(super) fn name_bytes(name: &str) -> usize {
    2 * (BESIDE + name.len())
}

/// What a member of a group takes.
pub(super) fn member_bytes(consumer: &ConsumerData) -> usize {
    let subscriptions = consumer.subscription_data_set.iter().map(subscription_bytes);
    size_of::<Member>() + size_of::<ConsumerData>() + 2 * BESIDE + subscriptions.sum::<usize>()
}

/// What is kept as it was told, and what is made of it.
fn subscription_bytes(told: &SubscriptionData) -> usize {
    let tags = told.tags_set.iter().map(|tag| size_of::<String>() + BESIDE + tag.len());
    let expression = told.sub_string.len() * (1 + FILTER_BYTES_PER_BYTE);
    let kind = told.expression_type.as_ref().map_or(0, String::len);
    let fixed = size_of::<SubscriptionData>() + size_of::<Subscription>() + 4 * BESIDE;
    let codes = size_of_val(told.code_set.as_slice());
    fixed + name_bytes(&told.topic) + expression + kind + codes + tags.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(subscriptions: usize, expression_bytes: usize) -> ConsumerData {
        let subscription = SubscriptionData {
            topic: "orders".to_owned(),
            sub_string: "a".repeat(expression_bytes),
            ..SubscriptionData::default()
        };
        ConsumerData {
            subscription_data_set: vec![subscription; subscriptions],
            ..ConsumerData::default()
        }
    }

    #[test]
    fn what_a_connection_leaves_behind_is_bounded_in_bytes() {
        let (held, groups) = (Held::default(), HeldGroups::default());
        let enter = |group: &str, consumer: &ConsumerData| {
            groups.enter(&held, &group.into(), &"id".into(), member_bytes(consumer)).is_ok()
        };
        let (large, small) = (consumer(1, 300 << 10), consumer(1, 1));
        assert!(enter("a", &large) && enter("a", &large), "once, however often it is told");
        assert!(!enter("b", &large));
        assert!(enter("b", &small) && !enter("b", &large), "it stays as it was");
        assert!(enter("a", &small) && enter("b", &large));
        groups.leave(&held, &"b".into(), &"id".into());
        groups.leave(&held, &"b".into(), &"id".into());
        groups.leave(&held, &"a".into(), &"id".into());
        assert_eq!((held.0.get(), groups.all()), (0, Vec::new()));
    }

    #[test]
    fn usual_clients_are_far_from_the_bounds() {
        let held = Held::default();
        let groups = HeldGroups::default();
        for group in 0..5_000 {
            let group = format!("a-group-with-a-usual-name-{group}").into();
            groups
                .enter(&held, &group, &"10.0.0.1@1".into(), member_bytes(&consumer(1, 9)))
                .unwrap();
        }
        assert!(Held::default().replace(0, member_bytes(&consumer(5_000, 9))).is_ok());
        assert!(check_entries(ENTRIES_MAX).is_ok() && check_entries(ENTRIES_MAX + 1).is_err());
    }
}
