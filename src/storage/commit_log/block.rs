//! A block: what one group commit writes. A node's envelope around a part that replicas will share.
//!
//! ```text
//! envelope  0 magic u32   4 checksum u32   8 log id u64   16 segment u64   24 position u64
//!          32 durable through u64   40 frames before u64   48 block bytes u32   52 previous u32
//!          56 zero u64
//! shared   64 term u64   72 index u64   80 kind u16   82 version u16   84 frame count u32
//!          88 frames bytes u32   92 checksum u32
//!          96 frames, then zeros up to a multiple of 4 KiB
//! ```
//! Little endian. The shared checksum covers bytes 64 to 92 and the checksums of all frames; the
//! envelope's covers bytes 8 to 96, so that it stands for the whole block, and the next block repeats
//! it as `previous`: blocks form a chain.

use super::{
    SECTOR,
    frame::{self, Frame, FrameError, FrameKind, FrameMeta},
};
use crate::base::{Position, Term, checksum};
use crc_fast::{CrcAlgorithm, Digest};

/// Bytes of a block before its first frame.
pub const BLOCK_HEADER: usize = 96;
const SHARED_START: usize = 64;
const MAGIC: u32 = u32::from_le_bytes(*b"MSb1");
const VERSION: u16 = 1;
const KIND_FRAMES: u16 = 0;

/// What a block says besides its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The log's random id, made with the data directory.
    pub log_id: u64,
    /// Sequence number of the segment it was written to; older content of a recycled file has a
    /// lower one.
    pub segment: u64,
    /// Position of the block's first byte.
    pub position: Position,
    /// The position known durable when this block was issued.
    pub durable_through: Position,
    /// Frames in the log before this block.
    pub frames_before: u64,
    /// Length, padding included; a multiple of 4 KiB.
    pub block_bytes: u32,
    /// Envelope checksum of the block before, 0 for the first.
    pub previous: u32,
    /// Term of the shared part.
    pub term: Term,
    /// Index of the shared part: the block's running number.
    pub index: u64,
    /// Frames in this block.
    pub frame_count: u32,
    /// Bytes of all frames, their padding included.
    pub frames_bytes: u32,
}

/// Why bytes are not a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// No block begins here.
    #[error("no block begins here")]
    Absent,
    /// A block's header is here but does not match its checksum or contradicts itself.
    #[error("block header is damaged")]
    Header,
    /// The block was written by a version this one cannot read.
    #[error("block has version {0}, this program reads version {VERSION}")]
    Version(u16),
    /// The disk does not give it back.
    #[error("the disk cannot read it")]
    Unreadable,
    /// The file ends inside the block.
    #[error("block is cut short")]
    Short,
    /// The frames do not match the shared checksum, or bytes that must be zero are not.
    #[error("block content is damaged")]
    Content,
    /// One of its frames is damaged.
    #[error("{0}")]
    Frame(#[from] FrameError),
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Writes the header of a block with these frames, which may be read by others already; returns the
/// envelope's checksum, which the next block repeats. Padding behind the frames has to be zero.
pub fn seal_block(head: &mut [u8; BLOCK_HEADER], frames: &[u8], header: &BlockHeader) -> u32 {
    debug_assert_eq!(frames.len(), header.frames_bytes as usize);
    head[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    head[8..16].copy_from_slice(&header.log_id.to_le_bytes());
    head[16..24].copy_from_slice(&header.segment.to_le_bytes());
    head[24..32].copy_from_slice(&header.position.0.to_le_bytes());
    head[32..40].copy_from_slice(&header.durable_through.0.to_le_bytes());
    head[40..48].copy_from_slice(&header.frames_before.to_le_bytes());
    head[48..52].copy_from_slice(&header.block_bytes.to_le_bytes());
    head[52..56].copy_from_slice(&header.previous.to_le_bytes());
    head[56..64].fill(0);
    head[64..72].copy_from_slice(&header.term.0.to_le_bytes());
    head[72..80].copy_from_slice(&header.index.to_le_bytes());
    head[80..82].copy_from_slice(&KIND_FRAMES.to_le_bytes());
    head[82..84].copy_from_slice(&VERSION.to_le_bytes());
    head[84..88].copy_from_slice(&header.frame_count.to_le_bytes());
    head[88..92].copy_from_slice(&header.frames_bytes.to_le_bytes());
    let shared = shared_checksum(head, frames).expect("the owner sealed every frame");
    head[92..96].copy_from_slice(&shared.to_le_bytes());
    let sum = checksum::crc32c(&head[8..]);
    head[4..8].copy_from_slice(&sum.to_le_bytes());
    sum
}

/// None if the frames' lengths do not add up.
fn shared_checksum(head: &[u8], mut frames: &[u8]) -> Option<u32> {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&head[SHARED_START..92]);
    while !frames.is_empty() {
        let (length, sum) = frame::length_and_checksum(frames)?;
        digest.update(&sum.to_le_bytes());
        let span = frame::frame_span(length.checked_sub(frame::FRAME_HEADER)?);
        frames = frames.get(span..)?;
    }
    Some(digest.finalize() as u32)
}

/// A block read back: its header, and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// What it says of itself.
    pub header: BlockHeader,
    /// The envelope's checksum, which the next block must repeat.
    pub checksum: u32,
    frames: &'a [u8],
}

