"""Records: fields by place and by name, frozen, compared by value, copied by pickle and replace."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
from collections.abc import Callable

import pytest

from axiom.generation.completion import Timings, Usage
from axiom.generation.sampling import Sampling
from axiom.record import Record


class Point(Record):
    """Two fields, one of them with a default."""

    x: int
    y: int = 0

    @property
    def sum(self) -> int:
        """No field."""
        return self.x + self.y


def test_fields_by_place_and_by_name() -> None:
    assert Point(1, 2) == Point(1, y=2) == Point(y=2, x=1) != Point(1)
    assert (Point(1).y, Point(1, 2).sum, Point(1).fields()) == (0, 3, {"x": 1, "y": 0})
    assert Point(1, 2).replace(y=5) == Point(1, 5)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert repr(Point(1)) == "Point(x=1, y=0)"
    assert Point(1) != (1, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Point(), "a value for x"),  # type: ignore[call-arg]
        (lambda: Point(1, 2, 3), "each field once"),  # type: ignore[call-arg]
        (lambda: Point(1, x=2), "each field once"),  # type: ignore[misc]
        (lambda: Point(1, z=2), "no z"),  # type: ignore[call-arg]
        (lambda: Point(1).replace(sum=2), "no sum"),
    ],
)
def test_wrong_fields(make: Callable[[], Point], message: str) -> None:
    with pytest.raises(TypeError, match=rf"Point\(x, y\): expected {message}"):
        make()


def test_the_arguments_are_shown() -> None:
    assert str(inspect.signature(Point)) == "(x: 'int', y: 'int' = 0)"
    assert list(inspect.signature(Sampling).parameters) == list(Sampling.field_names)
    assert "Point(x: 'int', y: 'int' = 0)" in pydoc.plain(pydoc.render_doc(Point))


def test_frozen() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="cannot be changed"):
        point.z = 2  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del point.x
    assert point == Point(1)


@pytest.mark.parametrize("value", [Usage(3, 4), Timings(0.1, 0.2, 3, 4, 5), Sampling(top_k=3, logit_bias={4: -1.0})])
def test_copies(value: Record) -> None:
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == copy.copy(value) == value.replace() == value
    assert hash(copy.copy(value)) == hash(value)
