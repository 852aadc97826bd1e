//! Opening a model: the head of its image read and checked, a plan for the memory that there is, and the engine.

use crate::exit::Status;
use crate::machine::Machine;
use crate::memory;
use crate::storage::{Source, read_start};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use axiom_core::error::{Error, ErrorClass};
use axiom_core::image::{self, HEADER, Image};
use axiom_core::kernels::Kernels;
use axiom_core::model::{MemoryPlan, Progress, WeightImage};
use axiom_core::platform::{BlockDevice, IoFault};
use axiom_core::runtime::{Engine, Options, WeightSource};
use axiom_core::stream::BYTES_REQUEST;
use core::ptr::NonNull;

/// What the heap may still need when the engine has been made.
const BYTES_FOR_THE_HEAP: usize = 4 << 20;

/// Why there is no model: what the machine is to end with, and what is to be said.
pub struct Trouble {
    /// The status.
    pub status: Status,
    /// The reason, with the name of the source.
    pub what: String,
}

/// What an engine is opened with.
pub struct Settings {
    /// What the core asks.
    pub options: Options,
    /// Most bytes for weights, cache and activations; what is free, if that is less.
    pub budget: Option<usize>,
    /// Whether a layer's digest is compared at each reading.
    pub is_paranoid: bool,
}

/// The status for what the engine says.
pub fn status_of(error: &Error) -> Status {
    match error.class() {
        _ if matches!(error, Error::Damaged { .. }) => Status::Image,
        ErrorClass::Io => Status::Device,
        ErrorClass::MemoryBudget => Status::Memory,
        _ => Status::Model,
    }
}

/// The head of the image, checked: its length is in the header, which is read first.
///
/// # Errors
///
/// What the device says, and what is wrong with the head.
pub fn read_head(source: &Source) -> Result<Image<'static>, Trouble> {
    let Source { name, .. } = source;
    let failed = |fault: IoFault| Trouble { status: Status::Device, what: format!("{name}: {fault}") };
    let wrong = |what: String| Trouble { status: Status::Image, what };
    if source.bytes < HEADER as u64 {
        return Err(wrong(format!("{name}: {} bytes are no image", source.bytes)));
    }
    let header = read_start(&*source.device, HEADER).map_err(failed)?;
    let stated = image::stated_bytes(header);
    if stated > source.bytes {
        let got = source.bytes;
        return Err(wrong(format!("{name}: cut off: the image has {stated} bytes, here are {got}")));
    }
    let n = image::head_bytes(header, stated).map_err(|error| wrong(format!("{name}: {error}")))?;
    // The device reads whole blocks, of which the image is made too.
    let head = read_start(&*source.device, n).map_err(failed)?;
    Image::parse(head, stated).map_err(|error| wrong(format!("{name}: {error}")))
}

/// Makes the engine: weights in memory as far as the budget goes, the rest read from the device as layers need it.
/// `progress(done, total)` counts bytes of weights.
///
/// # Errors
///
/// What the plan and the engine say.
pub fn open(
    device: Box<dyn BlockDevice>,
    image: &Image<'_>,
    settings: &Settings,
    kernels: &'static Kernels,
    n_core: usize,
    progress: Progress<'_>,
) -> Result<Engine, Error> {
    let free = (memory::free().bytes() as usize).saturating_sub(BYTES_FOR_THE_HEAP);
    let budget = settings.budget.map_or(free, |budget| budget.min(free));
    let besides = Engine::bytes_besides_weights(&image.config, &settings.options, n_core)?;
    let plan = MemoryPlan::fit(&image.layout, budget.saturating_sub(besides))?;
    let weights = WeightImage {
        device,
        extents: image.extents.clone(),
        is_paranoid: settings.is_paranoid,
        bytes_request: BYTES_REQUEST,
    };
    let source = WeightSource::Image { layout: &image.layout, plan, image: weights };
    let region = |n: usize| {
        let range = memory::take(n as u64).ok_or(Error::Region { len: budget, used: 0, n, bytes_each: 1 })?;
        NonNull::new(range.start as *mut u8).ok_or(Error::Region { len: 0, used: 0, n, bytes_each: 1 })
    };
    let machine = Box::new(Machine::new(n_core));
    // SAFETY: the memory is zeroed, at a multiple of a large page, and never given back; the table was chosen for this
    // processor.
    unsafe { Engine::new(image.config.clone(), source, settings.options, kernels, machine, region, progress) }
}
