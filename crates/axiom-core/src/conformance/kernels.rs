//! Every entry and every format of a table against the portable one, `==` on bits, around every size at which the code takes
//! another path, with numbers that make saturation, swapped blocks and wrong tails visible.

use super::inputs::*;
use crate::arithmetic::BLOCK;
use crate::arithmetic::float64::exp;
use crate::format::Format;
use crate::kernels::Kernels;
use alloc::vec::Vec;
use alloc::{format, vec};

/// Vector lengths: empty, around a quarter, a half and a whole vector of 16, and odd ones beyond.
const LENGTHS: [usize; 20] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 64, 101, 256, 1009];

fn vectors(n: usize, random: &mut Random) -> Vec<Vec<f32>> {
    vec![
        (0..n).map(|_| random.normal()).collect(),
        (0..n).map(|_| random.normal() * 40.0).collect(),
        (0..n).map(|_| random.finite()).collect(),
        (0..n).map(|_| SPECIAL[random.below(SPECIAL.len())]).collect(),
        vec![0.0; n],
        vec![-0.0; n],
    ]
}

/// Sums, products, gates, exponentials and halves, of every length.
pub fn elementwise_kernels(table: &Kernels) {
    let mut random = Random(1);
    for n in LENGTHS {
        for x in vectors(n, &mut random) {
            for y in vectors(n, &mut random) {
                let run = |table: &Kernels| {
                    let mut added = x.clone();
                    let mut scaled = x.clone();
                    let (mut gated, mut in_place, mut e) = (vec![7.0; n], x.clone(), vec![7.0; n]);
                    let mut half = vec![7u16; n];
                    // SAFETY: the table is usable; every array has n values.
                    unsafe {
                        (table.add)(added.as_mut_ptr(), y.as_ptr(), n);
                        (table.scale)(scaled.as_mut_ptr(), y.first().copied().unwrap_or(3.0), n);
                        (table.silu_mul)(x.as_ptr(), y.as_ptr(), n, gated.as_mut_ptr());
                        (table.silu_mul)(in_place.as_ptr(), y.as_ptr(), n, in_place.as_mut_ptr());
                        (table.exp)(x.as_ptr(), n, e.as_mut_ptr());
                        (table.to_f16)(x.as_ptr(), n, half.as_mut_ptr());
                    }
                    assert_same(&in_place, &gated, || format!("{} silu_mul in place, {n} values", table.name));
                    ([("add", added), ("scale", scaled), ("silu_mul", gated), ("exp", e)], half)
                };
                let ((got, got_half), (expected, expected_half)) = (run(table), run(portable()));
                for ((name, got), (_, expected)) in got.iter().zip(&expected) {
                    assert_same(got, expected, || format!("{} {name} of {n} values", table.name));
                }
                for ((&x, got), expected) in x.iter().zip(got_half).zip(expected_half) {
                    let is_same = same_half(x, got, expected);
                    assert!(is_same, "{} to_f16 of {x:e}: {got:#06x}, expected {expected:#06x}", table.name);
                }
            }
        }
    }
}

/// What logits weigh, in binary64, of every length: each as by itself, also in place, and nothing past the end.
pub fn weigh(table: &Kernels) {
    let mut random = Random(6);
    for n in LENGTHS {
        for x in vectors(n, &mut random) {
            let x: Vec<f64> = x.iter().map(|&x| f64::from(x) * 10.0).chain([7.0]).collect();
            for (max, temperature) in [(0.0, 1.0), (2.5, 0.3), (-1.0, 1e-3), (700.0, 40.0)] {
                let (mut out, mut in_place) = (vec![7.0; n + 1], x.clone());
                // SAFETY: the table is usable; every array has n values, and one more that must stay.
                unsafe {
                    (table.weigh)(x.as_ptr(), n, max, temperature, out.as_mut_ptr());
                    (table.weigh)(in_place.as_ptr(), n, max, temperature, in_place.as_mut_ptr());
                }
                let expected = x[..n].iter().map(|x| exp((x - max) / temperature)).chain([7.0]);
                for (i, expected) in expected.enumerate() {
                    for got in [out[i], in_place[i]] {
                        let is_same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
                        assert!(is_same, "{} weigh, value {i} of {n}: {got:e}, expected {expected:e}", table.name);
                    }
                }
            }
        }
    }
}

