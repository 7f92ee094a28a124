//! The body of `SEND_BATCH_MESSAGE` (320): messages end to end (`MessageDecoder.encodeMessages`).
//!
//! ```text
//! length i32, of all of it | magic i32, 0 | body CRC i32, 0 | flag i32
//! | body length i32 | body | properties length i16 | properties
//! ```
//!
//! Topic, queue and times are the request's.

use bytes::{Buf, BufMut};

use super::property::PROPERTIES_BYTES_MAX;
use super::record::{RecordError, take, utf8};

/// Everything but body and properties.
const FIXED_BYTES: usize = 4 * 5 + 2;

/// One message of a batch, borrowing from the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMessage<'a> {
    /// The user's; means nothing to a broker.
    pub flag: i32,
    /// The body.
    pub body: &'a [u8],
    /// The properties' block.
    pub properties: &'a str,
}

impl BatchMessage<'_> {
    /// Writes the message, as a producer does.
    ///
    /// # Errors
    /// [`RecordError::TooLong`], before anything is written.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), RecordError> {
        let bytes = FIXED_BYTES + self.body.len() + self.properties.len();
        let what = "a message";
        let total = i32::try_from(bytes).map_err(|_| RecordError::TooLong { what, bytes })?;
        if self.properties.len() > PROPERTIES_BYTES_MAX {
            let bytes = self.properties.len();
            return Err(RecordError::TooLong { what: "properties", bytes });
        }
        out.put_i32(total);
        out.put_u64(0); // Magic and sum, which nobody looks at.
        out.put_i32(self.flag);
        out.put_i32(self.body.len() as i32);
        out.put_slice(self.body);
        out.put_i16(self.properties.len() as i16);
        out.put_slice(self.properties.as_bytes());
        Ok(())
    }
}

/// Iterates over a batch's messages. After the first error it ends.
#[derive(Clone, Debug)]
pub struct BatchMessages<'a> {
    rest: &'a [u8],
}

impl<'a> BatchMessages<'a> {
    /// The messages in a request's body.
    #[must_use]
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }
}

impl<'a> Iterator for BatchMessages<'a> {
    type Item = Result<BatchMessage<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = message(&mut self.rest);
        if message.is_err() {
            self.rest = &[];
        }
        Some(message)
    }
}

fn message<'a>(rest: &mut &'a [u8]) -> Result<BatchMessage<'a>, RecordError> {
    let left = rest.len();
    let claimed = rest.try_get_i32()?;
    rest.try_get_u64()?;
    let flag = rest.try_get_i32()?;
    let body_length = rest.try_get_i32()?;
    let body = take(rest, i64::from(body_length))?;
    let properties_length = rest.try_get_i16()?;
    let properties = utf8(take(rest, i64::from(properties_length))?)?;
    let taken = left - rest.len();
    if usize::try_from(claimed) != Ok(taken) {
        return Err(RecordError::Length { claimed, taken });
    }
    Ok(BatchMessage { flag, body, properties })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn encoded(messages: &[(i32, Vec<u8>, String)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (flag, body, properties) in messages {
            BatchMessage { flag: *flag, body, properties }.encode(&mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn a_length_that_does_not_match_is_an_error() {
        let mut bytes = encoded(&[(1, b"body".to_vec(), "p".to_owned())]);
        bytes[3] += 1;
        let read: Vec<_> = BatchMessages::new(&bytes).collect();
        assert_eq!(read, [Err(RecordError::Length { claimed: 28, taken: 27 })]);
    }

    proptest! {
        #[test]
        fn batches_return(
            messages in vec((any::<i32>(), vec(any::<u8>(), 0..20), "[a\u{1}\u{2}é]{0,8}"), 0..6),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = encoded(&messages);
            let read: Result<Vec<_>, _> = BatchMessages::new(&bytes).collect();
            let expected: Vec<_> = messages
                .iter()
                .map(|(flag, body, properties)| BatchMessage { flag: *flag, body, properties })
                .collect();
            prop_assert_eq!(read.unwrap(), expected);
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                // Cut between two messages it is a shorter batch, else it is none.
                let whole = BatchMessages::new(&bytes[..at]).filter(Result::is_ok).count();
                prop_assert!(whole < messages.len());
                bytes[at] = byte;
                let _ = BatchMessages::new(&bytes).count();
            }
        }

        #[test]
        fn noise_is_survived(noise in vec(any::<u8>(), 0..100)) {
            prop_assert!(BatchMessages::new(&noise).count() <= noise.len() / FIXED_BYTES + 1);
        }
    }
}
