//! Programs on the planner: the extents of a model, then budgets.

use super::{Answer, Step, unknown};
use crate::format::Format;
use crate::model::{MatrixAt, MemoryPlan, ModelLayout, OutputLayout};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A model whose embedding has rows of so many f32: `("extent", bytes, _)` and, once there are three, `("fit", budget, _)`.
pub fn run(sizes: &[usize], program: &[Step<'_>]) -> Result<Vec<Answer>, String> {
    let [n_col, is_tied] = *sizes else { unreachable!("checked by the caller") };
    let matrix = MatrixAt { format: Format::F32, n_row: 1, n_col, offset: 0, bias: None };
    let mut layout = ModelLayout {
        token_embd: matrix,
        layers: Vec::new(),
        output: OutputLayout { norm: 0, head: (is_tied == 0).then_some(matrix), tied_bias: None, rope_freqs: None },
        extents: Vec::new(),
        tensors: Vec::new(),
    };
    let mut answers = Vec::with_capacity(program.len());
    for &(request, bytes, _) in program {
        let answer = match request {
            "extent" => {
                layout.extents.push(bytes as usize);
                "done".to_string()
            }
            "fit" if layout.extents.len() < 3 => return Err("expected three extents before a budget".into()),
            "fit" => match MemoryPlan::fit(&layout, bytes as usize) {
                Err(error) => error.to_string(),
                Ok(plan) => {
                    let pinned: String = plan.is_pinned.iter().map(|pinned| if *pinned { 'p' } else { '-' }).collect();
                    let (bytes, streamed) = (plan.bytes(&layout), plan.bytes_streamed(&layout));
                    format!("{pinned} {} of {} {bytes} {streamed}", plan.n_landing, plan.bytes_landing)
                }
            },
            _ => return Err(unknown(request)),
        };
        answers.push((answer, String::new()));
    }
    Ok(answers)
}