impl BlockHeader {
    /// Reads and verifies the header at the start of `bytes` (the envelope's checksum only).
    ///
    /// # Errors
    /// [`BlockError::Absent`], [`BlockError::Header`] or [`BlockError::Version`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        let Some(head) = bytes.get(..BLOCK_HEADER) else { return Err(BlockError::Absent) };
        // A header that lacks only one of the two is a damaged one, not none at all.
        match (u32_at(head, 0) == MAGIC, checksum::crc32c(&head[8..]) == u32_at(head, 4)) {
            (false, false) => return Err(BlockError::Absent),
            (true, true) => {}
            _ => return Err(BlockError::Header),
        }
        let version = u16::from_le_bytes([head[82], head[83]]);
        if version != VERSION {
            return Err(BlockError::Version(version));
        }
        let header = Self {
            log_id: u64_at(head, 8),
            segment: u64_at(head, 16),
            position: Position(u64_at(head, 24)),
            durable_through: Position(u64_at(head, 32)),
            frames_before: u64_at(head, 40),
            block_bytes: u32_at(head, 48),
            previous: u32_at(head, 52),
            term: Term(u64_at(head, 64)),
            index: u64_at(head, 72),
            frame_count: u32_at(head, 84),
            frames_bytes: u32_at(head, 88),
        };
        let content = BLOCK_HEADER + header.frames_bytes as usize;
        if content.next_multiple_of(SECTOR) != header.block_bytes as usize {
            return Err(BlockError::Header);
        }
        Ok(header)
    }
}

impl BlockHeader {
    /// As [`BlockHeader::parse`], for a block of one log and segment: those of others, older
    /// content of a recycled file, are absent, whatever their version.
    ///
    /// # Errors
    /// As [`BlockHeader::parse`].
    pub fn parse_own(bytes: &[u8], log_id: u64, segment: u64) -> Result<Self, BlockError> {
        let parsed = Self::parse(bytes);
        let verified = matches!(parsed, Ok(_) | Err(BlockError::Version(_)));
        // Every version has these two where this one has them.
        if verified && (u64_at(bytes, 8), u64_at(bytes, 16)) != (log_id, segment) {
            return Err(BlockError::Absent);
        }
        parsed
    }
}

impl<'a> Block<'a> {
    /// Parses and verifies the block at the start of `bytes`: every checksum in it, and that its
    /// padding is zero.
    ///
    /// # Errors
    /// Any doubt about any of its bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BlockError> {
        let header = BlockHeader::parse(bytes)?;
        let block = bytes.get(..header.block_bytes as usize).ok_or(BlockError::Short)?;
        let (head, rest) = block.split_at(BLOCK_HEADER);
        let (frames, padding) = rest.split_at(header.frames_bytes as usize);
        let sum = shared_checksum(head, frames).ok_or(BlockError::Content)?;
        if sum != u32_at(head, 92) || padding.iter().any(|&byte| byte != 0) {
            return Err(BlockError::Content);
        }
        let parsed = Self { header, checksum: u32_at(head, 4), frames };
        let mut count = 0u32;
        for frame in parsed.frames() {
            let (at, frame) = frame?;
            let end = at - BLOCK_HEADER + frame::FRAME_HEADER + frame.payload.len();
            if frames[end..end.next_multiple_of(8)].iter().any(|&byte| byte != 0) {
                return Err(BlockError::Content);
            }
            count += 1;
        }
        if count != header.frame_count {
            return Err(BlockError::Content);
        }
        Ok(parsed)
    }

    /// The frames in order, each with its distance in bytes from the block's start.
    pub fn frames(&self) -> impl Iterator<Item = Result<(usize, Frame<'a>), FrameError>> + 'a {
        let (mut at, frames) = (0, self.frames);
        std::iter::from_fn(move || {
            if at >= frames.len() {
                return None;
            }
            let parsed = Frame::parse(&frames[at..]).map(|frame| (BLOCK_HEADER + at, frame));
            at += parsed.as_ref().map_or(frames.len(), |(_, frame)| frame.span());
            Some(parsed)
        })
    }
}

