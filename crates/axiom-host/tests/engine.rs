//! Invariance of the engine, bit by bit: tables, threads, batches, chunks, forks, saved state.

mod common;

use axiom_core::config::RopePairing;
use axiom_core::error::Error;
use axiom_core::format::Format;
use axiom_core::memory::KVFormat;
use axiom_core::runtime::{Append, Options};
use common::LogitRows::{self, All, Last};
use common::{Model, appends, config, load, load_for, tensors, usable};

fn prompt(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 31 + 7) % 83).collect()
}

fn forward(model: &mut Model, batch: &[(usize, &[u32])], rows: LogitRows) -> Vec<u32> {
    let batch = appends(batch, rows);
    let n_row: usize = batch.iter().map(|append| append.n_logit).sum();
    let mut out = vec![0f32; n_row * model.engine.config().n_vocab];
    model.engine.forward(&batch, &mut out, &|_| false).unwrap();
    assert!(out.iter().any(|x| *x != out[0]) || out.is_empty(), "logits without spread test nothing");
    out.iter().map(|x| x.to_bits()).collect()
}

fn all_logits(model: &mut Model, tokens: &[u32]) -> Vec<u32> {
    let seq = model.engine.sequences().open().unwrap();
    let bits = forward(model, &[(seq, tokens)], All);
    model.engine.sequences().close(seq).unwrap();
    bits
}

#[test]
fn tables_and_threads_agree() {
    for format in Format::ALL {
        let tensors = tensors(&config(), format, 1);
        let expected = all_logits(&mut load(&config(), &tensors, "portable", 1, KVFormat::F16), &prompt(41));
        for kernels in usable() {
            for threads in [1, 2, 3] {
                let got = all_logits(&mut load(&config(), &tensors, kernels, threads, KVFormat::F16), &prompt(41));
                assert!(got == expected, "{} on {kernels} with {threads} threads", format.name());
            }
        }
    }
}

#[test]
fn chunks_agree_with_the_whole_prompt() {
    let mut config = config();
    config.rope_pairing = RopePairing::Neox;
    config.qk_norm = true;
    config.tied_output = true;
    let tensors = tensors(&config, Format::Q4_0, 2);
    for kv in [KVFormat::F16, KVFormat::F32] {
        let mut model = load(&config, &tensors, usable()[0], 2, kv);
        let tokens = prompt(600);
        let whole = all_logits(&mut model, &tokens);
        for size in [1, 7, 127, 128, 129, 255, 256, 257, 599] {
            let seq = model.engine.sequences().open().unwrap();
            let mut pieces = Vec::new();
            for chunk in tokens.chunks(size) {
                pieces.extend(forward(&mut model, &[(seq, chunk)], All));
            }
            model.engine.sequences().close(seq).unwrap();
            assert!(pieces == whole, "chunks of {size}");
        }
    }
}

#[test]
fn passes_of_any_length_agree() {
    let tensors = tensors(&config(), Format::Q4_1, 7);
    let tokens = prompt(600);
    let expected = all_logits(&mut load(&config(), &tensors, usable()[0], 2, KVFormat::F16), &tokens);
    for rows_per_pass in [1, 16, 255, 257, 300, 512, 600, 1024] {
        let options = Options { n_ctx: 700, n_seq_max: 3, rows_per_pass, kv: KVFormat::F16 };
        let mut model = load_for(&config(), &tensors, usable()[0], 2, options);
        let (a, b) = (model.engine.sequences().open().unwrap(), model.engine.sequences().open().unwrap());
        let bits = forward(&mut model, &[(a, &tokens[..83]), (b, &tokens)], All);
        assert!(bits[..83 * 83] == expected[..83 * 83] && bits[83 * 83..] == expected, "passes of {rows_per_pass}");
    }
}

#[test]
fn every_batch_agrees_with_one_sequence_alone() {
    let tensors = tensors(&config(), Format::Q6K, 3);
    for kernels in usable() {
        let mut model = load(&config(), &tensors, kernels, 2, KVFormat::F16);
        let prompts: Vec<Vec<u32>> = (0..65)
            .map(|i| prompt(3 + i % 5))
            .map(|mut p| {
                p.rotate_left(1);
                p
            })
            .collect();
        let alone: Vec<Vec<u32>> = prompts
            .iter()
            .map(|p| {
                let seq = model.engine.sequences().open().unwrap();
                let bits = forward(&mut model, &[(seq, p)], Last);
                model.engine.sequences().close(seq).unwrap();
                bits
            })
            .collect();
        for n in 1..=65 {
            let seqs: Vec<usize> = (0..n).map(|_| model.engine.sequences().open().unwrap()).collect();
            let batch: Vec<(usize, &[u32])> = seqs.iter().zip(&prompts).map(|(s, p)| (*s, &p[..])).collect();
            let together = forward(&mut model, &batch, Last);
            assert!(together == alone[..n].concat(), "{n} sequences on {kernels}");
            for seq in seqs {
                model.engine.sequences().close(seq).unwrap();
            }
        }
    }
}

