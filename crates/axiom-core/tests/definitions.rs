//! The portable table against `docs/arithmetic.md`, stated again in the most obvious way. What the other tables must equal
//! is thereby what the text says.

mod common;
mod obvious;

use axiom_core::arithmetic::half::{bf16_to_f32, f16_to_f32, f32_to_f16};
use axiom_core::arithmetic::portable::sqrt_f32;
use axiom_core::arithmetic::{BLOCK, CONTRACT};
use axiom_core::format::Format;
use axiom_core::kernels::Kernels;
use common::*;

#[test]
fn the_text_is_of_this_contract() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/arithmetic.md")).unwrap();
    assert!(text.contains(&format!("`{CONTRACT}`")), "docs/arithmetic.md does not define {CONTRACT}");
}

/// Section 2.
fn exp(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    if x < -87.0 {
        return 0.0;
    }
    if x > 88.0 {
        return f32::INFINITY;
    }
    let n = (x * f32::from_bits(0x3FB8_AA3B)).round_ties_even();
    let r = x - n * f32::from_bits(0x3F31_8000);
    let r = r - n * f32::from_bits(0xB95E_8083);
    let mut p = f32::from_bits(0x3950_6967);
    p = p * r + f32::from_bits(0x3AB7_43CE);
    p = p * r + f32::from_bits(0x3C08_8908);
    p = p * r + f32::from_bits(0x3D2A_A9C1);
    p = p * r + f32::from_bits(0x3E2A_AAAA);
    p = p * r + f32::from_bits(0x3F00_0000);
    let y = p * (r * r) + r;
    let y = y + 1.0;
    f32::from_bits(y.to_bits().wrapping_add((n as i32 as u32) << 23))
}

fn check_exp(tables: &[&Kernels], x: &[f32]) {
    let mut out = vec![0f32; x.len()];
    for table in tables {
        // SAFETY: the table is usable; both arrays have as many values.
        unsafe { (table.exp)(x.as_ptr(), x.len(), out.as_mut_ptr()) };
        for (&x, &got) in x.iter().zip(&out) {
            assert!(
                same(got, exp(x)),
                "{} exp({x:e} = {:#010x}) is {got:e}, expected {:e}",
                table.name,
                x.to_bits(),
                exp(x)
            );
            let (exact, got) = (f64::from(x).exp(), f64::from(got));
            assert!(
                !(-87.0..=88.0).contains(&x) || (got / exact - 1.0).abs() < 2e-7,
                "exp({x}) is {got}, really {exact}"
            );
        }
    }
}

#[test]
fn exp_of_all_magnitudes() {
    // A prime stride through all 2^32 patterns, in pieces; then every pattern around the places where something changes.
    let tables = usable_tables();
    let all: Vec<u32> = (0..u64::from(u32::MAX)).step_by(4093).map(|bits| bits as u32).collect();
    for piece in all.chunks(1 << 16) {
        check_exp(&tables, &piece.iter().map(|&bits| f32::from_bits(bits)).collect::<Vec<_>>());
    }
    for place in SPECIAL.into_iter().chain([f32::INFINITY, f32::NEG_INFINITY, 0.346_573_6, 1.0397207, 87.99999]) {
        let bits = place.to_bits();
        check_exp(
            &tables,
            &(0..2001u32).map(|i| f32::from_bits(bits.wrapping_add(i).wrapping_sub(1000))).collect::<Vec<_>>(),
        );
    }
    assert_eq!((exp(0.0), exp(-0.0)), (1.0, 1.0));
}

#[test]
fn square_root() {
    let check = |bits: u32| {
        let x = f32::from_bits(bits);
        assert!(same(sqrt_f32(x), x.sqrt()), "sqrt({x:e}, {bits:#010x}) is {:e}, expected {:e}", sqrt_f32(x), x.sqrt());
    };
    (0..u64::from(u32::MAX)).step_by(2003).for_each(|bits| check(bits as u32));
    // Whole binades: one odd and one even exponent, the last subnormals and the first normals.
    (0x3F80_0000..0x4080_0000).step_by(37).for_each(check);
    (0x007F_0000..0x0081_0000).for_each(check);
    (0..0x1_0000).for_each(check);
    (0..32).for_each(|bit| (0..200u32).for_each(|i| check((1u32 << bit).wrapping_sub(100).wrapping_add(i))));
    // Squares and their neighbours, where the rest is as close to zero as it gets.
    for root in (0x80_0000..0x100_0000u32).step_by(97) {
        let square = (root as f32) * (root as f32);
        (0..3).for_each(|i| check(square.to_bits() - 1 + i));
    }
}

/// IEEE 754 binary16, read with arithmetic alone.
fn f16_value(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3FF));
    match exponent {
        0 => sign * mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1.0 + mantissa / 1024.0) * 2f64.powi(exponent - 15),
    }
}

#[test]
fn halves_to_floats() {
    for bits in 0..=u16::MAX {
        let (got, expected) = (f16_to_f32(bits), f16_value(bits));
        assert!(
            got.is_nan() && expected.is_nan() || f64::from(got) == expected,
            "f16 {bits:#06x} is {got:e}, expected {expected:e}"
        );
        assert_eq!(got.is_sign_negative(), bits >> 15 == 1, "sign of f16 {bits:#06x}");
        let back = f32_to_f16(got);
        assert!(back == bits || got.is_nan() && back & 0x7FFF > 0x7C00, "f16 {bits:#06x} comes back as {back:#06x}");
        assert_eq!(bf16_to_f32(bits).to_bits(), u32::from(bits) << 16);
    }
}

