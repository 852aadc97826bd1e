//! Key-values of a GGUF file, as an image keeps them: found by walking, nothing is copied. A value of an unexpected type is as
//! if it were not there, which whoever needs it says by its own error.

use crate::words::{bytes, u32, u64};
use alloc::vec::Vec;

mod kind {
    pub const U8: u32 = 0;
    pub const I8: u32 = 1;
    pub const U16: u32 = 2;
    pub const I16: u32 = 3;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const STRING: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
    pub const I64: u32 = 11;
    pub const F64: u32 = 12;
}

/// Arrays in arrays in arrays: no file has them deeper.
const DEEPEST: u32 = 4;

/// The pairs.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    /// A count, then the pairs.
    section: &'a [u8],
}

/// A value where it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Value<'a> {
    kind: u32,
    /// From the value to the end of the section.
    rest: &'a [u8],
}

/// Bytes of a number.
fn width(kind: u32) -> Option<usize> {
    Some(match kind {
        kind::U8 | kind::I8 | kind::BOOL => 1,
        kind::U16 | kind::I16 => 2,
        kind::U32 | kind::I32 | kind::F32 => 4,
        kind::U64 | kind::I64 | kind::F64 => 8,
        _ => return None,
    })
}

/// The string at the beginning, and what follows.
fn string(from: &[u8]) -> Option<(&[u8], &[u8])> {
    let n = usize::try_from(u64(from, 0)?).ok()?;
    from.get(8..)?.split_at_checked(n)
}

/// What follows a value.
fn after(value: Value<'_>, depth: u32) -> Option<&[u8]> {
    match value.kind {
        kind::STRING => Some(string(value.rest)?.1),
        kind::ARRAY => {
            let (kind, n) = (u32(value.rest, 0)?, usize::try_from(u64(value.rest, 4)?).ok()?);
            let mut rest = value.rest.get(12..)?;
            if let Some(width) = width(kind) {
                return rest.get(n.checked_mul(width)?..);
            }
            for _ in 0..n {
                if depth >= DEEPEST {
                    return None;
                }
                rest = after(Value { kind, rest }, depth + 1)?;
            }
            Some(rest)
        }
        kind => value.rest.get(width(kind)?..),
    }
}

impl<'a> Metadata<'a> {
    /// The pairs of a section.
    pub fn new(section: &'a [u8]) -> Metadata<'a> {
        Metadata { section }
    }

    fn find(&self, key: &str) -> Option<Value<'a>> {
        let n = u64(self.section, 0)?;
        let mut rest = self.section.get(8..)?;
        for _ in 0..n {
            let (name, value) = string(rest)?;
            let value = Value { kind: u32(value, 0)?, rest: value.get(4..)? };
            if name == key.as_bytes() {
                return Some(value);
            }
            rest = after(value, 0)?;
        }
        None
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        let value = self.find(key).filter(|value| value.kind == kind::STRING)?;
        str::from_utf8(string(value.rest)?.0).ok()
    }

    /// An integer of any type.
    pub fn integer(&self, key: &str) -> Option<i64> {
        let value = self.find(key)?;
        integer(value.kind, value.rest)
    }

    /// A number of any type.
    pub fn number(&self, key: &str) -> Option<f64> {
        let value = self.find(key)?;
        match value.kind {
            kind::F32 => bytes(value.rest, 0).map(|b| f32::from_le_bytes(b).into()),
            kind::F64 => bytes(value.rest, 0).map(f64::from_le_bytes),
            kind => integer(kind, value.rest).map(|n| n as f64),
        }
    }

    /// A truth value.
    pub fn flag(&self, key: &str) -> Option<bool> {
        let value = self.find(key).filter(|value| value.kind == kind::BOOL)?;
        value.rest.first().map(|&byte| byte != 0)
    }

    /// An array's type of elements, their number, and the elements.
    fn array(&self, key: &str) -> Option<(u32, usize, &'a [u8])> {
        let value = self.find(key).filter(|value| value.kind == kind::ARRAY)?;
        let n = usize::try_from(u64(value.rest, 4)?).ok()?;
        Some((u32(value.rest, 0)?, n, value.rest.get(12..)?))
    }

    /// An array of integers of any type.
    pub fn integers(&self, key: &str) -> Option<Vec<i64>> {
        let (kind, n, elements) = self.array(key)?;
        let width = width(kind)?;
        let elements = elements.get(..n.checked_mul(width)?)?;
        elements.chunks_exact(width).map(|element| integer(kind, element)).collect()
    }

