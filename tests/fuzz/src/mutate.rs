//! Small mutations of seeds, repeatable from a number: flips, cuts, doubled pieces, words that parsers fear.

/// A stream of numbers (splitmix64).
#[derive(Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which counts as 1 if it is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(self.draw() % bound).unwrap_or(0)
    }
}

/// Pieces that stand at the borders of what parsers expect.
const WORDS: &[&[u8]] = &[
    b"\0",
    b"\x1b]52;c;",
    b"\r\n",
    b"\n ",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\u0000",
    b"{{",
    b"}}",
    b"{{ ",
    b"[[[[[[[[",
    b"{\"a\":{\"a\":",
    b"-0",
    b"1e999999999",
    b"170141183460469231731687303715884105728",
    b"0.1e-400",
    b"999999999999999999999999",
    b"null",
    b"true",
    b"=",
    b"==",
    b"t=",
    b"v1=",
    b",",
    b"%00",
    b"%2e%2e",
    b"..",
    b"//",
    b"@",
    b"0x7f.1",
    b"[::ffff:127.0.0.1]",
    b"\xe2\x80\xae",
    b"\xe2\x80\x8b",
    b"\xcc\x81\xcc\x81\xcc\x81",
    b"&a",
    b"*a",
    b"<<: ",
    b"!!",
    b"|\n  ",
    b"- ",
    b"? ",
    b"'",
    b"\"",
    b"`${",
    b"=>",
    b".map(x => x",
    b"?.",
    b"??",
    b"\xc1",
    b"\xdf\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\x93\x93\x93\x93",
];

/// One mutated input: a seed changed one to eight times, at most 64 KiB long.
#[must_use]
pub fn mutated(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let empty = Vec::new();
    let mut bytes = seeds.get(numbers.below(seeds.len())).unwrap_or(&empty).clone();
    for _ in 0..=numbers.below(8) {
        let at = numbers.below(bytes.len() + 1);
        let until = at + numbers.below((bytes.len() - at + 1).min(64));
        match numbers.below(8) {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << numbers.below(8)),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = numbers.draw().to_le_bytes()[0]),
            2 => drop(bytes.drain(at..until)),
            3 => bytes.truncate(at),
            4 => {
                let piece: Vec<u8> = bytes.get(at..until).unwrap_or_default().to_vec();
                let times = 1 + numbers.below(40);
                let place = numbers.below(bytes.len() + 1);
                drop(bytes.splice(place..place, piece.iter().copied().cycle().take(piece.len() * times)));
            }
            5 => {
                let other = seeds.get(numbers.below(seeds.len())).unwrap_or(&empty);
                let from = numbers.below(other.len() + 1);
                let piece: Vec<u8> = other.iter().skip(from).take(numbers.below(200)).copied().collect();
                drop(bytes.splice(at..at, piece));
            }
            _ => {
                let word = WORDS.get(numbers.below(WORDS.len())).copied().unwrap_or_default();
                drop(bytes.splice(at..at, word.iter().copied()));
            }
        }
        bytes.truncate(64 * 1024);
    }
    bytes
}
