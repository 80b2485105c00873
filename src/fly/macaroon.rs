//! What a macaroon says of itself: until when it is good, and whether it may only read.
//!
//! Pure, and no proof of anything: who reads it has no key, and the platform alone decides. It is
//! `MessagePack` in Base64 (as the platform's own library writes it): `[nonce, location, caveats,
//! tail]`, where the caveats are a flat list of type, body, type, body. What is not understood says
//! nothing, and is no error.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// How deep values may be nested: caveats hold lists of lists, and no more.
const MOST_DEPTH: u32 = 16;

/// Caveat: one organisation, and what may be done in it.
const ORGANISATION: u64 = 0;

/// Caveat: from when and until when the token is good.
const VALIDITY: u64 = 4;

/// The bits of "write" and "create" among what may be done.
const CHANGES: u64 = 0b110;

/// Tokens come with padding and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a token says of its own limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenLimits {
    /// Unix time in seconds from which on it is refused; the earliest of all that it is made of.
    pub expires: Option<u64>,
    /// Whether it says that it may only read.
    pub only_reads: bool,
}

impl TokenLimits {
    /// Returns the limits of both.
    fn and(self, other: Self) -> Self {
        let expires = self.expires.into_iter().chain(other.expires).min();
        Self {
            expires,
            only_reads: self.only_reads || other.only_reads,
        }
    }
}

/// Returns the limits of macaroons that are joined by commas.
pub(super) fn limits(macaroons: &str) -> TokenLimits {
    let all = macaroons.split(',').filter_map(of_one);
    all.fold(TokenLimits::default(), TokenLimits::and)
}

fn of_one(macaroon: &str) -> Option<TokenLimits> {
    let (_, encoded) = macaroon.split_once('_')?;
    let bytes = BASE64.decode(encoded).ok()?;
    let Value::List(parts) = Reader { rest: &bytes }.value(0)? else {
        return None;
    };
    let Value::List(caveats) = parts.get(2)? else {
        return None;
    };
    let limits = caveats.chunks_exact(2).map(|pair| match pair {
        [Value::Whole(VALIDITY), Value::List(window)] => TokenLimits {
            expires: whole(window.get(1)),
            only_reads: false,
        },
        [Value::Whole(ORGANISATION), Value::List(body)] => TokenLimits {
            expires: None,
            only_reads: whole(body.get(1)).is_some_and(|mask| mask & CHANGES == 0),
        },
        _ => TokenLimits::default(),
    });
    Some(limits.fold(TokenLimits::default(), TokenLimits::and))
}

fn whole(value: Option<&Value>) -> Option<u64> {
    match value {
        Some(Value::Whole(number)) => Some(*number),
        _ => None,
    }
}

/// A value, as far as it matters here.
#[derive(Debug, PartialEq)]
enum Value {
    Whole(u64),
    List(Vec<Self>),
    /// Text, bytes, maps, negative numbers and the rest.
    Other,
}

