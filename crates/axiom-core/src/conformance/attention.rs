//! Attention tiles: a table against the portable one.

use super::inputs::*;
use crate::arithmetic::TILE_POSITIONS;
use crate::arithmetic::attention::{QUERIES, Tile};
use crate::arithmetic::half::{f16_to_f32, f32_to_f16};
use crate::kernels::Kernels;
use alloc::vec::Vec;
use alloc::{format, vec};

/// Head sizes: around a vector and the sizes of real models.
const HEAD_DIMS: [usize; 18] = [1, 2, 3, 8, 15, 16, 17, 24, 31, 32, 33, 48, 64, 65, 80, 112, 128, 160];

/// Keys and values of some tiles, in both types, laid out as the cache lays them out; and queries.
pub struct Case {
    /// Size of a head.
    pub head_dim: usize,
    /// Values from one row of queries or values to the next.
    pub stride: usize,
    /// Queries.
    pub q: Vec<f32>,
    /// For each query, the positions it sees in each tile.
    pub n_valid: Vec<Vec<u32>>,
    /// Keys of each tile.
    pub k: Vec<Vec<f32>>,
    /// Values of each tile.
    pub v: Vec<Vec<f32>>,
}

/// Index of (position, dimension) in a tile's keys: panels of 16 positions, transposed.
pub fn key_at(p: usize, e: usize, head_dim: usize) -> usize {
    (p / 16 * head_dim + e) * 16 + p % 16
}

impl Case {
    /// Positions that no query sees hold NaN: a kernel that lets one through shows it.
    pub fn new(head_dim: usize, n_valid: Vec<Vec<u32>>, spread: f32, random: &mut Random) -> Case {
        let stride = head_dim.next_multiple_of(16);
        let (n_tile, n_query) = (n_valid.len(), n_valid[0].len());
        let mut case = Case { head_dim, stride, q: vec![0.0; n_query * stride], n_valid, k: vec![], v: vec![] };
        for i in 0..n_query {
            for e in 0..head_dim {
                case.q[i * stride + e] = random.normal() * spread;
            }
        }
        for t in 0..n_tile {
            let n_seen = *case.n_valid[t].iter().max().unwrap() as usize;
            let mut k = vec![f32::NAN; 8 * head_dim * 16];
            let mut v = vec![f32::NAN; TILE_POSITIONS * stride];
            for p in 0..n_seen {
                for e in 0..stride {
                    v[p * stride + e] = 0.0;
                    if e < head_dim {
                        // Numbers that an f16 holds, so that both types of cache hold the same.
                        k[key_at(p, e, head_dim)] = f16_to_f32(f32_to_f16(random.normal()));
                        v[p * stride + e] = f16_to_f32(f32_to_f16(random.normal() * 3.0));
                    }
                }
            }
            case.k.push(k);
            case.v.push(v);
        }
        case
    }

    /// Maxima, sums, outputs and finished outputs after all tiles.
    pub fn run(&self, table: &Kernels, half: bool) -> [Vec<f32>; 4] {
        let n_query = self.n_valid[0].len();
        let (mut m, mut l) = (vec![f32::NAN; n_query], vec![f32::NAN; n_query]);
        let mut o = vec![f32::NAN; n_query * self.stride];
        let out_stride = self.head_dim + 3;
        let mut out = vec![f32::NAN; n_query * out_stride];
        let mut tile = Tile {
            head_dim: self.head_dim,
            dim_stride: self.stride,
            n_query,
            first: true,
            q: self.q.as_ptr(),
            n_valid: core::ptr::null(),
            k: core::ptr::null(),
            v: core::ptr::null(),
            m: m.as_mut_ptr(),
            l: l.as_mut_ptr(),
            o: o.as_mut_ptr(),
        };
        for t in 0..self.n_valid.len() {
            tile.first = t == 0;
            tile.n_valid = self.n_valid[t].as_ptr();
            let halves = |x: &[f32]| x.iter().map(|&x| f32_to_f16(x)).collect::<Vec<u16>>();
            let (k16, v16) = (halves(&self.k[t]), halves(&self.v[t]));
            // SAFETY: the table is usable; every array has the shape that `Tile` states.
            unsafe {
                if half {
                    (tile.k, tile.v) = (k16.as_ptr().cast(), v16.as_ptr().cast());
                    (table.attend_f16)(&tile);
                } else {
                    (tile.k, tile.v) = (self.k[t].as_ptr().cast(), self.v[t].as_ptr().cast());
                    (table.attend_f32)(&tile);
                }
            }
        }
        // SAFETY: the table is usable; `out` has n_query rows of out_stride ≥ head_dim.
        unsafe { (table.finish)(&tile, out.as_mut_ptr(), out_stride) };
        // Only the sign of a zero maximum is open; it changes no other number.
        let m = m.into_iter().map(|m| m + 0.0).collect();
        // Padding between rows belongs to nobody.
        let live =
            |x: Vec<f32>, stride: usize| x.chunks(stride).flat_map(|row| row[..self.head_dim].to_vec()).collect();
        [m, l, live(o, self.stride), live(out, out_stride)]
    }
}

