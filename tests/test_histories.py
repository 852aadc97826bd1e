"""Random histories of an engine: the native one, streaming or not, does what its twin in numpy does, to the last bit.

After every step both have the same sequences of the same lengths. Steps that are refused are refused by both, for the
same reason, and change nothing; so do passes that are stopped, wherever that finds them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import axiom
from axiom.engine_options import EngineOptions
from axiom.errors import AxiomError, PassStopped
from axiom.model_file.image_file import ImageFile
from axiom.model_file.model_config import ModelConfig
from axiom.opening import open_engine

_native: Any = pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")

# Four layers, of which a budget can leave out one or two.
MODEL = {
    "n_layer": 4,
    "n_embd": 64,
    "n_ff": 96,
    "n_head": 4,
    "n_head_kv": 2,
    "n_vocab": 300,
    "n_ctx": 512,
    "fmt": "F32",
}
STEPS = {"new": 3, "free": 2, "fork": 3, "rewind": 5, "save": 2, "load": 3, "forward": 9, "stopped": 3}
NO_SEQUENCE, NO_TOKEN = 99, 300


class History:
    """Both bodies, driven alike by the choices of one seed."""

    def __init__(self, image: Path, seed: int):
        self.choose = random.Random(seed)
        self.seen: Counter[str] = Counter()
        model, some = ImageFile(image), self.choose.choice
        config = ModelConfig.from_gguf(model)
        sizes: dict[str, Any] = {"n_ctx": some([100, 128, 200, 300]), "n_seq_max": some([2, 3, 5])}
        sizes["kv"] = some(["f16", "f32"])
        options = sizes | {"rows_per_pass": some([1, 7, 16, 128, 256, 300]), "threads": some([1, 2, 3])}
        layer, head = model.extents[1].n_bytes, model.extents[-1].n_bytes
        besides = _native.Engine.bytes_besides_weights(config.as_dict(), **options)
        # Half of the seeds stream.
        budget = besides + head + (2 + seed % 4) * layer + (140 << 10)
        self.native = _native.Engine.from_image(image, budget=budget, paranoid=seed % 3 == 0, **options)
        assert self.native.is_streamed == (seed % 4 < 2)
        self.twin, _ = open_engine(model, config, EngineOptions(**sizes), "reference")
        self.lengths: dict[int, int] = {}
        self.saved: list[bytes] = []
        self.new("new", NO_SEQUENCE)
        self.look()

    def step(self) -> None:
        name = self.choose.choices(list(STEPS), list(STEPS.values()))[0]
        getattr(self, name)(name, self.sequence())
        self.look()

    def look(self) -> None:
        for seq in range(self.twin.n_seq_max):
            if (n_pos := self.both("length", lambda engine, seq=seq: engine.seq_len(seq))) is None:
                self.lengths.pop(seq, None)
            else:
                self.lengths[seq] = n_pos

    def sequence(self) -> int:
        """One that is open, nearly always."""
        return self.choose.choice(list(self.lengths)) if self.lengths and self.choose.random() < 0.95 else NO_SEQUENCE

    def both(self, name: str, action: Callable[[Any], Any]) -> Any:
        """What `action` returns for both, or None if both refuse it for the same reason."""
        results = []
        for engine in (self.native, self.twin):
            try:
                results.append(action(engine))
            except (AxiomError, ValueError) as error:
                results.append(type(error))
        assert results[0] == results[1]
        is_refused = isinstance(results[0], type)
        self.seen[f"{name} refused" if is_refused else name] += 1
        return None if is_refused else results[0]

    def new(self, name: str, _: int) -> None:
        self.both(name, lambda engine: engine.seq_new())

    def free(self, name: str, seq: int) -> None:
        self.both(name, lambda engine: engine.seq_free(seq))

    def fork(self, name: str, seq: int) -> None:
        self.both(name, lambda engine: engine.seq_fork(seq))

    def rewind(self, name: str, seq: int) -> None:
        n_pos = self.choose.randint(0, self.lengths.get(seq, 0) + 1)
        self.both(name, lambda engine: engine.seq_rewind(seq, n_pos))

    def save(self, name: str, seq: int) -> None:
        state = self.both(name, lambda engine: engine.seq_save(seq))
        self.saved += [] if state is None else [state]

    def load(self, name: str, _: int) -> None:
        state = self.choose.choice(self.saved or [b""])
        is_damaged = self.choose.random() < 0.2
        self.both(name, lambda engine: engine.seq_load(state[:-1] if is_damaged else state))

    def batch(self) -> dict[int, list[int]]:
        """Tokens for some sequences, up to and over the edges of slabs and of the context."""
        tokens = {}
        for seq in {self.sequence() for _ in range(self.choose.choice([1, 1, 2, 3]))}:
            n_pos, n_ctx = self.lengths.get(seq, 0), self.twin.n_ctx
            n = self.choose.choice([1, 2, 3, 4, self.choose.randint(1, 30), 128 - n_pos % 128, 129 - n_pos % 128])
            # Now and then nothing, too much, or what is no token.
            n = (
                self.choose.choice([0, n_ctx + 1 - n_pos])
                if self.choose.random() < 0.04
                else max(1, min(n, n_ctx - n_pos))
            )
            n_vocab = NO_TOKEN + 1 if self.choose.random() < 0.02 else NO_TOKEN
            tokens[seq] = [self.choose.randrange(n_vocab) for _ in range(n)]
        return tokens

    def forward(self, name: str, _: int) -> None:
        new = self.batch()
        logits = self.choose.choice(["last", "all", "none", [self.choose.randint(0, len(t)) for t in new.values()]])
        self.both(name, lambda engine: np.asarray(engine.forward([*new], [*new.values()], logits)).tobytes())

    def stopped(self, name: str, _: int) -> None:
        new = self.batch()
        flag = _native.StopFlag(self.choose.random() ** 2 * 2e-3)
        try:
            self.native.forward([*new], [*new.values()], "none", None, flag)
        except PassStopped:
            # What was stopped has changed nothing, which `step` looks at.
            self.seen[name] += 1
        except (AxiomError, ValueError) as error:
            with pytest.raises(type(error)):
                self.twin.forward([*new], [*new.values()], "none")
        else:
            self.twin.forward([*new], [*new.values()], "none")

    def close(self) -> None:
        for seq in self.lengths:
            self.save("save", seq)
            self.free("free", seq)
        assert self.native.info()["bytes_kv"] == 0
        self.native.close()


def test_random_histories(random_model: Callable[..., Path], tmp_path: Path) -> None:
    image = axiom.pack(random_model(**MODEL), tmp_path / "model.axiom")
    seen: Counter[str] = Counter()
    for seed in range(10):
        history = History(image, seed)
        for _ in range(40):
            history.step()
        history.close()
        seen += history.seen
    # How many passes a flag finds is a matter of time.
    assert all(seen[name] >= 3 for name in STEPS if name != "stopped"), seen
