//! Reads header blocks.

use super::Undecodable;
use super::fields::Fields;
use super::huffman;
use super::table::Table;
use crate::limits;

/// The decoder of one connection. Every block of it must be decoded, in order, also those nobody wants.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// Where strings are put together: name and value.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            table: Table::new(limits::H2_TABLE_BYTES),
            name: Vec::new(),
            value: Vec::new(),
        }
    }
}

impl Decoder {
    /// Appends the fields of one whole block.
    ///
    /// # Errors
    /// The block is malformed; the connection must end.
    pub fn decode(&mut self, block: &[u8], fields: &mut Fields) -> Result<(), Undecodable> {
        let mut rest = Reader(block);
        let mut may_resize = true;
        while let Some(first) = rest.0.first().copied() {
            let resizes = first & 0xe0 == 0x20;
            match first {
                0x80.. => self.indexed(&mut rest, fields)?,
                0x40.. => self.literal(&mut rest, 6, true, fields)?,
                _ if resizes && may_resize => {
                    let size = rest.integer(5)?;
                    if size > limits::H2_TABLE_BYTES {
                        return Err(Undecodable);
                    }
                    self.table.resize(size);
                }
                _ if resizes => return Err(Undecodable),
                _ => self.literal(&mut rest, 4, false, fields)?,
            }
            may_resize &= resizes;
        }
        // A long field is rare: what it took is not kept for as long as the connection lives.
        for text in [&mut self.name, &mut self.value] {
            if text.capacity() > limits::H2_TABLE_BYTES {
                *text = Vec::new();
            }
        }
        Ok(())
    }

    /// Bytes of memory that it keeps beside the table.
    #[cfg(test)]
    pub const fn capacity(&self) -> usize {
        self.name.capacity() + self.value.capacity()
    }

    fn indexed(&self, rest: &mut Reader<'_>, fields: &mut Fields) -> Result<(), Undecodable> {
        let (name, value) = self.table.get(rest.integer(7)?).ok_or(Undecodable)?;
        fields.push(name, value);
        Ok(())
    }

    fn literal(
        &mut self,
        rest: &mut Reader<'_>,
        prefix: u32,
        keep: bool,
        fields: &mut Fields,
    ) -> Result<(), Undecodable> {
        self.name.clear();
        self.value.clear();
        match rest.integer(prefix)? {
            0 => rest.string(&mut self.name)?,
            index => {
                let (name, _) = self.table.get(index).ok_or(Undecodable)?;
                self.name.extend_from_slice(name);
            }
        }
        rest.string(&mut self.value)?;
        fields.push(&self.name, &self.value);
        if keep {
            self.table.insert(&self.name, &self.value);
        }
        Ok(())
    }
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, Undecodable> {
        let (first, rest) = self.0.split_first().ok_or(Undecodable)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An integer whose first bits are the low `prefix` ones of a byte (RFC 7541 §5.1). None here needs more than
    /// 28 bits behind them.
    fn integer(&mut self, prefix: u32) -> Result<usize, Undecodable> {
        let mask = (1_usize << prefix) - 1;
        let mut value = usize::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Undecodable)
    }

    /// Appends a string (§5.2).
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Undecodable> {
        let coded = self.0.first().ok_or(Undecodable)? & 0x80 != 0;
        let length = self.integer(7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Undecodable)?;
        self.0 = rest;
        if coded {
            huffman::decode(text, out)
        } else {
            out.extend_from_slice(text);
            Ok(())
        }
    }
}
