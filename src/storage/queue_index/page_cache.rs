//! Verified pages of runs, the least recently used given up first.

use std::{collections::BTreeMap, rc::Rc};

use hashbrown::HashMap;

use super::page::PAGE_BYTES;

/// Which page: the run's id in this process and the page's number.
pub(super) type PageKey = (u64, u32);

/// Keeps pages up to a limit of bytes. Lives on its shard.
#[derive(Debug)]
pub(super) struct PageCache {
    limit_pages: usize,
    pages: HashMap<PageKey, (Rc<[u8]>, u64)>,
    by_use: BTreeMap<u64, PageKey>,
    uses: u64,
}

impl PageCache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        let limit_pages = limit_bytes / PAGE_BYTES;
        Self { limit_pages, pages: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    pub(super) fn get(&mut self, key: PageKey) -> Option<Rc<[u8]>> {
        let (page, used) = self.pages.get_mut(&key)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(page.clone())
    }

    pub(super) fn insert(&mut self, key: PageKey, page: Rc<[u8]>) {
        if self.limit_pages == 0 {
            return;
        }
        self.uses += 1;
        if let Some((_, used)) = self.pages.insert(key, (page, self.uses)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.uses, key);
        while self.pages.len() > self.limit_pages {
            let (_, oldest) = self.by_use.pop_first().expect("every page was used once");
            self.pages.remove(&oldest);
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

    #[test]
    fn the_least_recently_used_page_goes_first() {
        let mut cache = PageCache::new(2 * PAGE_BYTES + 1);
        let page: Rc<[u8]> = vec![0; PAGE_BYTES].into();
        cache.insert((0, 1), page.clone());
        cache.insert((0, 2), page.clone());
        assert!(cache.get((0, 1)).is_some());
        cache.insert((0, 3), page.clone());
        cache.insert((0, 3), page);
        assert!(cache.get((0, 2)).is_none());
        assert!(cache.get((0, 1)).is_some() && cache.get((0, 3)).is_some());
        assert_eq!((cache.bytes(), cache.by_use.len()), (2 * PAGE_BYTES, 2));
    }
}
