//! Calls and programs as bytes: a request names a function and brings its arguments, the answer is what it returned
//! (`docs/bare-protocol.md`, section 5).

use super::calls::{self, Expected};
use super::machines::{self, Answer, Step};
use super::value::{Arguments, Value, bytes, read, reals, write};
use crate::arithmetic::block::Block;
use crate::kernels::{CpuFeatures, Kernels};
use crate::protocol::Reader;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Most sizes that a machine is made with, and most that their product may be: what a program claims is not believed.
const N_SIZE_MAX: usize = 8;
const SIZE_MAX: usize = 1 << 16;

/// Answers a request, or says what is wrong with it. Any bytes are a request; none panics.
///
/// # Errors
///
/// What was expected instead.
pub fn answer(request: &[u8]) -> Result<Vec<u8>, String> {
    let malformed = |_| "expected the name of a function and its arguments".to_string();
    let mut reader = Reader::new(request);
    let name = reader.text().map_err(malformed)?;
    let n = reader.u32().map_err(malformed)?;
    let mut values = Vec::new();
    for _ in 0..n {
        values.push(read(&mut reader).map_err(malformed)?);
    }
    reader.end().map_err(malformed)?;
    let results = call(name, &mut Arguments(values.into_iter())).map_err(|expected| format!("{name}: {expected}"))?;
    let mut out = Vec::new();
    out.extend((results.len() as u32).to_le_bytes());
    results.iter().for_each(|value| write(value, &mut out));
    Ok(out)
}

/// The parts of blocks, as arrays: codes, scales, sums of halves, minima.
fn parts(blocks: &[Block], n_row: usize) -> Vec<Value> {
    let shape = [n_row, blocks.len() / n_row.max(1)];
    let real = |of: fn(&Block) -> f32| reals(&blocks.iter().map(of).collect::<Vec<_>>(), &shape);
    let sums = |half: usize| Value::Array {
        kind: b'i',
        shape: shape.to_vec(),
        bytes: blocks.iter().flat_map(|block| i32::from(block.s[half]).to_le_bytes()).collect(),
    };
    let codes = Value::Array {
        kind: b'b',
        shape: [shape[0], shape[1], crate::arithmetic::BLOCK].to_vec(),
        bytes: blocks.iter().flat_map(|block| block.q).map(|code| code as u8).collect(),
    };
    [codes, real(|block| block.d), sums(0), sums(1), real(|block| block.m)].into()
}

fn call(name: &str, arguments: &mut Arguments) -> Result<Vec<Value>, String> {
    let wrong = |expected: Expected| format!("expected {expected}");
    let a = arguments;
    let result = match name {
        "tables" => {
            let cpu = CpuFeatures::detect();
            let runs = |table: &&&Kernels| table.missing(&cpu).next().is_none();
            return Ok(Kernels::all().iter().filter(runs).map(|table| Value::Text(table.name.into())).collect());
        }
        "exp" => {
            let (table, (x, shape)) = (a.table()?, a.reals::<1>()?);
            reals(&calls::exp(table, &x), &shape)
        }
        "to_f16" => {
            let (table, (x, shape)) = (a.table()?, a.reals::<1>()?);
            let halves = calls::to_f16(table, &x).iter().flat_map(|half| half.to_le_bytes()).collect();
            Value::Array { kind: b'H', shape: shape.into(), bytes: halves }
        }
        "rms_norm" => {
            let (table, (x, shape), (w, [n]), eps) = (a.table()?, a.reals::<2>()?, a.reals()?, a.real()?);
            if n != shape[1] {
                return Err(wrong("as many weights as columns"));
            }
            reals(&calls::rms_norm(table, &x, &w, eps).map_err(wrong)?, &shape)
        }
        "silu_mul" => {
            let (table, (gate, shape), (up, [_])) = (a.table()?, a.reals::<1>()?, a.reals()?);
            reals(&calls::silu_mul(table, &gate, &up).map_err(wrong)?, &shape)
        }
        "rope" => {
            let (table, (x, shape)) = (a.table()?, a.reals::<3>()?);
            let ((cos, cos_shape), (sin, sin_shape), pairing) = (a.reals::<2>()?, a.reals::<2>()?, a.text()?);
            if cos_shape != sin_shape || cos_shape[0] != shape[0] {
                return Err(wrong("cos and sin of every token"));
            }
            reals(&calls::rope(table, &x, shape, &cos, &sin, &pairing).map_err(wrong)?, &shape)
        }
        "quantize" => {
            let (table, (x, shape)) = (a.table()?, a.reals::<2>()?);
            return Ok(parts(&calls::quantize(table, &x, shape).map_err(wrong)?, shape[0]));
        }
        "pack" => {
            let (format, (rows, [_, _]), cols) = (a.format()?, a.array(b'B')?, a.integer()?);
            let panels = calls::pack(format, &rows, cols).map_err(wrong)?;
            let shape = [panels.len()];
            bytes(panels, &shape)
        }
        "unpack" => {
            let (format, (panels, [_]), n_rows, cols) = (a.format()?, a.array(b'B')?, a.integer()?, a.integer()?);
            let rows = calls::unpack(format, &panels, n_rows, cols).map_err(wrong)?;
            let shape = [n_rows, rows.len() / n_rows.max(1)];
            bytes(rows, &shape)
        }
        "dequantize" => {
            let (format, (rows, [_, _]), cols) = (a.format()?, a.array(b'B')?, a.integer()?);
            let values = calls::dequantize(format, &rows, cols).map_err(wrong)?;
            reals(&values, &[values.len() / cols.max(1), cols])
        }
        "matmul" => {
            let (table, format, (rows, [_, _])) = (a.table()?, a.format()?, a.array(b'B')?);
            let (cols, (x, [n_tokens, n])) = (a.integer()?, a.reals()?);
            if n != cols {
                return Err(wrong("vectors as long as the rows"));
            }
            let out = calls::matmul(table, format, &rows, cols, &x).map_err(wrong)?;
            reals(&out, &[n_tokens, out.len() / n_tokens.max(1)])
        }
        "attention" => {
            let (table, (q, shape), first_pos) = (a.table()?, a.reals::<3>()?, a.integer()?);
            let ((k, kv_shape), (v, _), kv) = (a.reals::<3>()?, a.reals::<3>()?, a.text()?);
            let out = calls::attention(table, &q, shape, first_pos, &k, &v, kv_shape, &kv).map_err(wrong)?;
            reals(&out, &shape)
        }
        _ => return Ok(answers(run_program(name, a)?)),
    };
    Ok([result].into())
}

