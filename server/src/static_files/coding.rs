//! Content codings: which of them a peer takes, and in which order (RFC 9110, section 12.5.3).
//!
//! Pure, and run for each request: headers in, a few bytes on the stack out. It does not know
//! which codings of a file there are; who does walks the order and takes the first one that is.

use std::cmp::Reverse;

use http::{HeaderMap, header};

/// A way to write a representation's bytes, in the server's own order: the smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878; RFC 9659 lets a peer refuse windows above 8 MiB.
    Zstd,
    /// RFC 1952.
    Gzip,
    /// The bytes as they are.
    Identity,
}

impl Coding {
    /// Every coding, in the server's own order.
    pub(crate) const ALL: [Self; 4] = [Self::Brotli, Self::Zstd, Self::Gzip, Self::Identity];

    /// Returns the name in `Accept-Encoding` and `Content-Encoding`. A `Content-Encoding` never
    /// says `identity` (RFC 9110, section 8.4): it is left out.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Identity => "identity",
        }
    }

    /// Returns what site builders add to the name of a file for its coded sibling; nothing for
    /// the file itself.
    pub(crate) const fn file_suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Identity => "",
        }
    }

    /// Returns the coding of a name in a header, which has no case; `x-gzip` is the same as
    /// `gzip` (section 8.4.1.3).
    fn named(name: &[u8]) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case(b"x-gzip") {
            b"gzip"
        } else {
            name
        };
        Self::ALL
            .into_iter()
            .find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
    }
}

/// The codings that a peer takes, best first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    order: [Coding; 4],
    /// How many of `order` are accepted.
    count: usize,
}

impl Accepted {
    /// Returns what the `Accept-Encoding` lines of a request accept, which are one list.
    ///
    /// A request without the header gets the bytes as they are. Section 12.5.3 would allow any
    /// coding, but who says nothing is a script or a simple client that decodes nothing. An empty
    /// header means the same.
    ///
    /// A coding whose weight is malformed counts as refused, and one that is listed twice has the
    /// lower weight: bytes that the peer can read for sure are better than small ones. What the
    /// server does not know is skipped.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut listed = Listed::default();
        for line in headers.get_all(header::ACCEPT_ENCODING) {
            for member in line.as_bytes().split(|byte| *byte == b',') {
                listed.read(member.trim_ascii());
            }
        }
        let mut order = Coding::ALL;
        // Stable, so that the server's own order stays where weights are equal.
        order.sort_by_key(|coding| Reverse(listed.weight(*coding)));
        let mut count = order
            .iter()
            .take_while(|coding| listed.weight(**coding) > 0)
            .count();
        if !order[..count].contains(&Coding::Identity) {
            order[count] = Coding::Identity;
            count += 1;
        }
        Self { order, count }
    }

    /// Returns the accepted codings, best first: by the peer's weights, and where they are equal
    /// by the server's own order.
    ///
    /// Identity is always among them. Where the peer does not list it, it comes last; and also
    /// where the peer refuses it: a site's bytes as they are do more good than a 406.
    pub(crate) fn best_first(&self) -> impl Iterator<Item = Coding> {
        self.order[..self.count].iter().copied()
    }

    /// Returns whether the peer takes a coding.
    pub(crate) fn accepts(&self, coding: Coding) -> bool {
        self.order[..self.count].contains(&coding)
    }
}

/// What the lines of a request say about each coding: weights in thousandths.
#[derive(Default)]
struct Listed {
    weights: [Option<u16>; 4],
    /// The weight of `*`: of every coding that is not listed itself.
    others: Option<u16>,
}

impl Listed {
    /// Takes in one member of the list, without the space around it.
    fn read(&mut self, member: &[u8]) {
        let (name, weight) = match member.iter().position(|byte| *byte == b';') {
            Some(at) => (member[..at].trim_ascii_end(), weight(&member[at + 1..])),
            None => (member, MOST),
        };
        let slot = if name == b"*" {
            &mut self.others
        } else if let Some(coding) = Coding::named(name) {
            &mut self.weights[coding as usize]
        } else {
            return;
        };
        *slot = Some(slot.map_or(weight, |before| before.min(weight)));
    }