#[test]
fn floats_to_halves() {
    let tables = usable_tables();
    let check = |x: f32, expected: u16| {
        for table in &tables {
            let mut got = [0u16];
            // SAFETY: the table is usable; one value in each array.
            unsafe { (table.to_f16)([x].as_ptr(), 1, got.as_mut_ptr()) };
            assert_eq!(got[0], expected, "{} f16({x:e} = {:#010x})", table.name, x.to_bits());
        }
        assert_eq!(f32_to_f16(x), expected, "f16({x:e} = {:#010x})", x.to_bits());
    };
    for low in 0..0x7C00u16 {
        // Between a number and the next the middle goes to the even one; infinity stands where 65536 would.
        let (below, above) = (f16_value(low), if low == 0x7BFF { 65536.0 } else { f16_value(low + 1) });
        let middle = ((below + above) / 2.0) as f32; // exact: one bit more than f16 has
        let even = if low % 2 == 0 { low } else { low + 1 };
        for sign in [0u16, 0x8000] {
            let signed = |x: f32| if sign == 0 { x } else { -x };
            check(signed(middle), even | sign);
            check(signed(f32::from_bits(middle.to_bits() - 1)), low | sign);
            check(signed(f32::from_bits(middle.to_bits() + 1)), (low + 1) | sign);
        }
    }
    check(f32::MAX, 0x7C00);
    check(f32::NEG_INFINITY, 0xFC00);
    check(1e-45, 0);
    check(-1e-45, 0x8000);
}

#[test]
fn norm_gate_and_sum() {
    let mut random = Random(31);
    for n in 1..200 {
        let x: Vec<f32> = (0..n).map(|_| random.normal() * 10.0).collect();
        let w: Vec<f32> = (0..n).map(|_| random.normal()).collect();
        let squares: Vec<f32> = x.iter().map(|x| x * x).collect();
        let r = 1.0 / (obvious::sum16(&squares) / n as f32 + 1e-5).sqrt();
        let norm: Vec<f32> = x.iter().zip(&w).map(|(x, w)| (x * r) * w).collect();
        let gate: Vec<f32> = x.iter().zip(&w).map(|(x, w)| x / (1.0 + exp(-x)) * w).collect();
        let (mut got_norm, mut got_gate) = (vec![0f32; n], vec![0f32; n]);
        // SAFETY: every array has n values.
        unsafe {
            (portable().rms_norm)(x.as_ptr(), w.as_ptr(), n, 1e-5, got_norm.as_mut_ptr());
            (portable().silu_mul)(x.as_ptr(), w.as_ptr(), n, got_gate.as_mut_ptr());
        }
        assert_same(&got_norm, &norm, || format!("rms_norm of {n} values"));
        assert_same(&got_gate, &gate, || format!("silu_mul of {n} values"));
    }
}

#[test]
fn rope_turns_pairs() {
    let mut random = Random(32);
    let n_pair = 13;
    let x: Vec<f32> = (0..2 * n_pair).map(|_| random.normal()).collect();
    let angles: Vec<[f32; 2]> = (0..n_pair).map(|_| [random.normal(), random.normal()]).collect();
    let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|&[c, s]| (c, s)).unzip();
    for adjacent in [true, false] {
        let mut expected = x.clone();
        for i in 0..n_pair {
            let (a, b) = if adjacent { (2 * i, 2 * i + 1) } else { (i, i + n_pair) };
            expected[a] = x[a] * cos[i] - x[b] * sin[i];
            expected[b] = x[a] * sin[i] + x[b] * cos[i];
        }
        let mut head = x.clone();
        // SAFETY: the arrays hold n_pair pairs.
        unsafe { (portable().rope)(head.as_mut_ptr(), cos.as_ptr(), sin.as_ptr(), n_pair, adjacent) };
        assert_same(&head, &expected, || format!("rope, adjacent {adjacent}"));
    }
}

#[test]
fn quantization() {
    let mut random = Random(33);
    for round in 0..2000 {
        let x = match round % 5 {
            4 => (0..BLOCK).map(|_| random.finite()).collect(),
            kind => activations(X_KINDS[kind], BLOCK, &mut random),
        };
        let (expected, got) = (obvious::quantize(&x), Owned::new(portable(), &x, 1, BLOCK).block(0, 0));
        assert_eq!((got.q, got.s), (expected.q, expected.s), "round {round}: {x:?}");
        assert_same(&[got.d, got.m], &[expected.d, expected.m], || format!("round {round}: {x:?}"));
    }
}

#[test]
fn products_of_every_format() {
    let mut random = Random(34);
    for format in Format::ALL {
        for round in 0..60 {
            let n_col = if format.is_quantized() {
                format.columns_per_block() * (1 + random.below(9))
            } else {
                1 + random.below(300)
            };
            let n_row = 1 + random.below(35);
            let n_token = 1 + random.below(4);
            let rows = weights(W_KINDS[round % W_KINDS.len()], format, n_row, n_col, &mut random);
            let x = activations(X_KINDS[round % X_KINDS.len()], n_token * n_col, &mut random);
            let panels = panels(format, &rows, n_row, n_col);
            let got = product(portable(), format, &panels, n_col, &mut Owned::new(portable(), &x, n_token, n_col));
            let stride = n_row.next_multiple_of(16);
            for (t, x) in x.chunks_exact(n_col).enumerate() {
                for (row, bytes) in rows.chunks_exact(rows.len() / n_row).enumerate() {
                    assert_same(&got[t * stride + row..][..1], &[obvious::dot(format, bytes, x)], || {
                        format!("{} row {row} of {n_row} × {n_col}, token {t}, round {round}", format.name())
                    });
                }
                assert!(
                    got[t * stride + n_row..(t + 1) * stride].iter().all(|&x| x == 0.0 || x.is_nan()),
                    "padding rows are zero"
                );
            }
        }
    }
}
