//! Mainstem: one broker, one durable commit log, Kafka's and RocketMQ's clients unmodified.
//!
//! This page is the map: the picture, the rooms, a message's journey, and what always holds.
//!
//! ```text
//!  client ──TCP──▶ connection's shard ──mailbox──▶ owner's shard ──▶ CommitLog ──▶ log-writer ──▶ segment
//!                  parse, check                    duplicates,       reserve,      seal, one durable
//!                                                  offsets           fill, commit  write per group commit
//!                                                      ▲                               │
//!                                                      └───── durable position ◀───────┘
//!                                                             one wake-up per shard
//!  client ◀──TCP── connection's shard ◀──positions── owner's shard ◀── QueueIndex (memory, run files)
//!                  slices of the hot tail,
//!                  verified cold reads
//! ```
//!
//! # Rooms
//! Each room may use only the rooms above it in this list; `tests/tidy.rs` holds them to it.
//!
//! | room | what lives there |
//! | --- | --- |
//! | `base` | id newtypes, checksums, base64, latency histograms, the stages they are kept for. No I/O |
//! | `wire` | bytes to structs and back, Kafka's and RocketMQ's, one into the other, compression; nothing else |
//! | `config` | every knob, declared once; which thread gets which core |
//! | `env` | the seam to the machine: clock, disk, tasks, randomness. `blocking`, `glommio`, `simulated` |
//! | `storage` | the commit log and its recovery, its index, its segments, checkpoints |
//! | `cluster` | topics, configs, of groups too, and producer ids as a state machine fed by the log |
//! | `broker` | the semantics, neutral of protocol: append, read, filters, offsets, groups, timers, retention |
//! | `gateway` | one file per API: wire request, broker, wire response |
//! | `admin` | metrics, health and who is busiest over HTTP, on a port and a thread of their own |
//! | `server` | the command line, the machine checked and tuned, threads and cores, start and stop order |
//!
//! Where to begin: a request's way starts in `connection.rs` of `gateway/kafka` or `gateway/rocketmq`, the log's format is in
//! `storage/commit_log/block.rs` and `frame.rs`, a broker's life in `server/running.rs`, every setting
//! in `config/keys.rs`.
//!
//! # Threads
//! `shard-N` (glommio executors: connections, and the queues and groups they own), two `log-writer`s
//! that take turns, so that a slow write does not hold up the next, `housekeeper` (fresh segments, index
//! files, checkpoints, dropped segments), `tail-toucher` (takes the hot tail's memory ahead of the shards,
//! and ends when it has all), `acceptor`, `admin`, `registrar` (if there are other name servers), and the
//! main thread, which waits for a signal. Only the shards may not block.
//!
//! # A produce request's journey
//! 1. The acceptor deals the connection to a shard, which keeps it. One task there reads requests in
//!    order, another sends their answers in the same order.
//! 2. `gateway::kafka::produce` parses the request and checks each batch: its header, its counts, its
//!    CRC-32C. Records are not decompressed, except for a compacted topic, which demands keys, and
//!    one with delays (`broker::split`).
//! 3. The batches go to their queues' owners: in place, or by the owner's mailbox, one message for all
//!    that are its.
//! 4. `Broker::append_when_free` looks for duplicates, reserves room in the open block, copies the batch there,
//!    sets offset and leader epoch, seals the frame, and gives the offset. Nothing is awaited from the
//!    reservation on. A full log is waited for before, at most `log.stall_answer_ms`.
//! 5. The writer takes the blocks that are there, seals them and writes them with one durable write.
//!    Meanwhile the next block fills: batches grow with the load, and no timer holds a send back.
//! 6. The durable position moves and wakes each shard that waits for it, once. The shard moves the high
//!    watermarks, adds index entries, and lets the answers go. With `async` none of it waited.
//!
//! # A fetch request's journey
//! 1. `gateway::kafka::fetch` asks each queue's owner for index entries from the offset on; when there
//!    are too few bytes, it waits for more as long as the client allows. Which queues, the request
//!    says, or the session that its connection keeps (KIP-227).
//! 2. The answer is a header and positions. Just before a send, positions become slices of the hot
//!    tail; one `sendmsg` sends many. What the socket did not take stays a position, so a slow consumer
//!    holds nothing in place.
//! 3. What has left the hot tail is read from its segment past the page cache, and each frame's checksum
//!    and its batch's CRC-32C verified before it is sent.
//!
//! # RocketMQ's ways
//! The same ones: a send becomes a record, a frame of its own, in which the owner sets offset, store
//! time and locator; a pull waits on the queue's owner and filters by the index's tag hashes, or looks
//! into the messages where these do not tell. Routes are read from the shard's copy of the cluster's
//! state, and from the brokers that registered here. A message for later, delayed or sent back by a consumer, is a frame of a timer queue until its
//! time has come: `broker::timers`. What administrators ask is in `gateway/rocketmq/admin`: what they set
//! is a command in the log, as it is with Kafka's tools.
//!
//! # Across the dialects
//! A queue holds frames of both, under one sequence of offsets. They are converted when they are read
//! (`wire::convert`): RocketMQ's messages into batches where a fetch's answer is put together, Kafka's
//! batches into messages at the queue's owner, which filters them and keeps some of what it converted.
//!
//! # A start
//! Lock, checkpoint, index files; replay of the log from the checkpoint, block by block. What index
//! files lack is made from the log, segment by segment. A torn tail is cut off and said so; the writer
//! goes on in a new segment, whose first block repeats the checksum of the last one kept. With damage to
//! what had been durable the log counts as stopped from the start: what is left is served, nothing is
//! written, until `log repair` has given the damage up.
//!
//! # Invariants
//! - Only `env` names a clock, a runtime (`env::glommio`) or O_DIRECT (`env::blocking`); `server::check`
//!   probes what the machine has. Outside of `env::glommio`, `gateway` and `server` name its connection
//!   and its shards, and nothing below them knows of any.
//! - `wire` never panics on any input and allocates at most 64 bytes per byte received; decompressing
//!   has a limit of its own.
//! - The log's writers give their writes one order. A written sector is never written again while the log needs it.
//! - With `sync` an answer leaves, and a consumer sees a message, only after the durable position passed
//!   it. There are no reads of what a crash could take back.
//! - After a failed write or sync the log is stopped for good.
//! - A queue is owned by one shard, which alone assigns its offsets: no locks on its data. A
//!   mailbox is emptied into tasks, so that shards cannot wait for each other in a circle.
//! - Assigned is not durable: state that the log holds changes when the log is durable, in log order.
//! - Every stored byte is covered by a checksum; no byte of a Kafka payload is summed twice on its way
//!   in (but for `LogAppendTime`, which changes what the sum covers). The payload is stored and sent as
//!   the producer made it, but for the fields the broker sets.
//! - A queue never owns a file or a task. The index is derived: all of it can be rebuilt from the log.
//! - Metadata is in the same log, under the same group commit, as control frames.
//! - `broker` and `cluster` know no protocol's error codes.
//! - One process works in a data directory, by lock.

pub mod admin;
pub mod base;
pub mod broker;
pub mod cluster;
pub mod config;
pub mod env;
pub mod gateway;
pub mod server;
pub mod storage;
pub mod wire;
