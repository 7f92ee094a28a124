//! Verified pages of runs; those that were not used lately are given up first.

use std::rc::Rc;

use hashbrown::HashMap;

use super::page::PAGE_BYTES;

/// Which page: the run's id in this process and the page's number.
pub(super) type PageKey = (u64, u32);

/// Keeps pages up to a limit of bytes. A hand goes round over them and gives up the first that was not
/// used since it came by last (the second-chance algorithm): a look-up marks a page and moves nothing.
/// Lives on its shard.
#[derive(Debug)]
pub(super) struct PageCache {
    limit_pages: usize,
    /// Where in `pages` each is.
    places: HashMap<PageKey, usize>,
    pages: Vec<Kept>,
    hand: usize,
}

#[derive(Debug)]
struct Kept {
    key: PageKey,
    page: Rc<[u8]>,
    /// Since the hand came by.
    used: bool,
}

impl PageCache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        let limit_pages = limit_bytes / PAGE_BYTES;
        Self { limit_pages, places: HashMap::new(), pages: Vec::new(), hand: 0 }
    }

    pub(super) fn get(&mut self, key: PageKey) -> Option<Rc<[u8]>> {
        let kept = &mut self.pages[*self.places.get(&key)?];
        kept.used = true;
        Some(kept.page.clone())
    }

    pub(super) fn insert(&mut self, key: PageKey, page: Rc<[u8]>) {
        let kept = Kept { key, page, used: false };
        if let Some(&place) = self.places.get(&key) {
            self.pages[place] = kept;
        } else if self.pages.len() < self.limit_pages {
            self.places.insert(key, self.pages.len());
            self.pages.push(kept);
        } else if let Some(place) = self.unused() {
            self.places.remove(&self.pages[place].key);
            self.places.insert(key, place);
            self.pages[place] = kept;
        }
    }

    /// The place of the page to give up; none if none is kept.
    fn unused(&mut self) -> Option<usize> {
        loop {
            let place = self.hand;
            let kept = self.pages.get_mut(place)?;
            self.hand = (place + 1) % self.limit_pages;
            if !std::mem::take(&mut kept.used) {
                return Some(place);
            }
        }
    }

    /// Bytes of the pages kept.
    pub(super) fn bytes(&self) -> usize {
        self.pages.len() * PAGE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> Rc<[u8]> {
        vec![byte; PAGE_BYTES].into()
    }

    #[test]
    fn a_page_that_was_used_stays_longer() {
        let mut cache = PageCache::new(2 * PAGE_BYTES + 1);
        cache.insert((0, 1), page(1));
        cache.insert((0, 2), page(2));
        assert!(cache.get((0, 1)).is_some());
        cache.insert((0, 3), page(3));
        cache.insert((0, 3), page(4));
        assert!(cache.get((0, 2)).is_none());
        assert!(cache.get((0, 1)).is_some());
        assert_eq!(cache.get((0, 3)).unwrap()[0], 4);
        assert_eq!((cache.bytes(), cache.places.len()), (2 * PAGE_BYTES, 2));
        // All were used: the hand goes round once.
        cache.insert((0, 4), page(5));
        let kept = [1, 3, 4].map(|number| cache.get((0, number)).is_some());
        assert_eq!(kept.into_iter().filter(|kept| *kept).count(), 2);
        assert!(kept[2]);
    }

    #[test]
    fn a_cache_without_room_keeps_nothing() {
        let mut cache = PageCache::new(PAGE_BYTES - 1);
        cache.insert((0, 1), page(1));
        assert_eq!((cache.get((0, 1)), cache.bytes()), (None, 0));
    }
}
