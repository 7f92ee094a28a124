//! What both protocols' frames have in common: a length of what follows, four bytes.

use bytes::{BufMut, BytesMut};

use super::WireError;

/// Runs `write` and puts the length of what it wrote, and of `beside` further bytes, before it. If
/// it fails, `out` is as it was.
pub(super) fn framed<T>(
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(T, usize), WireError>,
) -> Result<T, WireError> {
    let start = out.len();
    out.put_i32(0);
    let result = write(out).and_then(|(value, beside)| {
        let length = (out.len() - start - 4).saturating_add(beside);
        let length = i32::try_from(length).map_err(|_| too_long("a frame", length))?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(value)
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// That something of `length` bytes or entries does not fit in its length field.
pub(super) fn too_long(what: &str, length: usize) -> WireError {
    WireError::Encode(format!("{what} of {length} is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_frame_leaves_nothing_behind() {
        let mut out = BytesMut::from(&b"before"[..]);
        let result = framed::<()>(&mut out, |out| {
            out.put_i32(7);
            Err(WireError::NotUtf8)
        });
        assert_eq!(result, Err(WireError::NotUtf8));
        assert_eq!(&out[..], b"before");
    }
}
