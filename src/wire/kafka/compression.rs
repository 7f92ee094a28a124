//! Compressed records, into a bounded buffer and back.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Read, Write};

use super::batch::{BatchError, Codec};

/// What xerial's framing of Snappy begins with; a version and a compatible version follow, then
/// blocks with their length (`i32`) before them.
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
/// What xerial's own stream puts into one block, bytes.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// A Snappy element of three bytes copies at most 64: no block grows beyond this factor.
const SNAPPY_FACTOR_MAX: usize = 22;
/// zstd's largest window, as a power of two: what its highest level uses and its decoder accepts by
/// default. Its memory is not resident before output fills it, and output is limited.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Decompresses what follows a batch's header. Uncompressed records are borrowed.
///
/// Memory is touched as output comes, never by what the input claims. Besides the output a decoder
/// holds its window: 32 KiB (gzip), two blocks of at most 4 MiB (LZ4), at most 128 MiB (zstd).
///
/// # Errors
/// [`BatchError::TooLarge`] if the output has more than `limit_bytes`; [`BatchError::Decompress`] if
/// the input is malformed.
pub fn decompress(
    codec: Codec,
    input: &[u8],
    limit_bytes: usize,
) -> Result<Cow<'_, [u8]>, BatchError> {
    match codec {
        Codec::None if input.len() > limit_bytes => Err(BatchError::TooLarge(limit_bytes)),
        Codec::None => Ok(Cow::Borrowed(input)),
        Codec::Gzip => read_all(flate2::bufread::MultiGzDecoder::new(input), limit_bytes),
        Codec::Snappy => snappy(input, limit_bytes),
        Codec::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(input), limit_bytes),
        Codec::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(input).map_err(malformed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(malformed)?;
            read_all(decoder, limit_bytes)
        }
    }
}

/// Decompresses zlib's format (RFC 1950), which RocketMQ's clients use.
///
/// # Errors
/// As [`decompress`].
pub fn zlib(input: &[u8], limit_bytes: usize) -> Result<Cow<'_, [u8]>, BatchError> {
    read_all(flate2::bufread::ZlibDecoder::new(input), limit_bytes)
}

fn malformed(error: impl Display) -> BatchError {
    BatchError::Decompress(error.to_string())
}

fn read_all<'a>(reader: impl Read, limit_bytes: usize) -> Result<Cow<'a, [u8]>, BatchError> {
    let mut output = Vec::new();
    let mut limited = reader.take((limit_bytes as u64).saturating_add(1));
    limited.read_to_end(&mut output).map_err(malformed)?;
    if output.len() > limit_bytes {
        return Err(BatchError::TooLarge(limit_bytes));
    }
    Ok(Cow::Owned(output))
}

fn snappy(input: &[u8], limit_bytes: usize) -> Result<Cow<'_, [u8]>, BatchError> {
    let mut output = Vec::new();
    if !input.starts_with(XERIAL_MAGIC) {
        snappy_block(input, limit_bytes, &mut output)?;
        return Ok(Cow::Owned(output));
    }
    let mut blocks = input.get(XERIAL_HEADER_BYTES..).ok_or_else(|| malformed("short header"))?;
    while !blocks.is_empty() {
        let (length, rest) =
            blocks.split_first_chunk::<4>().ok_or_else(|| malformed("short block length"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, rest) =
            rest.split_at_checked(length).ok_or_else(|| malformed("short block"))?;
        snappy_block(block, limit_bytes, &mut output)?;
        blocks = rest;
    }
    Ok(Cow::Owned(output))
}

fn snappy_block(block: &[u8], limit_bytes: usize, output: &mut Vec<u8>) -> Result<(), BatchError> {
    let claimed = snap::raw::decompress_len(block).map_err(malformed)?;
    if claimed > block.len().saturating_mul(SNAPPY_FACTOR_MAX) {
        return Err(malformed("a block claims more than it can hold"));
    }
    let start = output.len();
    if claimed > limit_bytes.saturating_sub(start) {
        return Err(BatchError::TooLarge(limit_bytes));
    }
    output.resize(start + claimed, 0);
    let written =
        snap::raw::Decoder::new().decompress(block, &mut output[start..]).map_err(malformed)?;
    output.truncate(start + written);
    Ok(())
}

/// Compresses records as Kafka's Java client does: Snappy in xerial's framing, all else at its
/// library's default level. Batches that the broker makes and tests use it.
///
/// # Errors
/// Whatever the library says; writing to memory fails in none of them today.
pub fn compress(codec: Codec, input: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(input)?;
            encoder.finish()
        }
        Codec::Snappy => {
            let mut output = XERIAL_MAGIC.to_vec();
            output.extend([0, 0, 0, 1, 0, 0, 0, 1]);
            for chunk in input.chunks(XERIAL_BLOCK_BYTES) {
                let block = snap::raw::Encoder::new().compress_vec(chunk)?;
                output.extend((block.len() as u32).to_be_bytes());
                output.extend(block);
            }
            Ok(output)
        }
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(input)?;
            encoder.finish().map_err(io::Error::other)
        }
        Codec::Zstd => zstd::encode_all(input, 0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn a_bomb_is_an_error() {
        let zeros = vec![0; 1 << 20];
        for codec in CODECS {
            let input = compress(codec, &zeros).unwrap();
            assert_eq!(decompress(codec, &input, 1 << 20).unwrap(), zeros, "{codec:?}");
            let refused = decompress(codec, &input, (1 << 20) - 1);
            assert_eq!(refused, Err(BatchError::TooLarge((1 << 20) - 1)), "{codec:?}");
        }
    }

    #[test]
    fn bare_snappy_is_read() {
        let input = snap::raw::Encoder::new().compress_vec(b"bare, bare, bare").unwrap();
        assert_eq!(decompress(Codec::Snappy, &input, 16).unwrap(), &b"bare, bare, bare"[..]);
    }

    #[test]
    fn snappy_cannot_claim_more_than_it_holds() {
        // A length of 2^31 and nothing behind it.
        let refused = decompress(Codec::Snappy, &[0x80, 0x80, 0x80, 0x80, 8], usize::MAX);
        assert!(matches!(refused, Err(BatchError::Decompress(_))));
    }

    proptest! {
        #[test]
        fn what_was_compressed_returns(
            codec in prop::sample::select(&CODECS[..]),
            input in vec(0..4_u8, 0..20_000),
        ) {
            let compressed = compress(codec, &input).unwrap();
            prop_assert_eq!(&*decompress(codec, &compressed, input.len()).unwrap(), &input);
        }

        #[test]
        fn broken_input_is_survived(
            codec in prop::sample::select(&CODECS[..]),
            input in vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let _ = decompress(codec, &input, 10_000);
            let mut compressed = compress(codec, &input).unwrap();
            if !compressed.is_empty() {
                let at = at.index(compressed.len());
                let _ = decompress(codec, &compressed[..at], 10_000);
                compressed[at] = byte;
                let _ = decompress(codec, &compressed, 10_000);
            }
        }
    }
}