#[test]
fn any_number_of_last_rows_are_the_last_of_all() {
    let tensors = tensors(&config(), Format::Q5K, 6);
    let mut model = load(&config(), &tensors, usable()[0], 2, KVFormat::F16);
    let tokens = prompt(300); // more than a pass
    let all = all_logits(&mut model, &tokens);
    for n in [0, 1, 2, 43, 44, 45, 256, 299, 300] {
        let (first, second) = (model.engine.sequences().open().unwrap(), model.engine.sequences().open().unwrap());
        let batch = [
            Append { seq: first, tokens: &tokens, n_logit: n },
            Append { seq: second, tokens: &tokens[..5], n_logit: 2 },
        ];
        let mut out = vec![0f32; (n + 2) * 83];
        model.engine.forward(&batch, &mut out, &|_| false).unwrap();
        let bits: Vec<u32> = out.iter().map(|x| x.to_bits()).collect();
        assert!(bits[..n * 83] == all[(300 - n) * 83..], "the last {n} rows");
        assert!(bits[n * 83..] == all[3 * 83..5 * 83], "two rows beside {n}");
        model.engine.sequences().close(first).unwrap();
        model.engine.sequences().close(second).unwrap();
    }
}

#[test]
fn forks_rewinds_and_saved_state_agree_with_a_fresh_start() {
    let tensors = tensors(&config(), Format::Q8_0, 4);
    let mut model = load(&config(), &tensors, usable()[0], 2, KVFormat::F16);
    let tokens = prompt(300);
    let fresh = all_logits(&mut model, &tokens);
    let tail = |n: usize| fresh[n * 83..].to_vec();

    let parent = model.engine.sequences().open().unwrap();
    forward(&mut model, &[(parent, &tokens[..200])], LogitRows::None);
    let state = model.engine.sequences().save(parent).unwrap();
    for bytes_part in [0, 1000, 4096, state.len()] {
        let cache = model.engine.sequences();
        let mut saving = cache.begin_save(parent).unwrap();
        let parts = std::iter::from_fn(|| cache.save_part(&mut saving, bytes_part).unwrap()).collect::<Vec<_>>();
        assert!(
            parts.concat() == state && (parts.len() > 1) == (bytes_part < state.len()),
            "parts of {bytes_part} bytes"
        );
    }
    let child = model.engine.sequences().fork(parent).unwrap();
    let other = model.engine.sequences().fork(parent).unwrap();
    // The child writes something else into the slab it shares; the others must not see it.
    forward(&mut model, &[(child, &[1, 2, 3])], LogitRows::None);
    assert!(forward(&mut model, &[(other, &tokens[200..])], All) == tail(200), "fork");
    model.engine.sequences().rewind(child, 150).unwrap();
    assert!(forward(&mut model, &[(child, &tokens[150..])], All) == tail(150), "rewind");
    let loaded = model.engine.sequences().load(&state).unwrap();
    assert!(model.engine.sequences().save(loaded).unwrap() == state, "save again");
    assert!(forward(&mut model, &[(loaded, &tokens[200..])], All) == tail(200), "load");
    for at in [0, 9, 20, state.len() / 2, state.len() - 1] {
        let mut damaged = state.clone();
        damaged[at] ^= 4;
        assert!(model.engine.sequences().load(&damaged).is_err(), "byte {at} changed");
    }
    assert!(model.engine.sequences().load(&state[..state.len() - 1]).is_err());
    for seq in [parent, child, other, loaded] {
        model.engine.sequences().close(seq).unwrap();
    }
    assert_eq!(model.engine.sequences().n_slab_held(), 0);
}

#[test]
fn a_stopped_or_refused_pass_changes_nothing() {
    let tensors = tensors(&config(), Format::Q4K, 5);
    let mut model = load(&config(), &tensors, usable()[0], 2, KVFormat::F16);
    let tokens = prompt(50);
    let fresh = all_logits(&mut model, &tokens);
    let seq = model.engine.sequences().open().unwrap();
    forward(&mut model, &[(seq, &tokens[..20])], LogitRows::None);
    let polls = std::cell::Cell::new(0);
    let stop = |_| polls.replace(polls.get() + 1) == 1;
    assert_eq!(
        model.engine.forward(&appends(&[(seq, &tokens[..9])], LogitRows::None), &mut [], &stop),
        Err(Error::Cancelled)
    );
    let refused = [
        (vec![(seq, &tokens[..3]), (seq, &tokens[..3])], Error::SequenceTwice { seq }),
        (vec![(seq, &tokens[..0])], Error::NoTokens { seq }),
        (vec![(seq, &[90u32][..])], Error::Token { seq, token: 90, n_vocab: 83 }),
        (vec![(99, &tokens[..1])], Error::UnknownSequence { seq: 99, open: 1 }),
    ];
    for (batch, error) in refused {
        assert_eq!(model.engine.forward(&appends(&batch, LogitRows::None), &mut [], &|_| false), Err(error));
    }
    let too_many = [Append { seq, tokens: &tokens[..3], n_logit: 4 }];
    let refusal = Error::LogitRows { seq, n_token: 3, n_logit: 4 };
    assert_eq!(model.engine.forward(&too_many, &mut [0.0; 4 * 83], &|_| false), Err(refusal));
    let long = prompt(681);
    assert_eq!(
        model.engine.forward(&appends(&[(seq, &long)], LogitRows::None), &mut [], &|_| false),
        Err(Error::ContextLength { seq, n_pos: 20, n_new: 681, n_ctx: 700 })
    );
    assert_eq!(model.engine.sequences().len(seq), Ok(20));
    assert!(forward(&mut model, &[(seq, &tokens[20..])], All) == fresh[20 * 83..]);
}
