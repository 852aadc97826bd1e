"""OpenVINO GenAI: the graph that it makes of a GGUF, run by OpenVINO's own runtime.

Its pipeline chooses tokens by itself and shows no logits, so the graph is run without it, as llama.cpp is without its
sampling: the same tokens go to every engine, and the logits show that it computes the same model. As in the pipeline,
the head sees the last token of a pass only.

    pip install openvino-genai
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from axiom.model_file.model_config import KVFormat


@contextlib.contextmanager
def _graph(model: str) -> Any:
    """GenAI's graph of a GGUF. It is written beside the file: here beside a link to it, in a folder that goes away."""
    import openvino
    import openvino_genai

    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "model.gguf"
        link.symlink_to(Path(model).resolve())
        try:
            openvino_genai.LLMPipeline(str(link), "CPU", enable_save_ov_model=True)
        except RuntimeError as error:
            raise RuntimeError(
                f"OpenVINO GenAI cannot read {model} ({error}); it wants general.file_type and a vocabulary of "
                "byte pairs: `python -m benches.shapes ... --tokenizer bpe` writes such a file"
            ) from error
        yield openvino.Core().read_model(link.with_name("openvino_model.xml"))


def _head_of_last_token(graph: Any) -> None:
    """Has the output matrix multiply the last row of a pass instead of all."""
    from openvino import opset13

    product = graph.output("logits").get_node().input_value(0).get_node()
    if product.get_type_name() != "MatMul":
        raise RuntimeError(f"the graph ends in {product.get_type_name()} where the output matrix was expected")
    ends = (np.array([value], np.int64) for value in (-1, np.iinfo(np.int64).max, 1, 1))
    last = opset13.slice(product.input_value(0), *ends)
    product.input(0).replace_source_output(last.output(0))
    graph.validate_nodes_and_infer_types()


class OpenVinoGenAI:
    """OpenVINO with the graph of its GenAI package; latency is its goal, everything else at its defaults."""

    def __init__(self, model: str, n_threads: int, n_ctx: int, kv: KVFormat, n_seq: int = 1) -> None:
        import openvino

        settings = {"INFERENCE_NUM_THREADS": n_threads, "PERFORMANCE_HINT": "LATENCY", "KV_CACHE_PRECISION": kv}
        with _graph(model) as graph:
            _head_of_last_token(graph)
            self._request = openvino.Core().compile_model(graph, "CPU", settings).create_infer_request()
        self._n_pos = 0
        self.version = f"OpenVINO {openvino.get_version()} with the graph of OpenVINO GenAI"

    def reset(self) -> None:
        self._request.reset_state()
        self._n_pos = 0

    def prefill(self, tokens: list[int]) -> np.ndarray:
        return self._append([tokens])[0]

    def decode(self, token: int) -> np.ndarray:
        return self._append([[token]])[0]

    def decode_together(self, tokens: list[int]) -> np.ndarray:
        return self._append([[token] for token in tokens])

    def _append(self, rows: list[list[int]]) -> np.ndarray:
        """The same number of tokens to each sequence: [n_seq, n_vocab] logits of the last of each."""
        n_seq, first = len(rows), self._n_pos
        self._n_pos += len(rows[0])
        inputs = {
            "input_ids": np.array(rows, np.int64),
            "attention_mask": np.ones((n_seq, self._n_pos), np.int64),
            "position_ids": np.tile(np.arange(first, self._n_pos, dtype=np.int64), (n_seq, 1)),
            "beam_idx": np.arange(n_seq, dtype=np.int32),
        }
        logits = self._request.infer(inputs, share_inputs=True, share_outputs=True)["logits"]
        return np.array(logits[:, -1], np.float32)
