"""The exceptions of the package.

One class above them all, one class for each kind of thing that a caller may want to handle apart. Two kinds have no
class here because Python already has one: a bad argument is a `ValueError` or a `TypeError`, and a file that cannot
be read or written is an `OSError`. A message says what was wrong, where, what was expected and what was got, and most
end with what to do about it.
"""

from __future__ import annotations

__all__ = [
    "AxiomError",
    "ContextLengthError",
    "MemoryBudgetError",
    "ModelFormatError",
    "NumericError",
    "PassStopped",
    "TemplateError",
    "UnsupportedModelError",
]


class AxiomError(Exception):
    """Base of every exception that this package defines."""


class ModelFormatError(AxiomError):
    """A model file is damaged, truncated, or says things that cannot be true."""


class UnsupportedModelError(AxiomError):
    """A model file is sound, but asks for something that this version does not compute."""


class ContextLengthError(AxiomError):
    """More positions were asked for than the context has."""


class MemoryBudgetError(AxiomError):
    """What was asked for does not fit in the memory that there is."""


class TemplateError(AxiomError):
    """A chat template is missing, broken, refused the messages, or ran past its limits."""


class PassStopped(AxiomError):
    """A pass of an engine was stopped before its end, as asked. Generations handle it: they end with a reason."""


class NumericError(AxiomError):
    """The model computed a number that is not finite: its weights are damaged or its format overflows."""