/// Nothing is written past the end.
pub fn kernels_stay_within_their_arrays(table: &Kernels) {
    for n in LENGTHS {
        let x = vec![1.0f32; n + 1];
        let mut out = vec![7.0f32; n + 1];
        let mut half = vec![7u16; n + 1];
        // SAFETY: the table is usable; every array has n values, and one more that must stay.
        unsafe {
            (table.rms_norm)(x.as_ptr(), x.as_ptr(), n, 1e-5, out.as_mut_ptr());
            (table.silu_mul)(x.as_ptr(), x.as_ptr(), n, out.as_mut_ptr());
            (table.exp)(x.as_ptr(), n, out.as_mut_ptr());
            (table.add)(out.as_mut_ptr(), x.as_ptr(), n);
            (table.scale)(out.as_mut_ptr(), 2.0, n);
            (table.to_f16)(x.as_ptr(), n, half.as_mut_ptr());
        }
        assert_eq!((out[n], half[n]), (7.0, 7), "{} wrote past {n} values", table.name);
    }
}

/// Norms of every length.
pub fn rms_norm(table: &Kernels) {
    let mut random = Random(2);
    for n in LENGTHS.into_iter().filter(|&n| n > 0) {
        for x in vectors(n, &mut random) {
            let w: Vec<f32> = (0..n).map(|_| random.normal()).collect();
            for eps in [1e-5, 1e-6, 0.0] {
                let run = |table: &Kernels| {
                    let mut out = x.clone();
                    // SAFETY: the table is usable; every array has n values.
                    unsafe { (table.rms_norm)(out.as_ptr(), w.as_ptr(), n, eps, out.as_mut_ptr()) };
                    out
                };
                assert_same(&run(table), &run(portable()), || format!("{} rms_norm of {n} values", table.name));
            }
        }
    }
}

/// Rotations of every number of pairs.
pub fn rope(table: &Kernels) {
    let mut random = Random(3);
    for n_pair in [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 32, 33, 40, 64, 80] {
        for adjacent in [true, false] {
            for x in vectors(2 * n_pair + 1, &mut random) {
                let cos: Vec<f32> = (0..n_pair).map(|_| random.normal()).collect();
                let sin: Vec<f32> = (0..n_pair).map(|_| random.normal()).collect();
                let run = |table: &Kernels| {
                    let mut head = x.clone();
                    // SAFETY: the table is usable; the arrays hold n_pair pairs.
                    unsafe { (table.rope)(head.as_mut_ptr(), cos.as_ptr(), sin.as_ptr(), n_pair, adjacent) };
                    head
                };
                assert_same(&run(table), &run(portable()), || format!("{} rope of {n_pair} pairs", table.name));
                assert!(same(run(table)[2 * n_pair], x[2 * n_pair]), "{} rope wrote past its pairs", table.name);
            }
        }
    }
}

/// Blocks of every kind, at every place.
pub fn quantize(table: &Kernels) {
    let mut random = Random(4);
    let check = |x: &[f32], what: &str| {
        let (mut got, mut expected) = (Owned::new(table, x, 1, x.len()), Owned::new(portable(), x, 1, x.len()));
        for b in 0..got.n_block {
            let (got, expected) = (got.block(0, b), expected.block(0, b));
            let what = || format!("{} quantize of {what}, block {b} of {x:?}", table.name);
            assert_eq!((got.q, got.s), (expected.q, expected.s), "{}", what());
            assert_same(&[got.d, got.m], &[expected.d, expected.m], what);
        }
    };
    for round in 0..300 {
        for kind in X_KINDS {
            check(&activations(kind, 1 + random.below(9 * BLOCK), &mut random), &format!("{kind:?} {round}"));
        }
        let any: Vec<f32> = (0..BLOCK).map(|_| random.finite()).collect();
        check(&any, "any exponents");
    }
    for x in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, f32::MAX, 7.888_609e-31, 7.888_608e-31, 1e-45] {
        for at in 0..BLOCK {
            let mut block = [1e-40f32; BLOCK];
            block[at] = x;
            check(&block, &format!("{x:e} at {at}"));
        }
    }
}

