//! The extension module `axiom._native`: translation between Python and the core, no mathematics.
use pyo3::prelude::*;

mod arguments;
mod engine;
mod engine_arguments;
mod error;
mod host;
mod image;
mod leaving;
mod loading;
mod logits;
mod metadata;
mod receipt;
mod sampler;
mod signals;
mod stop_flag;
mod testing_attention;
mod testing_float64;
mod testing_kernels;
mod testing_machines;
mod testing_pretokenize;
mod testing_product;
mod testing_protocol;
mod tokenizer;

#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::host::{chosen_kernels, default_threads, disk_bandwidth, info, kernel_info, read_bandwidth};
    #[pymodule_export]
    use crate::image::{blake3, pack_matrix};
    #[pymodule_export]
    use crate::leaving::leave;
    #[pymodule_export]
    use crate::logits::{LogitRow, Logits};
    #[pymodule_export]
    use crate::metadata::skip_strings;
    #[pymodule_export]
    use crate::receipt::ReceiptChain;
    #[pymodule_export]
    use crate::sampler::Sampler;
    #[pymodule_export]
    use crate::stop_flag::StopFlag;
    #[pymodule_export]
    use crate::tokenizer::{TextDecoder, Tokenizer};

    /// Single functions of the core, for tests that compare them with the reference.
    #[pymodule]
    mod testing {
        #[pymodule_export]
        use crate::testing_attention::{AttentionTiles, clock_hz};
        #[pymodule_export]
        use crate::testing_float64::float64;
        #[pymodule_export]
        use crate::testing_kernels::kernels;
        #[pymodule_export]
        use crate::testing_machines::run_machine;
        #[pymodule_export]
        use crate::testing_pretokenize::pretokenize;
        #[pymodule_export]
        use crate::testing_product::Product;
        #[pymodule_export]
        use crate::testing_protocol::protocol;
    }
}