/// What is left of a damaged block whose header verifies.
#[derive(Debug)]
pub struct Salvage<'a> {
    /// What the block says of itself.
    pub header: BlockHeader,
    /// The envelope's checksum, which the next block must repeat.
    pub checksum: u32,
    /// The frames that verify, each with its distance in bytes from the block's start.
    pub frames: Vec<(usize, Frame<'a>)>,
    /// What does not, in order; at least one.
    pub lost: Vec<LostBytes>,
}

/// Bytes of a block that do not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostBytes {
    /// Distance of the first from the block's start.
    pub start: usize,
    /// Distance of the end.
    pub end: usize,
    /// The frame they were, where its header verifies.
    pub meta: Option<FrameMeta>,
    /// What is wrong with them.
    pub reason: BlockError,
}

impl<'a> Salvage<'a> {
    /// What can be relied upon of the damaged block at the start of `bytes`; `None` where not even
    /// its header can, or its end is missing.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let header = BlockHeader::parse(bytes).ok()?;
        let (head, rest) = bytes.get(..header.block_bytes as usize)?.split_at(BLOCK_HEADER);
        let frames = &rest[..header.frames_bytes as usize];
        // Frames behind a damaged one are found only if all lengths are right.
        let lengths_hold = shared_checksum(head, frames) == Some(u32_at(head, 92));
        let checksum = u32_at(head, 4);
        let mut salvage = Self { header, checksum, frames: Vec::new(), lost: Vec::new() };
        let mut at = 0;
        while at < frames.len() {
            let start = BLOCK_HEADER + at;
            match Frame::parse(&frames[at..]) {
                Ok(frame) => {
                    at += frame.span();
                    salvage.frames.push((start, frame));
                }
                Err(reason) => {
                    let length =
                        frame::length_and_checksum(&frames[at..]).map(|(length, _)| length);
                    let payload = length.and_then(|length| length.checked_sub(frame::FRAME_HEADER));
                    let span = payload.filter(|_| lengths_hold).map(frame::frame_span);
                    let meta = Frame::surviving_meta(&frames[at..]).filter(|_| lengths_hold);
                    at = span.map_or(frames.len(), |span| at + span);
                    let end = BLOCK_HEADER + at;
                    salvage.lost.push(LostBytes { start, end, meta, reason: reason.into() });
                }
            }
        }
        if salvage.lost.is_empty() {
            // Only zeros between or behind the frames are damaged.
            let (start, end) = (BLOCK_HEADER + frames.len(), header.block_bytes as usize);
            let meta = Some(FrameMeta::control(FrameKind::Void, 0));
            salvage.lost.push(LostBytes { start, end, meta, reason: BlockError::Content });
        }
        Some(salvage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::QueueId,
        storage::commit_log::frame::{FRAME_HEADER, frame_span, seal_frame},
    };

    /// A block of a few frames with these payloads.
    fn sealed(payloads: &[&[u8]]) -> (Vec<u8>, BlockHeader) {
        let mut frames = Vec::new();
        for payload in payloads {
            let mut span = vec![0xee; frame_span(payload.len())];
            span[FRAME_HEADER..FRAME_HEADER + payload.len()].copy_from_slice(payload);
            let meta = FrameMeta { queue: QueueId(3), ..FrameMeta::control(FrameKind::Group, 5) };
            seal_frame(&mut span, payload.len(), &meta);
            frames.extend(span);
        }
        let bytes = (BLOCK_HEADER + frames.len()).next_multiple_of(SECTOR);
        let header = BlockHeader {
            log_id: 1,
            segment: 2,
            position: Position(3 * SECTOR as u64),
            durable_through: Position(2 * SECTOR as u64),
            frames_before: 5,
            block_bytes: bytes as u32,
            previous: 6,
            term: Term(7),
            index: 8,
            frame_count: payloads.len() as u32,
            frames_bytes: frames.len() as u32,
        };
        let mut block = vec![0; bytes];
        block[BLOCK_HEADER..BLOCK_HEADER + frames.len()].copy_from_slice(&frames);
        seal_block(block.first_chunk_mut().unwrap(), &frames, &header);
        (block, header)
    }