fn check(table: &Kernels, case: &Case, what: &str) {
    let expected = case.run(portable(), false);
    for half in [false, true] {
        let got = case.run(table, half);
        for (name, (got, expected)) in ["m", "l", "o", "out"].into_iter().zip(got.iter().zip(&expected)) {
            assert_same(got, expected, || format!("{} attend, f16 cache {half}, {what}: {name}", table.name));
            assert!(got.iter().all(|x| x.is_finite()), "{} let an unseen position in: {what}, {name}", table.name);
        }
    }
}

/// Tiles of 1 to 128 positions.
pub fn every_number_of_positions(table: &Kernels) {
    let mut random = Random(11);
    for n in 1..=128u32 {
        // One query, then four whose views differ, one of them the smallest and one the largest.
        check(table, &Case::new(20, vec![vec![n]], 1.0, &mut random), &format!("{n} positions"));
        let mixed = vec![n, 1 + n / 2, 1, n.saturating_sub(1).max(1)];
        check(table, &Case::new(16, vec![mixed], 1.0, &mut random), &format!("{n} positions, mixed"));
    }
}

/// Up to nine queries, and numbers around those that go side by side, that share what was read, and that are taken at once;
/// with views of their own.
pub fn every_number_of_queries(table: &Kernels) {
    let mut random = Random(12);
    for n_query in (1..=9).chain([11, 12, 13, 15, 16, 17, QUERIES - 1, QUERIES, QUERIES + 1, 2 * QUERIES + 5]) {
        for round in 0..if n_query < 10 { 6 } else { 1 } {
            let views = |random: &mut Random| (0..n_query).map(|_| 1 + random.below(128) as u32).collect::<Vec<_>>();
            let tiles = vec![vec![128; n_query], vec![128; n_query], views(&mut random)];
            check(table, &Case::new(33, tiles, 0.7, &mut random), &format!("{n_query} queries, round {round}"));
        }
    }
}

/// Heads of every size, with scores from flat to steep, for few queries and for many.
pub fn every_head_size(table: &Kernels) {
    let mut random = Random(13);
    for head_dim in HEAD_DIMS {
        for (spread, n_more) in [(0.0, 0), (0.1, 0), (5.0, 14), (60.0, 0)] {
            let n = 1 + random.below(128) as u32;
            let mut views = vec![n, 1, 128 - n / 2];
            views.extend((0..n_more).map(|_| 1 + random.below(128) as u32));
            let case = Case::new(head_dim, vec![vec![128; views.len()], views], spread, &mut random);
            check(table, &case, &format!("heads of {head_dim}, spread {spread}"));
        }
    }
}

/// What a query does not see may be anything, also where others see it: with a weight of 0 an infinity would give NaN.
pub fn unseen_infinities(table: &Kernels) {
    let mut random = Random(15);
    for n_query in [2, 3, 4, 6, 8, 20] {
        // The last query alone sees the last position.
        let views = (0..n_query as u32).map(|i| 40 + i / 2 + u32::from(i == n_query as u32 - 1)).collect::<Vec<_>>();
        let last = views[n_query - 1] as usize - 1;
        let mut case = Case::new(24, vec![views], 1.0, &mut random);
        for half in [false, true] {
            let [.., expected] = case.run(table, half);
            let start = last * case.stride;
            let values = case.v[0][start..start + 24].to_vec();
            case.v[0][start..start + 24].fill(f32::INFINITY);
            let [.., got] = case.run(table, half);
            case.v[0][start..start + 24].copy_from_slice(&values);
            let n = (n_query - 1) * 24;
            assert_same(&got[..n], &expected[..n], || {
                format!(
                    "{} attend, f16 cache {half}, {n_query} queries: an infinity that only the last sees",
                    table.name
                )
            });
            assert!(got[n..].iter().all(|x| *x == f32::INFINITY), "{}: the last sees it", table.name);
        }
    }
}
