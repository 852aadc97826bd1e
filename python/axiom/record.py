"""`Record`: a frozen value with named fields, as the standard library's data classes are.

The module that makes those takes some 50 ms before this package could open a model: it imports `inspect`, and compiles
six functions for every class. Here the annotations of a class are all there is to it, and the functions are shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from inspect import Signature

    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**_options):
        return lambda decorated: decorated


__all__ = ["Record"]


class _Signature:
    """The arguments of a record, as `help` and notebooks show them; made when asked for, as `inspect` is slow."""

    def __get__(self, _: Record | None, of: type[Record]) -> Signature:
        from inspect import Parameter, Signature

        fields = [
            Parameter(
                name,
                Parameter.POSITIONAL_OR_KEYWORD,
                default=getattr(of, name, Parameter.empty),
                annotation=of.__annotations__[name],
            )
            for name in getattr(of, "field_names", ())
        ]
        return Signature(fields)


@dataclass_transform(frozen_default=True)
class Record:
    """Fields are the annotated names of a class, in order; they are given by place or by name.

    A value in the class is a default. A class may check what it was given in `__post_init__`.

    >>> class Point(Record):
    ...     x: int
    ...     y: int = 0
    >>> Point(3), Point(3, y=1).replace(x=2) == Point(2, 1)
    (Point(x=3, y=0), True)
    """

    field_names: ClassVar[tuple[str, ...]]
    __signature__ = _Signature()

    def __init_subclass__(cls) -> None:
        """Take the fields from the annotations."""
        cls.field_names = tuple(cls.__annotations__)

    def __init__(self, *values: Any, **named: Any) -> None:
        """Take a value for every field. Raises `TypeError` for one that is missing, unknown or given twice."""
        names = self.field_names
        given = dict(zip(names, values, strict=False)) | named
        unknown = [name for name in named if name not in names]
        missing = [name for name in names if name not in given and not hasattr(self, name)]
        if unknown or missing or len(given) < len(values) + len(named):
            wrong = f"no {unknown[0]}" if unknown else f"a value for {missing[0]}" if missing else "each field once"
            raise TypeError(f"{type(self).__name__}({', '.join(names)}): expected {wrong}")
        self.__dict__.update(given)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check nothing."""

    def fields(self) -> dict[str, Any]:
        """Return the values by name."""
        return {name: getattr(self, name) for name in self.field_names}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed. Raises `TypeError` for a name that is no field."""
        return type(self)(**{**self.fields(), **changes})

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse it."""
        raise AttributeError(f"{type(self).__name__}.{name}: it cannot be changed; replace() makes another")

    def __delattr__(self, name: str) -> None:
        """Refuse it."""
        raise AttributeError(f"{type(self).__name__}.{name}: it cannot be deleted")

    def __eq__(self, other: object) -> bool:
        """Compare with another of the same class, field by field."""
        return self.fields() == other.fields() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        """Hash the fields."""
        return hash(tuple(self.fields().values()))

    def __repr__(self) -> str:
        """Show the fields."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.fields().items())})"
