//! Serving: a program outside opens the model and drives the engine call by call (`docs/bare-protocol.md`, section 3).

use crate::devices::AnyConsole;
use crate::exit::{Status, exit, fail};
use crate::model::{Settings, open, read_head};
use crate::refusal::Refusal;
use crate::serving::Serving;
use crate::storage::{Searched, Source};
use crate::wire::{Port, Wire};
use crate::{clock, heap, line, memory, watchdog};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use axiom_core::conformance;
use axiom_core::error::ErrorClass;
use axiom_core::kernels::Kernels;
use axiom_core::memory::KVFormat;
use axiom_core::protocol::{Reader, VERSION, kind};
use axiom_core::runtime::Options;

/// What a machine has to serve with.
struct Desk {
    kernels: &'static Kernels,
    n_core: usize,
    /// The model, until it is opened; or why there is none to open.
    source: Result<Source, (ErrorClass, String)>,
    serving: Option<Serving>,
    /// Allocations when the model was open.
    n_allocation: u64,
    last_number: u32,
}

/// Serves until it is told to quit.
pub fn serve(
    console: Option<AnyConsole>,
    source: Result<Source, Searched>,
    kernels: &'static Kernels,
    n_core: usize,
) -> ! {
    let Some(console) = console else {
        fail(
            Status::Device,
            "serve=1: no virtio console was found; start the machine by `axiom.Runtime(backend=\"bare\")`",
        );
    };
    let source = source.map_err(|searched| {
        let class = if searched.has_failed { ErrorClass::Io } else { ErrorClass::Argument };
        (class, searched.to_string())
    });
    let mut wire = Wire::new(console);
    let mut desk = Desk { kernels, n_core, source, serving: None, n_allocation: 0, last_number: 0 };
    line!("axiom: serving");
    watchdog::start();
    heap::seal();
    loop {
        let most_saved = desk.serving.as_ref().map_or(0, Serving::bytes_saved_max);
        let (kind, number) = wire.next(most_saved);
        // What is asked twice was asked again because its answer was slow: it is under way, or done.
        if number == desk.last_number {
            continue;
        }
        desk.last_number = number;
        let (payload, port) = wire.parts();
        if let Err(refusal) = desk.answer(kind, number, payload, port) {
            refusal.send(port, kind, number);
        }
        // The words of a refusal were allocated where that is allowed, and are given back there.
    }
}

/// Runs what may allocate.
fn unsealed<T>(work: impl FnOnce() -> T) -> T {
    heap::unseal();
    let result = work();
    heap::seal();
    result
}

impl Desk {
    fn answer(&mut self, kind: u16, number: u32, payload: &[u8], port: &mut Port) -> Result<(), Refusal> {
        let mut request = Reader::new(payload);
        match kind {
            kind::HELLO => {
                request.end()?;
                self.hello(number, port);
            }
            kind::OPEN => {
                unsealed(|| self.open(&mut request, number, port))?;
                self.n_allocation = heap::n_allocation();
                self.info(number, kind, port)?;
            }
            kind::INFO => self.info(number, kind, port)?,
            kind::CONFORMANCE => unsealed(|| -> Result<(), Refusal> {
                let result = conformance::answer(payload);
                port.send(
                    kind + kind::ANSWER,
                    number,
                    &result.map_err(|what| Refusal::Said(ErrorClass::Argument, what))?,
                );
                Ok(())
            })?,
            kind::QUIT => {
                watchdog::stop();
                exit(Status::Done);
            }
            _ => self.serving.as_mut().ok_or(Refusal::NotOpen)?.answer(kind, number, &mut request, port)?,
        }
        Ok(())
    }

    fn hello(&self, number: u32, port: &mut Port) {
        let mut message = port.answer(kind::HELLO, number);
        message.u32(VERSION);
        message.u64(self.n_core as u64);
        message.u64(memory::free().bytes());
        message.u64(clock::khz());
        message.name(self.kernels.name);
        match &self.source {
            Ok(source) => message.name(&source.name),
            Err(_) => message.name(""),
        }
        message.end();
    }

    /// Opens the model: `n_ctx`, `n_seq_max`, `rows_per_pass`, rows of logits that there is to be room for, bytes of memory or 0
    /// (u64 each), bytes of a number in the cache, whether every reading is checked (u32 each).
    fn open(&mut self, request: &mut Reader<'_>, number: u32, port: &mut Port) -> Result<(), Refusal> {
        let (n_ctx, n_seq_max, rows_per_pass) = (request.count()?, request.count()?, request.count()?);
        let (n_logit_max, budget) = (request.count()?, request.count()?);
        let kv = match request.u32()? {
            2 => KVFormat::F16,
            4 => KVFormat::F32,
            _ => return Err(Refusal::Malformed),
        };
        let is_paranoid = request.u32()? != 0;
        request.end()?;
        let options = Options { n_ctx, n_seq_max, rows_per_pass, kv };
        let settings = Settings { options, budget: (budget > 0).then_some(budget), is_paranoid };
        let refuse = |class: ErrorClass, what: &str| Refusal::Said(class, what.to_string());
        let once = (ErrorClass::Argument, "a machine opens its model once; start another machine".to_string());
        let source = match core::mem::replace(&mut self.source, Err(once)) {
            Ok(source) => source,
            Err((class, what)) => {
                self.source = Err((class, what.clone()));
                return Err(Refusal::Said(class, what));
            }
        };
        let image = read_head(&source).map_err(|trouble| {
            let class = if trouble.status == Status::Device { ErrorClass::Io } else { ErrorClass::ModelFormat };
            Refusal::Said(class, trouble.what)
        })?;
        // Before the engine, which takes what is left.
        let n_value = n_logit_max.checked_mul(image.config.n_vocab).ok_or(Refusal::Malformed)?;
        let mut logits = Vec::new();
        if logits.try_reserve_exact(n_value).is_err() {
            return Err(refuse(ErrorClass::MemoryBudget, "there is no memory for logits; give the machine more"));
        }
        logits.resize(n_value, 0.0);
        let mut progress = |n_done: usize, n_all: usize| {
            port.progress(number, n_done as u64, n_all as u64, 100_000);
            true
        };
        let Source { device, .. } = source;
        let engine = open(device, &image, &settings, self.kernels, self.n_core, &mut progress)?;
        self.serving = Some(Serving::new(engine, options, logits));
        Ok(())
    }

    fn info(&self, number: u32, kind: u16, port: &mut Port) -> Result<(), Refusal> {
        let serving = self.serving.as_ref().ok_or(Refusal::NotOpen)?;
        let mut message = port.answer(kind, number);
        serving.info(&mut message);
        message.u64(memory::free().bytes());
        message.u64(self.n_allocation);
        message.u64(serving.n_allocation_in_passes());
        message.name(self.kernels.name);
        message.end();
        Ok(())
    }
}