/// Runs the program that is the last argument, a request and two numbers on each line, on a machine of sizes that come before.
fn run_program(name: &str, a: &mut Arguments) -> Result<Vec<Answer>, String> {
    let n_size = a.integer()?;
    let sizes: Vec<usize> = (0..n_size.min(N_SIZE_MAX)).map(|_| a.integer()).collect::<Result<_, _>>()?;
    if sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size.max(1))).is_none_or(|n| n > SIZE_MAX) {
        return Err(format!("expected sizes whose product is at most {SIZE_MAX}"));
    }
    let text = a.text()?;
    let program: Vec<Step<'_>> =
        text.lines().map(step).collect::<Option<_>>().ok_or("expected a request and two numbers on each line")?;
    machines::run(name, &sizes, &program)
}

fn step(line: &str) -> Option<Step<'_>> {
    let mut words = line.split(' ');
    Some((words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn answers(answers: Vec<Answer>) -> Vec<Value> {
    answers.into_iter().flat_map(|(answer, state)| [Value::Text(answer), Value::Text(state)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::inputs::Random;

    fn request(name: &str, values: &[Value]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend((name.len() as u32).to_le_bytes());
        out.extend(name.as_bytes());
        out.extend((values.len() as u32).to_le_bytes());
        values.iter().for_each(|value| write(value, &mut out));
        out
    }

    fn requests() -> Vec<Vec<u8>> {
        let text = |text: &str| Value::Text(text.into());
        let (x, rows) = (reals(&[0.5; 64], &[2, 32]), bytes([1; 36].into(), &[2, 18]));
        [
            request("tables", &[]),
            request("exp", &[text("portable"), reals(&[1.0, 2.0], &[2])]),
            request("quantize", &[text("portable"), x.clone()]),
            request("matmul", &[text("portable"), text("Q4_0"), rows, Value::Integer(32), x]),
            request("weight_pool", &[Value::Integer(1), Value::Integer(2), text("start 0 5\nfinish 0 0\nslot_of 0 5")]),
            request(
                "kv_cache_pool",
                &[
                    Value::Integer(2),
                    Value::Integer(200),
                    Value::Integer(2),
                    text("open 0 0\nappend 0 130\nfork 0 0\nappend 1 3"),
                ],
            ),
        ]
        .into()
    }

    #[test]
    fn calls_are_answered() {
        let answered: Vec<Vec<u8>> = requests().iter().map(|request| answer(request).unwrap()).collect();
        assert_eq!(answered[4], {
            let texts = ["done", "Streaming 5, Unloaded", "done", "Resident 5, Unloaded", "0", "Resident 5, Unloaded"];
            let mut out = 6u32.to_le_bytes().to_vec();
            texts.iter().for_each(|text| write(&Value::Text((*text).into()), &mut out));
            out
        });
        let error = answer(&request("exp", &[Value::Integer(1)])).unwrap_err();
        assert_eq!(error, "exp: expected a text");
        assert_eq!(answer(&request("nothing", &[])).unwrap_err(), "nothing: expected more arguments");
    }

    #[test]
    fn any_bytes_are_a_request() {
        let (requests, mut random) = (requests(), Random(6));
        for request in &requests {
            (0..request.len()).for_each(|n| assert!(answer(&request[..n]).is_err()));
        }
        for _ in 0..20_000 {
            let mut damaged = requests[random.below(requests.len())].clone();
            for _ in 0..1 + random.below(3) {
                let at = random.below(damaged.len());
                damaged[at] = random.next() as u8;
            }
            let _ = answer(&damaged);
        }
    }
}
