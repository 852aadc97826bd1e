"""Where the time goes: per layer and part, in microseconds.

Reading the clock changes no bit, so the notes in `model/layer.py` may be passed over when reading for the arithmetic.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any, Literal

Part = Literal["rms_us", "attn_us", "ffn_proj_us", "ffn_down_us"]


@dataclass
class LayerTimes:
    """Microseconds of a layer: norms; attention with its projections; gate and up; down."""

    rms_us: float = 0.0
    attn_us: float = 0.0
    ffn_proj_us: float = 0.0
    ffn_down_us: float = 0.0


@dataclass
class Telemetry:
    """Times and counts since the start: passes, the tokens they computed, and the final norm with the output head."""

    n_pass: int = 0
    n_token: int = 0
    pass_us: float = 0.0
    output_us: float = 0.0
    layers: list[LayerTimes] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The same names as plain values, times in whole microseconds."""
        layers = [{part: round(us) for part, us in asdict(times).items()} for times in self.layers]
        return {
            "n_pass": self.n_pass,
            "n_token": self.n_token,
            "pass_us": round(self.pass_us),
            "output_us": round(self.output_us),
            "layers": layers,
        }


class LayerClock:
    """Adds the time since the last note to a part."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.telemetry = telemetry
        self.started = self.last = perf_counter()

    def note(self, layer_idx: int, part: Part) -> None:
        """The time since the last note was spent on `part` of that layer."""
        times = self.telemetry.layers[layer_idx]
        setattr(times, part, getattr(times, part) + self._lap())

    def output(self) -> None:
        """The time since the last note was spent on the final norm and the output head."""
        self.telemetry.output_us += self._lap()

    def end(self, n_token: int) -> None:
        """The pass is over."""
        self.telemetry.n_pass += 1
        self.telemetry.n_token += n_token
        self.telemetry.pass_us += (self.last - self.started) * 1e6

    def _lap(self) -> float:
        now = perf_counter()
        lap_us, self.last = (now - self.last) * 1e6, now
        return lap_us
