//! Attention tiles: every table against portable, and portable against the obvious statement of `docs/arithmetic.md`.

mod common;

use axiom_core::conformance::attention::{self, Case, key_at};
use common::*;

#[test]
fn every_number_of_positions() {
    usable_tables().into_iter().for_each(attention::every_number_of_positions);
}

#[test]
fn every_number_of_queries() {
    usable_tables().into_iter().for_each(attention::every_number_of_queries);
}

#[test]
fn every_head_size() {
    usable_tables().into_iter().for_each(attention::every_head_size);
}

#[test]
fn unseen_infinities() {
    usable_tables().into_iter().for_each(attention::unseen_infinities);
}

/// `docs/arithmetic.md`, section 5, for one query, word for word.
fn obvious(case: &Case, i: usize) -> (f32, f32, Vec<f32>) {
    let exp = |x: f32| {
        let mut out = [0f32];
        // SAFETY: one value in each array.
        unsafe { (portable().exp)([x].as_ptr(), 1, out.as_mut_ptr()) };
        out[0]
    };
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let (mut m, mut l, mut o) = (0.0, 0.0, vec![0.0; case.head_dim]);
    for (t, n_valid) in case.n_valid.iter().enumerate() {
        let n = n_valid[i] as usize;
        let mut s = vec![0f32; n];
        for (p, s) in s.iter_mut().enumerate() {
            for e in 0..case.head_dim {
                *s += case.q[i * case.stride + e] * case.k[t][key_at(p, e, case.head_dim)];
            }
        }
        let mt = s.iter().copied().reduce(larger).unwrap();
        let w: Vec<f32> = s.iter().map(|s| exp(s - mt)).collect();
        let mut partial = [0f32; 16];
        w.iter().enumerate().for_each(|(p, w)| partial[p % 16] += w);
        for half in [8, 4, 2, 1] {
            (0..half).for_each(|j| partial[j] += partial[j + half]);
        }
        let lt = partial[0];
        let mut ot = vec![0f32; case.head_dim];
        for (p, w) in w.iter().enumerate() {
            for (e, ot) in ot.iter_mut().enumerate() {
                *ot += w * case.v[t][p * case.stride + e];
            }
        }
        if t == 0 {
            (m, l, o) = (mt, lt, ot);
            continue;
        }
        let joined = larger(m, mt);
        let (a, b) = (exp(m - joined), exp(mt - joined));
        l = l * a + lt * b;
        o.iter_mut().zip(ot).for_each(|(o, ot)| *o = *o * a + ot * b);
        m = joined;
    }
    let out = o.iter().map(|o| o / l).collect();
    (m, l, out)
}

#[test]
fn portable_is_what_the_text_says() {
    let mut random = Random(14);
    for round in 0..200 {
        let head_dim = 1 + random.below(70);
        let n_query = 1 + random.below(6);
        let mut tiles = vec![vec![128; n_query]; random.below(3)];
        tiles.push((0..n_query).map(|_| 1 + random.below(128) as u32).collect());
        let case = Case::new(head_dim, tiles, [0.2, 3.0, 30.0][round % 3], &mut random);
        let [m, l, _, out] = case.run(portable(), round % 2 == 0);
        for i in 0..n_query {
            let expected = obvious(&case, i);
            assert_same(&[m[i], l[i]], &[expected.0 + 0.0, expected.1], || {
                format!("maximum and sum of round {round}, query {i}")
            });
            assert_same(&out[i * head_dim..][..head_dim], &expected.2, || {
                format!("output of round {round}, query {i}")
            });
        }
    }
}
