//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! The code is canonical: codes of one length are consecutive, in the order of their symbols. So the lengths alone say it.

/// The longest code of a symbol. Only the end of a string, which must not occur, has it to itself.
const MAX_BITS: usize = 30;

/// Bits of the code of each byte.
#[rustfmt::skip]
const BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Codes of one length.
#[derive(Clone, Copy)]
struct Codes {
    /// The first of them.
    first: u32,
    count: u32,
    /// Place of the first one's symbol in [`Code::symbols`].
    place: usize,
}

struct Code {
    by_bits: [Codes; MAX_BITS + 1],
    symbols: [u8; 256],
}

static CODE: Code = code();

/// Why a string is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a Huffman string of HPACK")]
pub struct Invalid;

/// Gives each byte of a string to `each`.
///
/// # Errors
/// [`Invalid`]: a code that does not exist, or padding that is no padding.
pub fn decode(bytes: &[u8], mut each: impl FnMut(u8)) -> Result<(), Invalid> {
    let (mut code, mut bits) = (0_u32, 0_usize);
    for byte in bytes {
        for place in (0..8).rev() {
            code = code << 1 | u32::from(byte >> place & 1);
            bits += 1;
            if let Some(symbol) = symbol(code, bits)? {
                each(symbol);
                (code, bits) = (0, 0);
            }
        }
    }
    // "A padding strictly longer than 7 bits MUST be treated as a decoding error", and it is of ones
    let is_padding = bits < 8 && code + 1 == 1 << bits;
    if is_padding { Ok(()) } else { Err(Invalid) }
}

/// The symbol of a code of that many bits, if that is a whole one.
fn symbol(code: u32, bits: usize) -> Result<Option<u8>, Invalid> {
    let codes = CODE.by_bits.get(bits).ok_or(Invalid)?;
    let Some(nth) = code.checked_sub(codes.first).filter(|nth| *nth < codes.count) else { return Ok(None) };
    let nth = usize::try_from(nth).map_err(|_| Invalid)?;
    Ok(CODE.symbols.get(codes.place + nth).copied())
}

/// Worked out by the compiler, so an index that is out of bounds does not compile.
const fn code() -> Code {
    let mut code =
        Code { by_bits: [Codes { first: 0, count: 0, place: 0 }; MAX_BITS + 1], symbols: [0; 256] };
    let (mut bits, mut next, mut place) = (1, 0_u32, 0);
    while bits <= MAX_BITS {
        next <<= 1;
        let (mut count, mut symbol) = (0, 0_u8);
        loop {
            if BITS[symbol as usize] as usize == bits {
                code.symbols[place + count as usize] = symbol;
                count += 1;
            }
            if symbol == u8::MAX {
                break;
            }
            symbol += 1;
        }
        code.by_bits[bits] = Codes { first: next, count, place };
        next += count;
        place += count as usize;
        bits += 1;
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(hex: &[u8]) -> Result<Vec<u8>, Invalid> {
        let mut text = Vec::new();
        decode(hex, |byte| text.push(byte)).map(|()| text)
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        for (bytes, text) in [
            (
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[0x64, 0x02], "302"),
            (&[], ""),
        ] {
            assert_eq!(decoded(bytes).as_deref(), Ok(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_code_that_does_not_exist_or_bad_padding_is_invalid() {
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Invalid), "the end of a string");
        assert_eq!(decoded(&[0xff]), Err(Invalid), "eight bits of padding");
        assert_eq!(decoded(&[0x00]), Err(Invalid), "zeros as padding: 0, and three bits");
        assert_eq!(decoded(&[0x07]), Ok(b"0".to_vec()));
    }
}