    #[test]
    fn every_flip_of_every_byte_is_noticed() {
        let (block, header) = sealed(&[b"a payload", b"", b"another one"]);
        let parsed = Block::parse(&block).unwrap();
        assert_eq!(parsed.header, header);
        assert_eq!(parsed.frames().count(), 3);
        for at in 0..block.len() {
            let mut broken = block.clone();
            broken[at] ^= 1 << (at % 8);
            let error = Block::parse(&broken).err();
            assert!(error.is_some(), "a flip in byte {at} went unnoticed");
            assert_ne!(error, Some(BlockError::Absent), "a flip in byte {at} hides the block");
            assert_eq!(error == Some(BlockError::Header), at < BLOCK_HEADER, "byte {at}");
        }
    }

    #[test]
    fn what_a_flip_does_not_touch_is_salvaged() {
        let payloads: [&[u8]; 3] = [b"a payload", b"", b"another one"];
        let (block, header) = sealed(&payloads);
        let starts = [0, 1, 2].map(|n| {
            let before = payloads[..n].iter().map(|payload| frame_span(payload.len()));
            BLOCK_HEADER + before.sum::<usize>()
        });
        let frames_end = BLOCK_HEADER + header.frames_bytes as usize;
        for at in 0..block.len() {
            let mut broken = block.clone();
            broken[at] ^= 1 << (at % 8);
            let Some(salvage) = Salvage::of(&broken) else {
                assert!(at < BLOCK_HEADER, "nothing is left with byte {at} flipped");
                continue;
            };
            assert_eq!(salvage.header, header);
            if at >= frames_end {
                assert_eq!(salvage.frames.len(), 3, "byte {at}");
                continue;
            }
            let hit = starts.iter().rposition(|&start| start <= at).unwrap();
            for (start, frame) in &salvage.frames {
                let number = starts.iter().position(|known| known == start).unwrap();
                assert_eq!(frame.payload, payloads[number], "byte {at}");
            }
            let kept = |number: usize| salvage.frames.iter().any(|(at, _)| *at == starts[number]);
            (0..hit).for_each(|number| assert!(kept(number), "byte {at}: frame {number}"));
            let within = at - starts[hit];
            // Neither a length nor a checksum: what lies behind is found.
            let behind = within >= 8;
            (hit + 1..3).for_each(|number| assert_eq!(kept(number), behind, "byte {at}"));
        }
    }

    #[test]
    fn an_empty_block_is_one_sector() {
        let (block, header) = sealed(&[]);
        assert_eq!(block.len(), SECTOR);
        assert_eq!(Block::parse(&block).unwrap().header, header);
    }

    #[test]
    fn what_is_no_block_is_absent_and_what_is_cut_is_short() {
        let payload = [9; 5000];
        let (block, _) = sealed(&[&payload]);
        assert_eq!(BlockHeader::parse(&[0; SECTOR]), Err(BlockError::Absent));
        assert_eq!(BlockHeader::parse(&block[..BLOCK_HEADER - 1]), Err(BlockError::Absent));
        assert_eq!(BlockHeader::parse(&payload), Err(BlockError::Absent));
        assert_eq!(Block::parse(&block[..SECTOR]).err(), Some(BlockError::Short));
    }

    #[test]
    fn the_checksum_depends_on_the_block_before() {
        let (mut block, header) = sealed(&[b"x"]);
        let first = Block::parse(&block).unwrap().checksum;
        let (head, rest) = block.split_first_chunk_mut().unwrap();
        let frames = &rest[..header.frames_bytes as usize];
        let second = seal_block(head, frames, &BlockHeader { previous: 9, ..header });
        assert_ne!(first, second);
        assert_eq!(Block::parse(&block).unwrap().checksum, second);
    }

    #[test]
    fn another_segments_blocks_are_absent_whatever_their_version() {
        let (mut block, header) = sealed(&[b"x"]);
        assert_eq!(BlockHeader::parse_own(&block, 1, 2), Ok(header));
        block[82] += 1;
        let sum = checksum::crc32c(&block[8..BLOCK_HEADER]).to_le_bytes();
        block[4..8].copy_from_slice(&sum);
        assert_eq!(BlockHeader::parse_own(&block, 1, 2), Err(BlockError::Version(VERSION + 1)));
        assert_eq!(BlockHeader::parse_own(&block, 1, 3), Err(BlockError::Absent));
        assert_eq!(BlockHeader::parse_own(&block, 9, 2), Err(BlockError::Absent));
    }
}
