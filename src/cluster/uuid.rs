//! UUIDs as Kafka prints them: 22 characters of URL-safe base64 without padding (RFC 4648, 5).

use crate::base::base64;

/// Writes 16 bytes as 22 characters.
#[must_use]
pub fn encode_uuid(bytes: [u8; 16]) -> String {
    base64::encode(&bytes)
}

/// Makes a random (version 4) UUID of 16 random bytes, as cluster and topic ids are.
#[must_use]
pub fn random_uuid(mut random: [u8; 16]) -> [u8; 16] {
    random[6] = (random[6] & 0x0f) | 0x40;
    random[8] = (random[8] & 0x3f) | 0x80;
    // A first character '-' would look like an option on a command line; Kafka avoids it as well.
    if random[0] >> 2 == 62 {
        random[0] &= 0x7f;
    }
    random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(encode_uuid([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        let one = u128::from(1u8).to_be_bytes();
        assert_eq!(encode_uuid(one), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(encode_uuid([0xff; 16]), "_____________________w");
        let bytes: [u8; 16] = std::array::from_fn(|i| i as u8);
        assert_eq!(encode_uuid(bytes), "AAECAwQFBgcICQoLDA0ODw");
    }

    #[test]
    fn random_ids_never_start_with_a_dash() {
        let id = random_uuid([0xf8; 16]);
        assert!(!encode_uuid(id).starts_with('-'));
        assert_eq!(id[6] >> 4, 4);
    }
}
