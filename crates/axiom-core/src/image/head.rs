//! The head of an image, checked. Numbers are little-endian; the layout is in `docs/image.md`.

use crate::config::{ModelConfig, RopePairing, RopeScaling};
use crate::digest::digest_of_parts;
use crate::error::Error;
use crate::format::Format;
use crate::model::{EXTENT_ALIGN, ModelLayout, StoredExtent, TensorShape};
use alloc::{format, string::String, vec::Vec};

/// What an image begins with.
pub const MAGIC: &[u8; 8] = b"AXIOMIMG";
/// The version that this code reads and writes.
pub const VERSION: u32 = 1;
/// Bytes of the header; the sections come after it.
pub const HEADER: usize = 4096;
/// Where the root digest is: the last 32 bytes of the header.
pub const ROOT: usize = HEADER - 32;
/// Largest head that is read at all: vocabularies are a few MiB.
const MOST_HEAD: u64 = 1 << 30;
/// Bytes of an entry of the directory, and of the table of extents.
const TENSOR_ENTRY: usize = 48;
const EXTENT_ENTRY: usize = 48;

/// The numbers by which images and GGUF files name formats.
const FORMAT_CODES: [(u32, Format); 13] = [
    (0, Format::F32),
    (1, Format::F16),
    (2, Format::Q4_0),
    (3, Format::Q4_1),
    (6, Format::Q5_0),
    (7, Format::Q5_1),
    (8, Format::Q8_0),
    (10, Format::Q2K),
    (11, Format::Q3K),
    (12, Format::Q4K),
    (13, Format::Q5K),
    (14, Format::Q6K),
    (30, Format::BF16),
];

/// A run of bytes of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Section {
    /// Where it begins in the file.
    offset: usize,
    /// Its length.
    bytes: usize,
}

/// A head that has been checked.
pub struct Image<'a> {
    head: &'a [u8],
    /// The shape of the model.
    pub config: ModelConfig,
    /// Where tensors lie in their extents.
    pub layout: ModelLayout,
    /// Where extents lie in the file, and their digests.
    pub extents: Vec<StoredExtent>,
    metadata: Section,
}

/// Bytes of the whole head, from the first [`HEADER`] bytes of a file of `bytes_file`.
///
/// # Errors
///
/// [`Error::Image`] if they are not the header of an image of this version.
pub fn head_bytes(header: &[u8], bytes_file: u64) -> Result<usize, Error> {
    let wrong = |what, expected, got| Err(Error::Image { what, expected, got });
    if header.len() < HEADER {
        return wrong("length of the file", HEADER as u64, header.len() as u64);
    }
    if &header[..8] != MAGIC {
        return Err(Error::NotAnImage);
    }
    let version = read_u32(header, 8);
    if version > VERSION {
        return Err(Error::NewerImage { version, known: VERSION });
    }
    if version != VERSION {
        return wrong("version", u64::from(VERSION), u64::from(version));
    }
    let stated = stated_bytes(header);
    if stated != bytes_file {
        return wrong("length of the file", stated, bytes_file);
    }
    let head = read_u64(header, 24);
    if head < HEADER as u64 || head > bytes_file || head > MOST_HEAD || !head.is_multiple_of(EXTENT_ALIGN as u64) {
        return wrong("length of the head", bytes_file.min(MOST_HEAD), head);
    }
    Ok(head as usize)
}

/// The length of the file as its [`HEADER`] has it: a disk that it lies on is longer.
pub fn stated_bytes(header: &[u8]) -> u64 {
    read_u64(header, 16)
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from(read_u32(bytes, at)) | u64::from(read_u32(bytes, at + 4)) << 32
}

impl<'a> Image<'a> {
    /// Checks a head of [`head_bytes`], of a file of `bytes_file`.
    ///
    /// # Errors
    ///
    /// [`Error::Image`] for what cannot be, and what is wrong with the configuration or the tensors.
    pub fn parse(head: &'a [u8], bytes_file: u64) -> Result<Image<'a>, Error> {
        let expected = head_bytes(head, bytes_file)?;
        let wrong =
            |what, expected: usize, got: usize| Error::Image { what, expected: expected as u64, got: got as u64 };
        if head.len() != expected {
            return Err(wrong("length of the head", expected, head.len()));
        }
        if digest_of_parts(&[&head[..ROOT], &head[HEADER..]]) != head[ROOT..HEADER] {
            return Err(Error::DamagedHead);
        }
        // Below, damage is ruled out; what is checked is what a wrong writer could have written.
        let section = |at: usize, what: &'static str| -> Result<Section, Error> {
            let (offset, bytes) = (read_u64(head, at), read_u64(head, at + 8));
            match offset.checked_add(bytes) {
                Some(end) if offset >= HEADER as u64 && end <= head.len() as u64 => {
                    Ok(Section { offset: offset as usize, bytes: bytes as usize })
                }
                _ => Err(Error::Image { what, expected: head.len() as u64, got: offset }),
            }
        };
        let metadata = section(32, "place of the metadata")?;
        let directory = section(48, "place of the directory")?;
        let names = section(64, "place of the names")?;
        let table = section(80, "place of the extents")?;
        let n_tensor = read_u64(head, 96);
        if n_tensor.checked_mul(TENSOR_ENTRY as u64) != Some(directory.bytes as u64) {
            let got = (directory.bytes / TENSOR_ENTRY) as u64;
            return Err(Error::Image { what: "tensors of the directory", expected: n_tensor, got });
        }
        let config = config(head)?;
        config.check()?;
        let shapes = tensors(head, directory, names)?;
        let layout = ModelLayout::new(&config, &shapes)?;
        if table.bytes != layout.extents.len() * EXTENT_ENTRY {
            return Err(wrong("extents", layout.extents.len(), table.bytes / EXTENT_ENTRY));
        }
        let mut extents = Vec::with_capacity(layout.extents.len());
        let mut end = head.len() as u64;
        for (i, bytes) in layout.extents.iter().enumerate() {
            let at = table.offset + i * EXTENT_ENTRY;
            let (offset, stated) = (read_u64(head, at), read_u64(head, at + 8));
            if stated != *bytes as u64 {
                return Err(Error::Image { what: "length of an extent", expected: *bytes as u64, got: stated });
            }
            if !offset.is_multiple_of(EXTENT_ALIGN as u64) || offset < end || bytes_file - end < stated {
                return Err(Error::Image { what: "place of an extent", expected: end, got: offset });
            }
            end = offset.checked_add(stated).filter(|end| *end <= bytes_file).ok_or(Error::Image {
                what: "place of an extent",
                expected: bytes_file,
                got: offset,
            })?;
            let mut digest = [0; 32];
            digest.copy_from_slice(&head[at + 16..at + EXTENT_ENTRY]);
            extents.push(StoredExtent { offset, digest });
        }
        // The directory says where each tensor lies; the layout is the only place where it can.
        for placed in &layout.tensors {
            let at = directory.offset + placed.tensor * TENSOR_ENTRY;
            let stated = (u64::from(read_u32(head, at + 12)), read_u64(head, at + 32), read_u64(head, at + 40));
            let place = (placed.extent as u64, placed.offset as u64, placed.bytes as u64);
            if stated != place {
                let words = |(extent, offset, bytes)| format!("{bytes} bytes at {offset} of extent {extent}");
                let name = String::from(shapes[placed.tensor].name);
                return Err(Error::Shape { name, expected: words(place), got: words(stated) });
            }
        }
        Ok(Image { head, config, layout, extents, metadata })
    }

