//! The two ids a message has: one names its place, the other was made by its producer.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Buf;

/// Bytes of an id with an IPv6 address, the longest.
const BYTES_MAX: usize = 28;

/// `offsetMsgId`: the broker's advertised address and the message's place (`MessageDecoder.java`).
/// 32 hexadecimal digits, or 56 with an IPv6 address. Clients ask that address for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OffsetMessageId {
    /// The record's store host.
    pub host: SocketAddr,
    /// The record's physical offset.
    pub physical_offset: i64,
}

impl OffsetMessageId {
    /// Digits of an id with an IPv4 address.
    pub const DIGITS: usize = 32;

    /// Reads an id; none if it is no offsetMsgId. Half of all unique ids look like one.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let mut buffer = [0; BYTES_MAX];
        let (ip, mut rest) = ip(unhex(id, &mut buffer)?, 12)?;
        let port = u16::try_from(rest.try_get_i32().ok()?).ok()?;
        let physical_offset = rest.try_get_i64().ok()?;
        Some(Self { host: SocketAddr::new(ip, port), physical_offset })
    }
}

impl fmt::Display for OffsetMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = Digits::default();
        digits.push_ip(self.host.ip());
        digits.push(&u32::from(self.host.port()).to_be_bytes());
        digits.push(&self.physical_offset.to_be_bytes());
        f.write_str(digits.text())
    }
}

/// `UNIQ_KEY`: what a client makes for each message (`MessageClientIDSetter.java`), and the broker
/// for those that come without. 32 hexadecimal digits, or 56 with an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UniqueId {
    /// The maker's address.
    pub ip: IpAddr,
    /// The low 16 bits of its process id.
    pub process: u16,
    /// Tells several makers in one process apart; Java takes its class loader's hash.
    pub maker: u32,
    /// When, ms since the month began where the maker lives.
    pub time_ms: u32,
    /// Counts up with each id.
    pub counter: u16,
}

impl UniqueId {
    /// An id made at `now_ms`, ms since 1970, in UTC. `random` stands for the process, the maker and its
    /// counter.
    #[must_use]
    pub fn new(ip: IpAddr, now_ms: i64, random: u64) -> Self {
        Self {
            ip,
            process: random as u16,
            maker: (random >> 16) as u32,
            time_ms: ms_of_month(now_ms),
            counter: (random >> 48) as u16,
        }
    }

    /// Reads an id; none if its length is no unique id's.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let mut buffer = [0; BYTES_MAX];
        let (ip, mut rest) = ip(unhex(id, &mut buffer)?, 12)?;
        Some(Self {
            ip,
            process: rest.try_get_u16().ok()?,
            maker: rest.try_get_u32().ok()?,
            time_ms: rest.try_get_u32().ok()?,
            counter: rest.try_get_u16().ok()?,
        })
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = Digits::default();
        digits.push_ip(self.ip);
        digits.push(&self.process.to_be_bytes());
        digits.push(&self.maker.to_be_bytes());
        digits.push(&self.time_ms.to_be_bytes());
        digits.push(&self.counter.to_be_bytes());
        f.write_str(digits.text())
    }
}

const DAY_MS: i64 = 86_400_000;

/// Since the month began, in UTC. Clients look a message up from the time on that its id says.
fn ms_of_month(now_ms: i64) -> u32 {
    // Days since 1 March of the year 0; from there on each 4, 100 and 400 years are alike.
    let days = now_ms.div_euclid(DAY_MS) + 719_468;
    let of_400_years = days.rem_euclid(146_097);
    let years = (of_400_years - of_400_years / 1_460 + of_400_years / 36_524
        - of_400_years / 146_096)
        / 365;
    let of_year = of_400_years - (365 * years + years / 4 - years / 100);
    let months = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * months + 2) / 5;
    u32::try_from(of_month * DAY_MS + now_ms.rem_euclid(DAY_MS)).expect("at most 31 days")
}

