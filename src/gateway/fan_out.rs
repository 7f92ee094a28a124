//! One request's parts on the shards that own them: one hop a shard, all shards at once.

use std::{
    future::{Future, poll_fn},
    rc::Rc,
    task::Poll,
};

use crate::{
    base::ShardId,
    broker::{Broker, Stopping},
    env::LocalFuture,
};

/// Parts of one request that one shard works on at a time, so that a request with millions of them
/// takes no more memory than its own size warrants.
const AT_ONCE: usize = 64;

/// Gives each shard its items, and brings their results back in the order of `items`. `work` is
/// called once a shard and returns a result for each of its items, in order.
pub(super) async fn on_shards<T, R, W>(
    broker: &Rc<Broker>,
    items: Vec<(ShardId, T)>,
    work: W,
) -> Vec<Result<R, Stopping>>
where
    T: Send + 'static,
    R: Send + 'static,
    W: Fn(Rc<Broker>, Vec<T>) -> LocalFuture<'static, Vec<R>> + Copy + Send + 'static,
{
    let count = items.len();
    let shares = share_out(items, broker.shards());
    let hops = shares.into_iter().map(|Share { shard, places, items }| async move {
        let results = broker.on(shard, move |owner| work(owner, items)).await;
        (places, results)
    });
    let mut answers: Vec<_> = (0..count).map(|_| Err(Stopping)).collect();
    for (places, results) in all(hops).await {
        let Ok(results) = results else { continue };
        assert!(places.len() == results.len(), "a result for every item");
        for (place, result) in places.into_iter().zip(results) {
            answers[place] = Ok(result);
        }
    }
    answers
}

/// One shard's items, and where in the request they stood.
struct Share<T> {
    shard: ShardId,
    places: Vec<usize>,
    items: Vec<T>,
}

/// Divides items by shard; shards without any are left out.
fn share_out<T>(items: Vec<(ShardId, T)>, shards: u16) -> Vec<Share<T>> {
    let share = |shard| Share { shard: ShardId(shard), places: Vec::new(), items: Vec::new() };
    let mut shares: Vec<_> = (0..shards).map(share).collect();
    for (place, (shard, item)) in items.into_iter().enumerate() {
        let share = &mut shares[usize::from(shard.0)];
        share.places.push(place);
        share.items.push(item);
    }
    shares.retain(|share| !share.items.is_empty());
    shares
}

/// Works on all items, [`AT_ONCE`] at a time; their results in order.
pub(super) async fn each<T, F: Future>(items: Vec<T>, work: impl Fn(T) -> F) -> Vec<F::Output> {
    let mut results = Vec::with_capacity(items.len());
    let mut items = items.into_iter();
    while items.len() > 0 {
        results.extend(all(items.by_ref().take(AT_ONCE).map(&work)).await);
    }
    results
}

/// Waits for all futures together; their results in order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (future, result) in &mut running {
            if result.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(ready) => *result = Some(ready),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let finished = running.into_iter().map(|(_, result)| result);
    finished.map(|result| result.expect("all of them are ready")).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_lite::future::{block_on, yield_now};

    use super::*;

    #[test]
    fn items_go_to_their_shards_and_remember_their_places() {
        let items = vec![(ShardId(2), 'a'), (ShardId(0), 'b'), (ShardId(2), 'c')];
        let shares = share_out(items, 4);
        let shares: Vec<_> =
            shares.into_iter().map(|share| (share.shard.0, share.places, share.items)).collect();
        assert_eq!(shares, [(0, vec![1], vec!['b']), (2, vec![0, 2], vec!['a', 'c'])]);
    }

    #[test]
    fn results_keep_their_order_and_few_run_at_once() {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let work = |item: usize| {
            let (running, most) = (&running, &most);
            async move {
                running.set(running.get() + 1);
                most.set(running.get().max(most.get()));
                for _ in 0..item % 3 {
                    yield_now().await;
                }
                running.set(running.get() - 1);
                item
            }
        };
        let items: Vec<_> = (0..3 * AT_ONCE + 1).collect();
        assert_eq!(block_on(each(items.clone(), work)), items);
        assert!(1 < most.get() && most.get() <= AT_ONCE);
        assert!(block_on(each(Vec::new(), work)).is_empty());
    }
}