    /// An array of f32.
    pub fn reals(&self, key: &str) -> Option<Vec<f32>> {
        let (kind, n, elements) = self.array(key)?;
        let elements = elements.get(..n.checked_mul(4)?).filter(|_| kind == kind::F32)?;
        Some(elements.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect())
    }

    /// An array of strings: the bytes from the first on, and how many there are, as `axiom_core::text::Strings` reads them.
    pub fn strings(&self, key: &str) -> Option<(&'a [u8], usize)> {
        let (kind, n, raw) = self.array(key)?;
        (kind == kind::STRING).then_some((raw, n))
    }
}

fn integer(kind: u32, from: &[u8]) -> Option<i64> {
    match kind {
        kind::U8 => from.first().map(|&byte| byte.into()),
        kind::I8 => bytes(from, 0).map(|b| i8::from_le_bytes(b).into()),
        kind::U16 => bytes(from, 0).map(|b| u16::from_le_bytes(b).into()),
        kind::I16 => bytes(from, 0).map(|b| i16::from_le_bytes(b).into()),
        kind::U32 => u32(from, 0).map(i64::from),
        kind::I32 => bytes(from, 0).map(|b| i32::from_le_bytes(b).into()),
        kind::U64 => u64(from, 0).and_then(|n| i64::try_from(n).ok()),
        kind::I64 => bytes(from, 0).map(i64::from_le_bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use axiom_core::text::Strings;

    fn text(out: &mut Vec<u8>, text: &[u8]) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text);
    }

    fn section() -> Vec<u8> {
        let mut out = 7u64.to_le_bytes().to_vec();
        let mut pair = |key: &[u8], kind: u32, value: &[u8]| {
            text(&mut out, key);
            out.extend(kind.to_le_bytes());
            out.extend(value);
        };
        let string = |content: &[u8]| {
            let mut out = Vec::new();
            text(&mut out, content);
            out
        };
        let array = |kind: u32, n: u64, elements: &[u8]| [&kind.to_le_bytes()[..], &n.to_le_bytes(), elements].concat();
        pair(b"name", kind::STRING, &string("tête".as_bytes()));
        pair(b"count", kind::U32, &7u32.to_le_bytes());
        pair(
            b"nested",
            kind::ARRAY,
            &array(kind::ARRAY, 2, &[array(kind::U8, 3, b"abc"), array(kind::STRING, 1, &string(b"x"))].concat()),
        );
        pair(b"ids", kind::ARRAY, &array(kind::I32, 2, &[(-1i32).to_le_bytes(), 5i32.to_le_bytes()].concat()));
        pair(b"scores", kind::ARRAY, &array(kind::F32, 2, &[0.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat()));
        pair(b"tokens", kind::ARRAY, &array(kind::STRING, 3, &[string(b"a"), string(b""), string(b"bcd")].concat()));
        pair(b"flag", kind::BOOL, &[1]);
        out
    }

    #[test]
    fn values_of_every_kind() {
        let section = section();
        let metadata = Metadata::new(&section);
        assert_eq!(metadata.text("name"), Some("tête"));
        assert_eq!((metadata.integer("count"), metadata.number("count")), (Some(7), Some(7.0)));
        assert_eq!(metadata.integers("ids"), Some(alloc::vec![-1, 5]));
        assert_eq!(metadata.reals("scores"), Some(alloc::vec![0.5, -2.0]));
        assert_eq!(metadata.flag("flag"), Some(true));
        let (raw, n) = metadata.strings("tokens").unwrap();
        let tokens = Strings::read("tokens", raw, n).unwrap();
        assert!(tokens.iter().eq([&b"a"[..], b"", b"bcd"]));
        assert_eq!(metadata.text("count"), None, "of another type");
        assert_eq!(metadata.strings("ids"), None, "of another type");
        assert_eq!(metadata.integer("nothing"), None);
    }

    #[test]
    fn damage_is_absence() {
        let whole = section();
        let look = |section: &[u8]| {
            let metadata = Metadata::new(section);
            for key in ["name", "count", "nested", "ids", "scores", "tokens", "flag", "nothing"] {
                let _ = (metadata.text(key), metadata.integer(key), metadata.number(key), metadata.flag(key));
                let _ = (metadata.integers(key), metadata.reals(key));
                let _ = metadata.strings(key).map(|(raw, n)| Strings::read("k", raw, n));
            }
        };
        (0..whole.len()).for_each(|n| look(&whole[..n]));
        let mut random = Random(9);
        for _ in 0..20_000 {
            let mut damaged = whole.clone();
            for _ in 0..1 + random.below(3) {
                let at = random.below(damaged.len() as u64) as usize;
                damaged[at] = random.next() as u8;
            }
            look(&damaged);
        }
    }
}
