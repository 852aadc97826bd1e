"""Runs transformer language models with the same bits on every machine.

>>> import axiom
>>> with axiom.Runtime() as model:  # doctest: +SKIP
...     print(model.generate("Once upon a time", max_tokens=100, seed=1))

Names are imported when they are first used, so that `import axiom` is quick.
"""

from __future__ import annotations

import axiom.leaving  # noqa: F401 - registers what is to run last

# As in typing, which takes longer to import than all that is here; Ctrl-C is not heeded before the command line begins.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from axiom.errors import (
        AxiomError,
        ContextLengthError,
        MemoryBudgetError,
        ModelFormatError,
        NumericError,
        TemplateError,
        UnsupportedModelError,
    )
    from axiom.generation.completion import Completion, Score, Timings, TokenLogprob, Usage
    from axiom.generation.receipt import Receipt
    from axiom.generation.request import GenerateOptions
    from axiom.generation.sampling import Sampling
    from axiom.generation.stream import Stream
    from axiom.image_writer import pack
    from axiom.model_file.gguf_file import GGUFFile
    from axiom.model_file.image_file import ImageFile
    from axiom.model_file.model_config import ModelConfig
    from axiom.runtime import Runtime
    from axiom.session import Session
    from axiom.tokenizer import Tokenizer
    from axiom.verification import Verification, verify

    __version__: str

_HOMES = {
    "AxiomError": "errors",
    "Completion": "generation.completion",
    "ContextLengthError": "errors",
    "GGUFFile": "model_file.gguf_file",
    "GenerateOptions": "generation.request",
    "ImageFile": "model_file.image_file",
    "MemoryBudgetError": "errors",
    "ModelConfig": "model_file.model_config",
    "ModelFormatError": "errors",
    "NumericError": "errors",
    "Receipt": "generation.receipt",
    "Runtime": "runtime",
    "Sampling": "generation.sampling",
    "Score": "generation.completion",
    "Session": "session",
    "Stream": "generation.stream",
    "TemplateError": "errors",
    "Timings": "generation.completion",
    "TokenLogprob": "generation.completion",
    "Tokenizer": "tokenizer",
    "UnsupportedModelError": "errors",
    "Usage": "generation.completion",
    "Verification": "verification",
    "pack": "image_writer",
    "verify": "verification",
}

__all__ = [
    "AxiomError",
    "Completion",
    "ContextLengthError",
    "GGUFFile",
    "GenerateOptions",
    "ImageFile",
    "MemoryBudgetError",
    "ModelConfig",
    "ModelFormatError",
    "NumericError",
    "Receipt",
    "Runtime",
    "Sampling",
    "Score",
    "Session",
    "Stream",
    "TemplateError",
    "Timings",
    "TokenLogprob",
    "Tokenizer",
    "UnsupportedModelError",
    "Usage",
    "Verification",
    "pack",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("axiom")
        except PackageNotFoundError:
            return "unknown (not installed)"
    if name not in _HOMES:
        raise AttributeError(f"module 'axiom' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"axiom.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
