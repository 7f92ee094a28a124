//! How far partitions were read, and which connection reads which of them.

/// A partition and how far it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The partition's place.
    pub place: u32,
    /// The next offset.
    pub offset: i64,
    /// Where reading ends; `i64::MAX` follows the tail.
    pub end: i64,
}

/// Cursors of all places from these offsets on, following the tail.
pub fn following(offsets: Vec<i64>) -> Vec<Cursor> {
    let ends = vec![i64::MAX; offsets.len()];
    between(offsets, ends)
}

/// Cursors of all places from these offsets to those.
pub fn between(starts: Vec<i64>, ends: Vec<i64>) -> Vec<Cursor> {
    let places = (0..).zip(starts.into_iter().zip(ends));
    places.map(|(place, (offset, end))| Cursor { place, offset, end }).collect()
}

/// Records that offsets promise before the ends.
pub fn held(cursors: &[Cursor]) -> u64 {
    cursors.iter().map(|cursor| (cursor.end - cursor.offset).max(0) as u64).sum()
}

/// The cursors of each of a thread's connections. Connections go to the threads in turn, and
/// partitions to the connections.
pub fn lanes(
    cursors: &[Cursor],
    connections: usize,
    threads: usize,
    thread: usize,
) -> Vec<Vec<Cursor>> {
    let of_thread = (thread..connections).step_by(threads);
    let of_lane = |lane| cursors.iter().copied().skip(lane).step_by(connections).collect();
    of_thread.map(of_lane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_read_by_one_connection() {
        let cursors = following(vec![0; 11]);
        for (connections, threads) in [(1, 1), (4, 3), (11, 2)] {
            let lanes = (0..threads).map(|t| lanes(&cursors, connections, threads, t));
            let lanes: Vec<Vec<Cursor>> = lanes.flatten().collect();
            assert_eq!(lanes.len(), connections);
            let mut all: Vec<Cursor> = lanes.into_iter().flatten().collect();
            all.sort_by_key(|cursor| cursor.place);
            assert_eq!(all, cursors);
        }
    }

    #[test]
    fn what_lies_between_offsets_is_held() {
        assert_eq!(held(&between(vec![3, 5], vec![10, 5])), 7);
    }
}