/// An id being written; each message that is stored has one.
struct Digits {
    text: [u8; 2 * BYTES_MAX],
    length: usize,
}

impl Default for Digits {
    fn default() -> Self {
        Self { text: [0; 2 * BYTES_MAX], length: 0 }
    }
}

impl Digits {
    fn push(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        for byte in bytes {
            let digits = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
            self.text[self.length..][..2].copy_from_slice(&digits);
            self.length += 2;
        }
    }

    fn push_ip(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => self.push(&ip.octets()),
            IpAddr::V6(ip) => self.push(&ip.octets()),
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length]).expect("digits are ASCII")
    }
}

/// The address in front of `tail` further bytes, and those.
fn ip(mut bytes: &[u8], tail: usize) -> Option<(IpAddr, &[u8])> {
    let ip = match bytes.len().checked_sub(tail)? {
        4 => IpAddr::V4(Ipv4Addr::from_bits(bytes.try_get_u32().ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from_bits(bytes.try_get_u128().ok()?)),
        _ => return None,
    };
    Some((ip, bytes))
}

/// Hexadecimal digits of either case as bytes.
fn unhex<'a>(text: &str, buffer: &'a mut [u8; BYTES_MAX]) -> Option<&'a [u8]> {
    let bytes = buffer.get_mut(..text.len() / 2).filter(|_| text.len().is_multiple_of(2))?;
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_look_as_java_makes_them() {
        let host = "127.0.0.1:10911".parse().unwrap();
        let id = OffsetMessageId { host, physical_offset: 0x12ab };
        assert_eq!(id.to_string(), "7F00000100002A9F00000000000012AB");
        assert_eq!(OffsetMessageId::parse("7f00000100002a9f00000000000012ab"), Some(id));
        for wrong in
            ["", "7F", "7F00000100002A9F00000000000012A", "7F000001FFFFFFFF00000000000012AB"]
        {
            assert_eq!(OffsetMessageId::parse(wrong), None, "{wrong}");
        }
        let unique = UniqueId::parse("0A0000011F9018B4AAC2549F3D0F0001").unwrap();
        let expected = UniqueId {
            ip: "10.0.0.1".parse().unwrap(),
            process: 8080,
            maker: 0x18b4_aac2,
            time_ms: 0x549f_3d0f,
            counter: 1,
        };
        assert_eq!(unique, expected);
    }

    #[test]
    fn ids_say_when_in_the_month() {
        let day = |days: i64| days * DAY_MS;
        for (days, of_month) in [
            (0, 0),
            // 29 February and 1 March of 2000, 31 December of 2025.
            (11_016, 28),
            (11_017, 0),
            (20_453, 30),
            // 28 February and 1 March of 2100.
            (47_540, 27),
            (47_541, 0),
        ] {
            let id = UniqueId::new([10, 0, 0, 1].into(), day(days) + 7, 0x0001_0002_0003_0004);
            assert_eq!(i64::from(id.time_ms), day(of_month) + 7, "{days}");
            assert_eq!((id.process, id.maker, id.counter), (4, 0x0002_0003, 1));
        }
    }

    proptest! {
        #[test]
        fn ids_return(
            ip in any::<IpAddr>(),
            port in any::<u16>(),
            physical_offset in any::<i64>(),
            (process, maker, time_ms, counter) in any::<(u16, u32, u32, u16)>(),
        ) {
            let id = OffsetMessageId { host: SocketAddr::new(ip, port), physical_offset };
            prop_assert_eq!(OffsetMessageId::parse(&id.to_string()), Some(id));
            let id = UniqueId { ip, process, maker, time_ms, counter };
            prop_assert_eq!(UniqueId::parse(&id.to_string()), Some(id));
        }

        #[test]
        fn any_text_is_survived(text in prop_oneof!["\\PC{0,60}", "[0-9a-fG]{32}", "é{16}"]) {
            let _ = (OffsetMessageId::parse(&text), UniqueId::parse(&text));
        }
    }
}
