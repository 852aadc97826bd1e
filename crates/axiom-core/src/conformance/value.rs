//! Arguments and results of calls as bytes: numbers, texts and arrays, each behind its kind.

use crate::format::Format;
use crate::kernels::{CpuFeatures, Kernels};
use crate::protocol::{Malformed, Reader};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// An argument or a result. An array has the kind of its elements, by a letter of `ELEMENTS`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Integer(u64),
    Real(f32),
    Text(String),
    Array { kind: u8, shape: Vec<usize>, bytes: Vec<u8> },
}

/// Kinds of values, and of the elements of arrays with their sizes.
const INTEGER: u8 = 0;
const REAL: u8 = 1;
const TEXT: u8 = 2;
const ARRAY: u8 = 3;
const ELEMENTS: [(u8, usize); 5] = [(b'f', 4), (b'B', 1), (b'b', 1), (b'H', 2), (b'i', 4)];

/// Most dimensions of an array.
const N_DIM_MAX: usize = 4;

/// The next value.
pub fn read(reader: &mut Reader<'_>) -> Result<Value, Malformed> {
    Ok(match reader.u8()? {
        INTEGER => Value::Integer(reader.u64()?),
        REAL => Value::Real(f32::from_bits(reader.u32()?)),
        TEXT => Value::Text(reader.text()?.into()),
        ARRAY => {
            let (kind, n_dim) = (reader.u8()?, usize::from(reader.u8()?));
            let &(_, bytes_each) = ELEMENTS.iter().find(|(known, _)| *known == kind).ok_or(Malformed)?;
            if n_dim > N_DIM_MAX {
                return Err(Malformed);
            }
            let shape: Vec<usize> = (0..n_dim).map(|_| reader.u32().map(|n| n as usize)).collect::<Result<_, _>>()?;
            let n_byte = shape.iter().try_fold(bytes_each, |n, &dim| n.checked_mul(dim)).ok_or(Malformed)?;
            Value::Array { kind, shape, bytes: reader.bytes(n_byte)?.to_vec() }
        }
        _ => return Err(Malformed),
    })
}

/// Appends a value.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Integer(number) => {
            out.push(INTEGER);
            out.extend(number.to_le_bytes());
        }
        Value::Real(number) => {
            out.push(REAL);
            out.extend(number.to_bits().to_le_bytes());
        }
        Value::Text(text) => {
            out.push(TEXT);
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.as_bytes());
        }
        Value::Array { kind, shape, bytes } => {
            out.extend([ARRAY, *kind, shape.len() as u8]);
            shape.iter().for_each(|&dim| out.extend((dim as u32).to_le_bytes()));
            out.extend(bytes);
        }
    }
}

/// The arguments of a call, taken one by one.
pub struct Arguments(pub alloc::vec::IntoIter<Value>);

impl Arguments {
    fn next(&mut self) -> Result<Value, String> {
        self.0.next().ok_or_else(|| "expected more arguments".into())
    }

    pub fn integer(&mut self) -> Result<usize, String> {
        match self.next()? {
            Value::Integer(number) => usize::try_from(number).map_err(|_| "expected a smaller number".into()),
            _ => Err("expected a whole number".into()),
        }
    }

    pub fn real(&mut self) -> Result<f32, String> {
        match self.next()? {
            Value::Real(number) => Ok(number),
            _ => Err("expected a number".into()),
        }
    }

    pub fn text(&mut self) -> Result<String, String> {
        match self.next()? {
            Value::Text(text) => Ok(text),
            _ => Err("expected a text".into()),
        }
    }

    pub fn array<const N_DIM: usize>(&mut self, wanted: u8) -> Result<(Vec<u8>, [usize; N_DIM]), String> {
        match self.next()? {
            Value::Array { kind, shape, bytes } if kind == wanted => {
                let shape = shape.try_into().map_err(|_| format!("expected an array of {N_DIM} dimensions"))?;
                Ok((bytes, shape))
            }
            _ => Err(format!("expected an array of type {:?}", char::from(wanted))),
        }
    }

    pub fn reals<const N_DIM: usize>(&mut self) -> Result<(Vec<f32>, [usize; N_DIM]), String> {
        let (bytes, shape) = self.array(b'f')?;
        Ok((bytes.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect(), shape))
    }

    /// A table that this processor runs.
    pub fn table(&mut self) -> Result<&'static Kernels, String> {
        Kernels::choose(&CpuFeatures::detect(), Some(&self.text()?)).map_err(|error| error.to_string())
    }

    pub fn format(&mut self) -> Result<Format, String> {
        let name = self.text()?;
        Format::from_name(&name).ok_or_else(|| format!("no weight format is named {name:?}"))
    }
}

/// An array of f32.
pub fn reals(values: &[f32], shape: &[usize]) -> Value {
    Value::Array { kind: b'f', shape: shape.to_vec(), bytes: values.iter().flat_map(|x| x.to_le_bytes()).collect() }
}

/// An array of bytes.
pub fn bytes(values: Vec<u8>, shape: &[usize]) -> Value {
    Value::Array { kind: b'B', shape: shape.to_vec(), bytes: values }
}
