//! What is kept on disk: the commit log, its indexes, checkpoints and retention.

pub mod checkpoint;
pub mod commit_log;
pub mod key_index;
pub mod queue_index;

mod new_file;
