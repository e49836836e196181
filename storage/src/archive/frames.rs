//! The sealed frames of an archive, as a stream of bytes in and out.
//!
//! A frame's nonce says its number and whether it is the last, and every archive has a key of its own, so no nonce
//! is used twice and no frame can be left out, repeated or taken from another archive.

use std::io::{Read, Write};
use std::path::Path;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::ArchiveError;
use crate::seal;
use crate::vault::Vault;

const MAGIC: [u8; 12] = *b"aura backup1";
const SALT: usize = 32;
const CHECK: usize = 16;
const TAG: usize = 16;
/// Bytes of a frame, before its tag.
const FRAME: usize = 1024 * 1024;

struct Keys {
    cipher: XChaCha20Poly1305,
    check: [u8; CHECK],
}

fn keys(vault: &Vault, salt: &[u8; SALT]) -> Keys {
    let expand = Hkdf::<Sha256>::new(Some(salt), vault.archive());
    let mut key = Zeroizing::new([0; 32]);
    let mut check = [0; CHECK];
    // Both lengths are far below what HKDF can give.
    let _ = expand.expand(b"aura backup key 1", key.as_mut_slice());
    let _ = expand.expand(b"aura backup check 1", &mut check);
    let key: &[u8; 32] = &key;
    Keys { cipher: XChaCha20Poly1305::new(key.into()), check }
}

fn nonce(number: u64, last: bool) -> XNonce {
    let mut nonce = [0; 24];
    nonce.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    if let Some(end) = nonce.last_mut() {
        *end = u8::from(last);
    }
    XNonce::from(nonce)
}

/// Seals a stream.
pub(crate) struct Sealer<W: Write> {
    out: W,
    cipher: XChaCha20Poly1305,
    number: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    pub(crate) fn new(mut out: W, vault: &Vault) -> std::io::Result<Self> {
        let salt: [u8; SALT] = seal::random().map_err(std::io::Error::other)?;
        let keys = keys(vault, &salt);
        out.write_all(&MAGIC)?;
        out.write_all(&salt)?;
        out.write_all(&keys.check)?;
        Ok(Self { out, cipher: keys.cipher, number: 0, buffer: Vec::with_capacity(FRAME) })
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            // A full frame waits: only the end knows which one is the last.
            if self.buffer.len() == FRAME && !bytes.is_empty() {
                self.frame(false)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, last: bool) -> std::io::Result<()> {
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce(self.number, last), &MAGIC, self.buffer.as_mut_slice().into())
            .map_err(|_| std::io::Error::other("a frame could not be sealed"))?;
        let length = u32::try_from(self.buffer.len()).map_err(std::io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&self.buffer)?;
        self.out.write_all(&tag)?;
        self.number += 1;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the last frame.
    pub(crate) fn finish(mut self) -> std::io::Result<W> {
        self.frame(true)?;
        Ok(self.out)
    }
}

/// Opens a stream.
pub(crate) struct Opener<'a, R: Read> {
    from: R,
    path: &'a Path,
    cipher: XChaCha20Poly1305,
    number: u64,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<'a, R: Read> Opener<'a, R> {
    pub(crate) fn new(mut from: R, path: &'a Path, vault: &Vault) -> Result<Self, ArchiveError> {
        let mut front = Vec::with_capacity(MAGIC.len() + SALT + CHECK);
        let wanted = MAGIC.len() + SALT + CHECK;
        (&mut from)
            .take(u64::try_from(wanted).unwrap_or(0))
            .read_to_end(&mut front)
            .map_err(|error| ArchiveError::io("read", path, &error))?;
        let Some(rest) = front.strip_prefix(&MAGIC) else {
            return Err(ArchiveError::Foreign(path.display().to_string()));
        };
        let parts =
            rest.split_first_chunk::<SALT>().and_then(|(salt, rest)| Some((salt, rest.first_chunk::<CHECK>()?)));
        let Some((salt, check)) = parts else { return Err(ArchiveError::damaged(path, "it is cut short")) };
        let keys = keys(vault, salt);
        if keys.check != *check {
            return Err(ArchiveError::WrongKey(path.display().to_string()));
        }
        Ok(Self { from, path, cipher: keys.cipher, number: 0, buffer: Vec::new(), at: 0, ended: false })
    }

    fn cut(&self) -> ArchiveError {
        ArchiveError::damaged(self.path, "it is cut short")
    }

    fn refill(&mut self) -> Result<(), ArchiveError> {
        let broken = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => ArchiveError::damaged(self.path, "it is cut short"),
            _ => ArchiveError::io("read", self.path, &error),
        };
        let mut length = [0; 4];
        self.from.read_exact(&mut length).map_err(broken)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME {
            return Err(ArchiveError::damaged(self.path, format!("frame {} is too long", self.number)));
        }
        self.buffer.resize(length, 0);
        self.from.read_exact(&mut self.buffer).map_err(broken)?;
        let mut tag = [0; TAG];
        self.from.read_exact(&mut tag).map_err(broken)?;
        // Whether it is the last is not said in clear: what opens tells.
        let mut sealed = self.buffer.clone();
        let opened = |last: bool, bytes: &mut Vec<u8>| {
            let body = bytes.as_mut_slice().into();
            self.cipher.decrypt_inout_detached(&nonce(self.number, last), &MAGIC, body, &Tag::from(tag)).is_ok()
        };
        let mut bytes = std::mem::take(&mut self.buffer);
        let last = if opened(false, &mut bytes) {
            false
        } else if opened(true, &mut sealed) {
            bytes = sealed;
            true
        } else {
            return Err(ArchiveError::damaged(self.path, format!("frame {} was changed", self.number)));
        };
        (self.buffer, self.at, self.ended) = (bytes, 0, last);
        self.number += 1;
        Ok(())
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<(), ArchiveError> {
        let mut filled = 0;
        while filled < into.len() {
            if self.at == self.buffer.len() {
                if self.ended {
                    return Err(self.cut());
                }
                self.refill()?;
                continue;
            }
            let left = self.buffer.get(self.at..).unwrap_or_default();
            let target = into.get_mut(filled..).unwrap_or_default();
            let taken = left.len().min(target.len());
            target.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
            self.at += taken;
            filled += taken;
        }
        Ok(())
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ArchiveError> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn vec(&mut self, length: usize) -> Result<Vec<u8>, ArchiveError> {
        if length > super::ROW_MAX {
            return Err(ArchiveError::damaged(self.path, "a row is too long"));
        }
        let mut bytes = vec![0; length];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    /// The stream ends here, and so does the file.
    pub(crate) fn end(mut self) -> Result<(), ArchiveError> {
        if self.at == self.buffer.len() && !self.ended {
            self.refill()?;
        }
        let mut more = [0; 1];
        let read = self.from.read(&mut more).map_err(|error| ArchiveError::io("read", self.path, &error))?;
        if !self.ended || self.at != self.buffer.len() || read != 0 {
            return Err(ArchiveError::damaged(self.path, "it is longer than it should be"));
        }
        Ok(())
    }
}
