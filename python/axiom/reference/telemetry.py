"""Where the time goes: a record for each layer of each pass, in microseconds, and their sums.

Reading the clock changes no bit, so the notes in `model/layer.py` may be passed over when reading for the arithmetic.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any, Literal

import numpy as np

Part = Literal["rms_us", "attn_us", "ffn_proj_us", "ffn_act_us", "ffn_down_us"]

# Records that are kept until they are taken.
_CAPACITY = 4096

# What the native body counts beside these. Weights are resident here: nothing is read, and nothing deferred.
_STREAMING = ("bytes_read", "n_request", "n_retry", "n_stall", "n_deferred", "longest_deferral_us")


@dataclass
class LayerTimes:
    """Microseconds of a layer: waiting for weights; norms; attention with its projections; feed-forward in three."""

    stream_us: float = 0.0
    rms_us: float = 0.0
    attn_us: float = 0.0
    ffn_proj_us: float = 0.0
    ffn_act_us: float = 0.0
    ffn_down_us: float = 0.0

    def rounded(self) -> dict[str, int]:
        """Whole microseconds, and their sum, `layer_us`."""
        parts = {part: round(us) for part, us in asdict(self).items()}
        return {**parts, "layer_us": sum(parts.values())}


@dataclass
class Telemetry:
    """Times and counts since the start: passes, the tokens they computed, and the final norm with the output head."""

    n_pass: int = 0
    n_begun: int = 0
    """Passes that were begun: what numbers the records."""
    n_token: int = 0
    pass_us: float = 0.0
    output_us: float = 0.0
    layers: list[LayerTimes] = field(default_factory=list)
    records: deque[list[int]] = field(default_factory=lambda: deque(maxlen=_CAPACITY))
    n_lost: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The same names as plain values, times in whole microseconds."""
        return {
            "n_pass": self.n_pass,
            "n_token": self.n_token,
            "pass_us": round(self.pass_us),
            "output_us": round(self.output_us),
            "layers": [times.rounded() for times in self.layers],
            **dict.fromkeys(_STREAMING, 0),
        }

    def push(self, record: list[int]) -> None:
        """Keeps a record; the oldest is lost when there is no room."""
        self.n_lost += len(self.records) == _CAPACITY
        self.records.append(record)

    def take_records(self) -> tuple[np.ndarray, int]:
        """The records since the last call, uint64 [n, 16], and how many before them were lost."""
        taken, n_lost = np.array(list(self.records), np.uint64).reshape(-1, 16), self.n_lost
        self.records.clear()
        self.n_lost = 0
        return taken, n_lost


class LayerClock:
    """Adds the time since the last note to a part."""

    def __init__(self, telemetry: Telemetry, n_token: int) -> None:
        self.telemetry, self.n_token = telemetry, n_token
        # A pass has the next number, even if it is stopped.
        self.number = telemetry.n_begun
        telemetry.n_begun += 1
        self.started = self.last = self.begun = perf_counter()
        self.times = LayerTimes()

    def begin(self) -> None:
        """A layer begins."""
        self.last = self.begun = perf_counter()
        self.times = LayerTimes()

    def note(self, part: Part) -> None:
        """The time since the last note was spent on a part of the layer."""
        setattr(self.times, part, getattr(self.times, part) + self._lap())

    def end_layer(self, layer_idx: int) -> None:
        """The layer ends."""
        total = self.telemetry.layers[layer_idx]
        for part, us in asdict(self.times).items():
            setattr(total, part, getattr(total, part) + us)
        *parts, layer_us = self.times.rounded().values()
        self._push(layer_idx, self.begun, [*parts, 0, layer_us])

    def output(self) -> None:
        """The time since the last note was spent on the final norm and the output head."""
        begun, us = self.last, self._lap()
        self.telemetry.output_us += us
        self._push(len(self.telemetry.layers), begun, [0, 0, 0, 0, 0, 0, round(us), round(us)])

    def end(self) -> None:
        """The pass is over."""
        self.telemetry.n_pass += 1
        self.telemetry.n_token += self.n_token
        self.telemetry.pass_us += (self.last - self.started) * 1e6

    def _push(self, layer_idx: int, begun: float, times: list[int]) -> None:
        start_us = round(begun * 1e6)
        self.telemetry.push([self.number, layer_idx, self.n_token, start_us, *times, 0, 0, 0, 0])

    def _lap(self) -> float:
        now = perf_counter()
        lap_us, self.last = (now - self.last) * 1e6, now
        return lap_us