    /// The GGUF key-values, as the file had them: a count in 8 bytes, then the pairs.
    pub fn metadata(&self) -> &'a [u8] {
        &self.head[self.metadata.offset..self.metadata.offset + self.metadata.bytes]
    }

    /// SHA-256 of the GGUF that the image was packed from, as the packer says.
    pub fn source_sha256(&self) -> &'a [u8] {
        &self.head[104..136]
    }
}

/// The configuration, in 19 fields of 8 bytes from byte 168.
fn config(head: &[u8]) -> Result<ModelConfig, Error> {
    let field = |i: usize| read_u64(head, 168 + 8 * i);
    let real = |i: usize| f64::from_bits(field(i));
    let count = |i: usize, name: &'static str| -> Result<usize, Error> {
        usize::try_from(field(i)).map_err(|_| Error::Image { what: name, expected: 1 << 30, got: field(i) })
    };
    let choice = |i: usize, name, expected| Error::Config { name, expected, got: field(i) as f64 };
    if field(18) > 3 {
        return Err(choice(18, "flags", "bits 0 and 1 alone"));
    }
    Ok(ModelConfig {
        n_vocab: count(0, "n_vocab")?,
        n_embd: count(1, "n_embd")?,
        n_layer: count(2, "n_layer")?,
        n_ff: count(3, "n_ff")?,
        n_head: count(4, "n_head")?,
        n_head_kv: count(5, "n_head_kv")?,
        head_dim: count(6, "head_dim")?,
        rope_dim: count(7, "rope_dim")?,
        rope_base: real(8),
        rope_pairing: match field(9) {
            0 => RopePairing::Norm,
            1 => RopePairing::Neox,
            _ => return Err(choice(9, "rope_pairing", "0 (norm) or 1 (neox)")),
        },
        rope_scaling: match field(10) {
            0 => RopeScaling::None,
            1 => RopeScaling::Linear,
            2 => RopeScaling::Yarn,
            _ => return Err(choice(10, "rope_scaling", "0 (none), 1 (linear) or 2 (yarn)")),
        },
        rope_factor: real(11),
        rope_original_ctx: count(12, "rope_original_ctx")?,
        rope_attn_factor: real(13),
        rope_beta_fast: real(14),
        rope_beta_slow: real(15),
        rope_ext_factor: real(16),
        rms_eps: real(17) as f32,
        tied_output: field(18) & 1 != 0,
        qk_norm: field(18) & 2 != 0,
    })
}

/// The tensors of the directory.
fn tensors(head: &[u8], directory: Section, names: Section) -> Result<Vec<TensorShape<'_>>, Error> {
    let names = &head[names.offset..names.offset + names.bytes];
    let mut shapes = Vec::with_capacity(directory.bytes / TENSOR_ENTRY);
    for at in (directory.offset..directory.offset + directory.bytes).step_by(TENSOR_ENTRY) {
        let (start, len) = (read_u32(head, at) as usize, read_u32(head, at + 4) as usize);
        let name =
            names.get(start..start + len).and_then(|name| core::str::from_utf8(name).ok()).ok_or(Error::Image {
                what: "place of a tensor's name",
                expected: names.len() as u64,
                got: start as u64,
            })?;
        let code = read_u32(head, at + 8);
        let format = FORMAT_CODES.iter().find(|(known, _)| *known == code).map(|(_, format)| *format);
        let wrong = |expected: &str, got| Error::Shape { name: name.into(), expected: expected.into(), got };
        let format = format.ok_or_else(|| wrong("a format that is computed here", format!("format {code}")))?;
        let count = |at: usize| {
            let n = read_u64(head, at);
            if n <= 1 << 30 { Ok(n as usize) } else { Err(wrong("rows and columns up to 2^30", format!("{n}"))) }
        };
        shapes.push(TensorShape { name, format, n_row: count(at + 16)?, n_col: count(at + 24)? });
    }
    Ok(shapes)
}