    fn weight(&self, coding: Coding) -> u16 {
        self.weights[coding as usize].or(self.others).unwrap_or(0)
    }
}

/// The weight of what has none (RFC 9110, section 12.4.2), in thousandths.
const MOST: u16 = 1000;

/// Returns the weight in what follows a name's `;`: nothing but `q=` and a number from 0 to 1
/// with at most three decimals. Whatever else it is counts as 0.
fn weight(parameter: &[u8]) -> u16 {
    let [b'q' | b'Q', b'=', number @ ..] = parameter.trim_ascii() else {
        return 0;
    };
    let (whole, decimals) = match number {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return 0,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let thousandths = decimals
        .iter()
        .zip([100, 10, 1])
        .map(|(digit, value)| u16::from(digit - b'0') * value)
        .sum();
    match (whole, thousandths) {
        (b'0', thousandths) => thousandths,
        (b'1', 0) => MOST,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn accepted(lines: &[&str]) -> Accepted {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
            headers.append(header::ACCEPT_ENCODING, value);
        }
        Accepted::of(&headers)
    }

    fn shown(accepted: &Accepted) -> String {
        let names: Vec<&str> = accepted.best_first().map(Coding::name).collect();
        names.join(" ")
    }

    #[test]
    fn what_clients_send() {
        for (line, expected) in [
            // Chrome, Edge and Firefox; Safari; curl --compressed; wget; Go; Python; old proxies.
            ("gzip, deflate, br, zstd", "br zstd gzip identity"),
            ("gzip, deflate, br", "br gzip identity"),
            ("deflate, gzip, br, zstd", "br zstd gzip identity"),
            ("identity", "identity"),
            ("gzip", "gzip identity"),
            ("gzip, deflate", "gzip identity"),
            ("x-gzip, gzip, deflate", "gzip identity"),
            ("gzip;q=1.0, deflate;q=0.6, identity;q=0.3", "gzip identity"),
            ("identity;q=1, *;q=0", "identity"),
            ("gzip, identity, *;q=0", "gzip identity"),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", "br gzip zstd identity"),
        ] {
            assert_eq!(shown(&accepted(&[line])), expected, "{line}");
        }
        assert_eq!(shown(&accepted(&[])), "identity");
    }

    #[test]
    fn weights_order_them() {
        for (line, expected) in [
            ("", "identity"),
            (",, ,", "identity"),
            ("br;q=0.5, gzip", "gzip br identity"),
            ("br;q=0.001, gzip;q=0.002", "gzip br identity"),
            ("gzip, zstd, br", "br zstd gzip identity"),
            ("identity, gzip;q=0.9, br;q=0.999", "identity br gzip"),
            ("gzip;q=0.5, identity;q=0.5", "gzip identity"),
            ("gzip;q=0.5, identity;q=0.501", "identity gzip"),
            ("*", "br zstd gzip identity"),
            ("*;q=0.5", "br zstd gzip identity"),
            ("*;q=0.5, gzip", "gzip br zstd identity"),
            ("*;q=0.5, gzip;q=0.1", "br zstd identity gzip"),
            ("*, br;q=0", "zstd gzip identity"),
            // Refused, and nothing is better.
            ("identity;q=0", "identity"),
            ("*;q=0", "identity"),
            ("identity;q=0, *;q=0", "identity"),
            ("identity;q=0, gzip;q=0.1", "gzip identity"),
            ("gzip;q=0, identity;q=0", "identity"),
            ("gzip;q=0", "identity"),
            ("gzip;q=0.000", "identity"),
            ("compress, deflate, dcb, dcz", "identity"),
        ] {
            assert_eq!(shown(&accepted(&[line])), expected, "{line}");
        }
    }

    #[test]
    fn spelling() {
        for (line, expected) in [
            ("GZIP, Br", "br gzip identity"),
            ("X-GZip", "gzip identity"),
            ("x-br", "identity"),
            ("gzip;Q=0", "identity"),
            (" gzip\t;\tq=0 ,br ", "br identity"),
            ("gzip ;q=1.000", "gzip identity"),
            ("gzip;q=1.", "gzip identity"),
            ("gzip;q=0.", "identity"),
            ("gzip;q=0.1", "gzip identity"),
            // Malformed weights refuse.
            ("gzip;q=2", "identity"),
            ("gzip;q=1.001", "identity"),
            ("gzip;q=0.1234", "identity"),
            ("gzip;q=-1", "identity"),
            ("gzip;q=.5", "identity"),
            ("gzip;q=00.5", "identity"),
            ("gzip;q=0,5", "identity"),
            ("gzip;q=high", "identity"),
            ("gzip;q=", "identity"),
            ("gzip;q", "identity"),
            ("gzip;", "identity"),
            ("gzip;q =1", "identity"),
            ("gzip;q= 1", "identity"),
            ("gzip;level=9", "identity"),
            ("gzip;q=1;q=1", "identity"),
            ("*;q=x, gzip", "gzip identity"),
            // Names that only look alike.
            ("gzipped, brotli, zst", "identity"),
            ("gzip br", "identity"),
            ("\u{e5}, gzip", "gzip identity"),
            // Listed twice: the lower weight.
            ("gzip, gzip;q=0", "identity"),
            ("gzip;q=0, gzip", "identity"),
            ("x-gzip;q=0.1, gzip, br;q=0.5", "br gzip identity"),
        ] {
            assert_eq!(shown(&accepted(&[line])), expected, "{line}");
        }
    }

    #[test]
    fn lines_are_one_list() {
        assert_eq!(shown(&accepted(&["gzip", "br"])), "br gzip identity");
        assert_eq!(shown(&accepted(&["", "gzip"])), "gzip identity");
        assert_eq!(shown(&accepted(&["gzip", "gzip;q=0"])), "identity");
        assert_eq!(shown(&accepted(&["*", "br;q=0"])), "zstd gzip identity");
    }

    #[test]
    fn suffixes_are_those_of_the_tools() {
        let suffixes = Coding::ALL.map(Coding::file_suffix);
        assert_eq!(suffixes, [".br", ".zst", ".gz", ""]);
    }

    /// One member as a peer means it: a coding, or `None` for `*`, and its weight.
    fn members() -> impl Strategy<Value = Vec<(Option<usize>, u16)>> {
        let weight = prop_oneof![Just(0_u16), Just(1000), 1_u16..1000];
        proptest::collection::vec((proptest::option::of(0_usize..4), weight), 0..7)
    }

    fn written(members: &[(Option<usize>, u16)]) -> String {
        let members = members.iter().map(|(coding, weight)| {
            let name = coding.map_or("*", |at| Coding::ALL[at].name());
            format!("{name};q={}.{:03}", weight / 1000, weight % 1000)
        });
        members.collect::<Vec<_>>().join(", ")
    }

    /// The weight of a coding, looked up in what was meant.
    fn reference(members: &[(Option<usize>, u16)], coding: Option<usize>) -> Option<u16> {
        let weights = members.iter().filter(|(listed, _)| *listed == coding);
        weights.map(|(_, weight)| *weight).min()
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_weights(members in members()) {
            let found = accepted(&[&written(&members)]);
            let weight = |coding: Coding| {
                let at = Coding::ALL.iter().position(|other| *other == coding);
                reference(&members, at).or_else(|| reference(&members, None)).unwrap_or(0)
            };
            let order: Vec<Coding> = found.best_first().collect();
            let is_best_first = order.is_sorted_by(|before, after| {
                let (before_weight, after_weight) = (weight(*before), weight(*after));
                before_weight > after_weight
                    || (before_weight == after_weight && (*before as usize) < (*after as usize))
            });
            prop_assert!(is_best_first, "{:?}", order);
            for coding in Coding::ALL {
                // Never one that was refused, always one that was not; identity in any case.
                let expected = weight(coding) > 0 || coding == Coding::Identity;
                prop_assert_eq!(found.accepts(coding), expected, "{:?}", coding);
                prop_assert_eq!(order.contains(&coding), expected, "{:?}", coding);
            }
        }

        #[test]
        fn no_header_makes_it_panic(value in "[gzipbrstdx*;q=.,01 -]{0,40}|[ -~\u{e5}]{0,40}") {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]);
                let order: Vec<Coding> = Accepted::of(&headers).best_first().collect();
                prop_assert!(order.contains(&Coding::Identity));
            }
        }
    }
}
