//! Which threads there are and on which cores they stay.

use super::{Config, Cores, Pin, WriterCore};

/// The threads of the data path and their cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One entry for each shard, at least one: the core it stays on, or none.
    pub shards: Vec<Option<usize>>,
    /// The core the log's writer stays on, or none.
    pub writer: Option<usize>,
}

impl Config {
    /// Places shards and writer on the cores this process may run on, `available`.
    ///
    /// # Errors
    /// A core named in the configuration that is not available; the text names the key.
    pub fn placement(&self, available: &[usize]) -> Result<Placement, String> {
        let cores = match &self.shards.cores {
            Cores::Auto => available,
            Cores::List(cores) => cores,
        };
        if let Some(core) = cores.iter().find(|core| !available.contains(core)) {
            return Err(format!("shards.cores: core {core} is not available to this process"));
        }
        if let WriterCore::Core(core) = self.log.core
            && !available.contains(&core)
        {
            return Err(format!("log.core: core {core} is not available to this process"));
        }
        // A core given to the writer is none of the shards', as long as they have another.
        let apart = |core: &&usize| self.log.core != WriterCore::Core(**core);
        let mut own: Vec<usize> = cores.iter().filter(apart).copied().collect();
        if own.is_empty() {
            own = cores.to_vec();
        }
        let taken = own.len() < cores.len();
        let count = match self.shards.count as usize {
            0 if taken => own.len(),
            0 => own.len().saturating_sub(1).max(1),
            count => count,
        };
        if !self.pinned() {
            let writer = match self.log.core {
                WriterCore::Core(core) => Some(core),
                WriterCore::Auto | WriterCore::Off => None,
            };
            return Ok(Placement { shards: vec![None; count], writer });
        }
        if count > own.len() {
            let of = own.len();
            return Err(format!("shards.count: {count} pinned shards on {of} cores"));
        }
        let writer = match self.log.core {
            WriterCore::Core(core) => Some(core),
            WriterCore::Auto => own.get(count).copied(),
            WriterCore::Off => None,
        };
        Ok(Placement { shards: own[..count].iter().copied().map(Some).collect(), writer })
    }

    /// Whether shards stay on their cores.
    fn pinned(&self) -> bool {
        match self.shards.pin {
            Pin::Auto => self.shards.cores != Cores::Auto,
            Pin::Set(pin) => pin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(settings: &[(&str, &str)], available: &[usize]) -> Result<Placement, String> {
        let mut config = Config::default();
        for (key, value) in settings {
            config.set(key, value, crate::config::Origin::Request).unwrap();
        }
        config.placement(available)
    }

    #[test]
    fn without_settings_nothing_is_pinned_and_one_core_is_left_to_the_writer() {
        let shards = |cores: &[usize]| placed(&[], cores).unwrap();
        assert_eq!(shards(&[0]), Placement { shards: vec![None], writer: None });
        assert_eq!(shards(&[0, 1]), Placement { shards: vec![None], writer: None });
        assert_eq!(shards(&[0, 1, 2, 3]), Placement { shards: vec![None; 3], writer: None });
    }

    #[test]
    fn listed_cores_are_pinned() {
        let all = [0, 1, 2, 3, 4, 5, 6, 7];
        let placement = placed(&[("shards.cores", "2-5")], &all).unwrap();
        assert_eq!(placement.shards, [Some(2), Some(3), Some(4)]);
        assert_eq!(placement.writer, Some(5));
        let full = placed(&[("shards.cores", "2,3"), ("shards.count", "2")], &all).unwrap();
        assert_eq!(full, Placement { shards: vec![Some(2), Some(3)], writer: None });
    }

    #[test]
    fn a_core_given_to_the_writer_is_no_shards() {
        let placement =
            placed(&[("shards.cores", "0-3"), ("log.core", "0")], &[0, 1, 2, 3]).unwrap();
        assert_eq!(placement.shards, [Some(1), Some(2), Some(3)]);
        assert_eq!(placement.writer, Some(0));
        let outside = placed(&[("shards.cores", "0-1"), ("log.core", "3")], &[0, 1, 2, 3]);
        assert_eq!(outside.unwrap(), Placement { shards: vec![Some(0)], writer: Some(3) });
    }

    #[test]
    fn cores_that_are_not_there_are_named() {
        let error = placed(&[("shards.cores", "0-3")], &[0, 1]).unwrap_err();
        assert!(error.contains("shards.cores") && error.contains('2'), "{error}");
        let error = placed(&[("log.core", "9")], &[0, 1]).unwrap_err();
        assert!(error.contains("log.core"), "{error}");
    }
}