/// Reads values from the start of what is left.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// Returns the next value; nothing where the bytes end early or are none.
    fn value(&mut self, depth: u32) -> Option<Value> {
        if depth > MOST_DEPTH {
            return None;
        }
        let tag = u8::try_from(self.number(1)?).ok()?;
        match tag {
            0x00..=0x7f => Some(Value::Whole(tag.into())),
            0x80..=0x8f => self.skip_values(u64::from(tag & 0x0f) * 2, depth),
            0x90..=0x9f => self.list((tag & 0x0f).into(), depth),
            0xa0..=0xbf => self.skip((tag & 0x1f).into()),
            0xc4 | 0xd9 => self.sized(1),
            0xc5 | 0xda => self.sized(2),
            0xc6 | 0xdb => self.sized(4),
            0xcc..=0xcf => Some(Value::Whole(self.number(1 << (tag - 0xcc))?)),
            // Signed: a negative one is no time and no mask.
            0xd0..=0xd3 => {
                let bytes = 1 << (tag - 0xd0);
                let number = self.number(bytes)?;
                let is_negative = number >> (bytes * 8 - 1) == 1;
                Some(if is_negative {
                    Value::Other
                } else {
                    Value::Whole(number)
                })
            }
            0xdc => self.counted(2).and_then(|count| self.list(count, depth)),
            0xdd => self.counted(4).and_then(|count| self.list(count, depth)),
            0xde => self
                .counted(2)
                .and_then(|count| self.skip_values(count * 2, depth)),
            0xdf => self
                .counted(4)
                .and_then(|count| self.skip_values(count * 2, depth)),
            // Nothing, switches, and small negative numbers.
            0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => Some(Value::Other),
            0xca => self.skip(4),
            0xcb => self.skip(8),
            // Extensions: one byte of type, then the bytes.
            0xc7 => self.counted(1).and_then(|count| self.skip(count + 1)),
            0xc8 => self.counted(2).and_then(|count| self.skip(count + 1)),
            0xc9 => self.counted(4).and_then(|count| self.skip(count + 1)),
            0xd4..=0xd8 => self.skip((1 << (tag - 0xd4)) + 1),
            0xc1 => None,
        }
    }

    fn counted(&mut self, bytes: usize) -> Option<u64> {
        self.number(bytes)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        let (number, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(
            number
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    }

    fn sized(&mut self, bytes: usize) -> Option<Value> {
        let length = self.number(bytes)?;
        self.skip(length)
    }

    fn skip(&mut self, bytes: u64) -> Option<Value> {
        let (_, rest) = self.rest.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.rest = rest;
        Some(Value::Other)
    }

    /// The length is only a promise: nothing is set aside for it.
    fn list(&mut self, count: u64, depth: u32) -> Option<Value> {
        let values = (0..count).map(|_| self.value(depth + 1));
        values.collect::<Option<_>>().map(Value::List)
    }

    fn skip_values(&mut self, count: u64, depth: u32) -> Option<Value> {
        (0..count).try_for_each(|_| self.value(depth + 1).map(drop))?;
        Some(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A macaroon with these caveats, as the platform's library writes one.
    fn macaroon(caveats: &[u8]) -> String {
        let nonce = [0x93, 0xc4, 1, 7, 0xc4, 2, 8, 9, 0xc2];
        let location = [&[0xd9, 5][..], b"there"].concat();
        let tail = [0xc4, 1, 1];
        let bytes = [&[0x94], &nonce[..], &location, caveats, &tail].concat();
        format!("fm2_{}", BASE64.encode(bytes))
    }

    /// Until 2,000,000,000, from the start of time.
    const WINDOW: [u8; 8] = [4, 0x92, 0, 0xce, 0x77, 0x35, 0x94, 0];

    fn caveats(all: &[&[u8]]) -> Vec<u8> {
        let count = u8::try_from(all.len() * 2).unwrap();
        [&[0x90 | count], all.concat().as_slice()].concat()
    }

    #[test]
    fn a_window_ends_and_a_mask_may_only_read() {
        let until = |text: &str| limits(text).expires;
        assert_eq!(until(&macaroon(&caveats(&[&WINDOW]))), Some(2_000_000_000));
        // A signed number, 8 bytes wide.
        let signed = [4, 0x92, 0, 0xd3, 0, 0, 0, 0, 0x3b, 0x9a, 0xca, 0];
        assert_eq!(until(&macaroon(&caveats(&[&signed]))), Some(1_000_000_000));
        let both = [
            macaroon(&caveats(&[&WINDOW])),
            macaroon(&caveats(&[&signed])),
        ]
        .join(",");
        assert_eq!(until(&both), Some(1_000_000_000), "the earliest counts");
        for (mask, only_reads) in [(1, true), (17, true), (31, false), (3, false)] {
            let organisation = [0, 0x92, 9, mask];
            let said = limits(&macaroon(&caveats(&[&organisation, &WINDOW])));
            assert_eq!(said.only_reads, only_reads, "{mask}");
            assert_eq!(said.expires, Some(2_000_000_000));
        }
    }

    #[test]
    fn what_says_nothing_has_no_limits() {
        let other = [3, 0x91, 0x81, 5, 31];
        for text in [
            macaroon(&[0x90]),
            macaroon(&caveats(&[&other])),
            "fm2_".to_owned(),
            "fm2_%%%".to_owned(),
            "fm2_lpQ".to_owned(),
            "fo1_abc".to_owned(),
            String::new(),
            // A list that promises four thousand million entries.
            format!("fm2_{}", BASE64.encode([0xdd, 0xff, 0xff, 0xff, 0xff])),
            format!("fm2_{}", BASE64.encode([0x91; 4_000])),
        ] {
            assert_eq!(limits(&text), TokenLimits::default(), "{text:.40}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = format!("fm2_{}", BASE64.encode(bytes));
            limits(&text);
        }
    }
}