/// Columns: every count of blocks up to 40 for formats of 32, so that chunks of 8 end at every place; a few for those of 256.
fn column_counts(format: Format) -> Vec<usize> {
    match format.columns_per_block() {
        256 => vec![256, 512, 768, 1280],
        32 => (1..=40).map(|n_block| 32 * n_block).collect(),
        _ => vec![1, 2, 31, 32, 33, 63, 64, 65, 100, 257, 1000],
    }
}

/// A matrix and activations for every table: the weights once, the activations in each table's own layout.
struct Product {
    format: Format,
    n_col: usize,
    panels: Vec<u8>,
    x: Vec<f32>,
}

impl Product {
    fn new(
        format: Format,
        (n_row, n_col): (usize, usize),
        w: W,
        kind: X,
        n_token: usize,
        random: &mut Random,
    ) -> Product {
        let rows = weights(w, format, n_row, n_col, random);
        let panels = panels(format, &rows, n_row, n_col);
        Product { format, n_col, panels, x: activations(kind, n_token * n_col, random) }
    }

    /// Activations that the table quantised, for the first `n_token` rows.
    fn owned(&self, table: &Kernels, n_token: usize) -> Owned {
        Owned::new(table, &self.x[..n_token * self.n_col], n_token, self.n_col)
    }

    fn run(&self, table: &Kernels, n_token: usize) -> Vec<f32> {
        product(table, self.format, &self.panels, self.n_col, &mut self.owned(table, n_token))
    }
}

/// Every format with every number of columns.
pub fn multiply_every_width(table: &Kernels) {
    let mut random = Random(5);
    for format in Format::ALL {
        for n_col in column_counts(format) {
            for w in W_KINDS {
                for kind in X_KINDS {
                    let n_token = 1 + random.below(3);
                    let product = Product::new(format, (48, n_col), w, kind, n_token, &mut random);
                    assert_same(&product.run(table, n_token), &product.run(portable(), n_token), || {
                        format!("{} {} {w:?} by {kind:?}: {n_col} columns, {n_token} tokens", table.name, format.name())
                    });
                }
            }
        }
    }
}

/// Every format with up to 65 rows of activations.
pub fn multiply_every_batch(table: &Kernels) {
    let mut random = Random(6);
    for format in Format::ALL {
        let n_col = if format.is_quantized() { 512 + 256 } else { 70 };
        let product = Product::new(format, (21, n_col), W::Random, X::Normal, 65, &mut random);
        let expected = product.run(portable(), 65);
        for n_token in 1..=65 {
            assert_same(&product.run(table, n_token), &expected[..n_token * 32], || {
                format!("{} multiply {} with {n_token} tokens", table.name, format.name())
            });
        }
    }
}

/// A thread takes some tiles of the batch: its output is theirs alone, and the tiles are where `Activations::tile` says.
pub fn multiply_every_share_of_a_batch(table: &Kernels) {
    let mut random = Random(7);
    for format in Format::ALL {
        let product = Product::new(format, (32, 256), W::Random, X::Normal, 65, &mut random);
        let expected = product.run(portable(), 65);
        for n_token in [1, 2, 3, 5, 7, 8, 15, 16, 17, 23, 31, 33, 40, 65] {
            let mut x = product.owned(table, n_token);
            let mut boundaries = vec![0];
            while *boundaries.last().unwrap() < n_token {
                let (first, n) = x.activations().tile(*boundaries.last().unwrap());
                assert_eq!(first, *boundaries.last().unwrap(), "{} tiles of {n_token}", table.name);
                assert!((first..first + n).all(|row| x.activations().tile(row) == (first, n)));
                boundaries.push(first + n);
            }
            assert_eq!(boundaries.last(), Some(&n_token));
            for (i, &start) in boundaries.iter().enumerate() {
                for &end in &boundaries[i..] {
                    let got = product_of_rows(table, format, &product.panels, 256, &mut x, (start, end));
                    assert_same(&got, &expected[32 * start..32 * end], || {
                        format!("{} multiply {} tokens {start} … {end} of {n_token}", table.name, format.name())
                    });
                }
            }
        }
    }
}
