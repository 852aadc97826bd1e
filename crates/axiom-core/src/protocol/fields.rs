//! Fields of a message, read one after the other: numbers little-endian, texts behind their length.

/// A message that ends early, goes on too long, or says what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads fields in order.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// From the beginning of a payload.
    pub fn new(payload: &'a [u8]) -> Reader<'a> {
        Reader(payload)
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if there are fewer; so with all that follow.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A u8.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.bytes(1)?[0])
    }

    /// A u32.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.bytes(4)?.try_into().map(u32::from_le_bytes).map_err(|_| Malformed)
    }

    /// A u64.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.bytes(8)?.try_into().map(u64::from_le_bytes).map_err(|_| Malformed)
    }

    /// A u64 that counts or measures something here.
    pub fn count(&mut self) -> Result<usize, Malformed> {
        self.u64()?.try_into().map_err(|_| Malformed)
    }

    /// A text: its length as a u32, and as many bytes of UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        let n = self.u32()? as usize;
        str::from_utf8(self.bytes(n)?).map_err(|_| Malformed)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// That there is no more.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
