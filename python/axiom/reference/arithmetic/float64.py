"""`exp`, `ln`, `sin` and `cos` in binary64, the same bits on every machine.

Twin of `axiom_core::arithmetic::float64`, operation for operation: only `+ - * /` and moves of bits, each rounded
on its own (nearest, ties to even). `numpy.exp` and its kin are never asked: their bits depend on the processor and
on the numpy in use. Every function takes a number or an array of any shape and gives float64 of that shape.

The reductions are those of FDLIBM (K. C. Ng, Sun Microsystems, 1993) with Taylor coefficients; the reduction by pi/2
is Cody and Waite's in four parts with the lost bits carried along. Errors: `exp` under 1.5 ulp, the others under
1 ulp; `sin` and `cos` up to a magnitude of 2**21, NaN beyond.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64] | np.float64

ROUND_TO_INTEGER = 6755399441055744.0
"""1.5 * 2**52: adding it to a number of magnitude below 2**51 and taking it away rounds to an integer, ties to even."""

LN2_INVERSE = float.fromhex("0x1.71547652b82fep+0")
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
"""The first 32 bits of ln 2: its product with an integer of 21 bits is exact."""
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")

PI_2_INVERSE = float.fromhex("0x1.45f306dc9c883p-1")
PI_2 = (
    float.fromhex("0x1.921fb54000000p+0"),
    float.fromhex("0x1.10b4611800000p-30"),
    float.fromhex("0x1.313198a000000p-61"),
    float.fromhex("0x1.701b839a25205p-92"),
)
"""pi/2 in three parts of 30 bits, whose products with an integer of 23 bits are exact, and a rounded rest."""

# Python divides integers with one rounding, so each coefficient is the binary64 nearest to the rational number.
EXP_TERMS = tuple(1 / factorial(n) for n in range(2, 14))
LN_TERMS = tuple(2 / n for n in range(3, 22, 2))
SIN_TERMS = tuple((-1) ** (n // 2) / factorial(n) for n in range(3, 18, 2))
COS_TERMS = tuple((-1) ** (n // 2) / factorial(n) for n in range(4, 17, 2))

TRIGONOMETRIC_LIMIT = 2097152.0
"""The largest magnitude that `sin` and `cos` take: 2**21, more than any position times any rope frequency."""

SQRT_2 = float.fromhex("0x1.6a09e667f3bcdp+0")


def _polynomial(x: Any, terms: tuple[float, ...]) -> Any:
    """`terms[0] + x * (terms[1] + x * (...))`, from the last term inwards (Horner)."""
    total: Any = terms[-1]
    for term in terms[-2::-1]:
        total = term + x * total
    return total


def _power_of_two(exponent: Any) -> Any:
    """2**exponent for exponents of normal numbers, -1022 to 1023, as int64."""
    return ((exponent + 1023) << 52).view(np.float64)


def exp(x: ArrayLike) -> Float64:
    """e to the power `x`: above 746 infinity, below -746 zero, NaN for NaN."""
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(all="ignore"):
        inside = np.where((x >= -746.0) & (x <= 746.0), x, 0.0)
        # inside = k ln 2 + r with |r| <= ln 2 / 2: the product with the high part is exact, and so is its difference.
        k = (inside * LN2_INVERSE + ROUND_TO_INTEGER) - ROUND_TO_INTEGER
        r = (inside - k * LN2_HIGH) - k * LN2_LOW
        y = 1.0 + (r + (r * r) * _polynomial(r, EXP_TERMS))
        # k reaches past the exponents of normal numbers: half of it first, which is exact, then the rest, which
        # rounds at most once (into the subnormals or to infinity).
        exponent = k.astype(np.int64)
        half = exponent >> 1
        y = (y * _power_of_two(half)) * _power_of_two(exponent - half)
        y = np.where(x > 746.0, np.inf, np.where(x < -746.0, 0.0, y))
        result: Float64 = np.where(np.isnan(x), np.nan, y)[()]
    return result


def ln(x: ArrayLike) -> Float64:
    """The natural logarithm: minus infinity for both zeros, NaN below zero and for NaN."""
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(all="ignore"):
        finite = np.where((x > 0.0) & (x < np.inf), x, 1.0)
        subnormal = finite < np.finfo(np.float64).tiny
        # 2**54 lifts every subnormal into the normal numbers without rounding.
        bits = np.where(subnormal, finite * 18014398509481984.0, finite).view(np.int64)
        k = ((bits >> 52) - 1023).astype(np.float64)
        k = np.where(subnormal, k - 54.0, k)
        # finite = 2**k m with m from 1 to 2, then from about 1/sqrt(2) to sqrt(2).
        m = ((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000).view(np.float64)
        above = m > SQRT_2
        m = np.where(above, m * 0.5, m)
        k = np.where(above, k + 1.0, k)
        # ln(1 + f) = f - f²/2 + s (f²/2 + R) with s = f / (2 + f) and R the series of 2 atanh(s) / s - 2.
        f = m - 1.0
        s = f / (2.0 + f)
        z = s * s
        rest = z * _polynomial(z, LN_TERMS)
        half_square = (0.5 * f) * f
        y = k * LN2_HIGH - ((half_square - (s * (half_square + rest) + k * LN2_LOW)) - f)
        y = np.where(x == 0.0, -np.inf, np.where(x == np.inf, np.inf, y))
        result: Float64 = np.where(np.isnan(x) | (x < 0.0), np.nan, y)[()]
    return result


def _difference(a: Any, b: Any) -> tuple[Any, Any]:
    """`a - b` as the rounded difference and the exact error of that rounding (Knuth's two-sum)."""
    rounded = a - b
    b_seen = rounded - a
    return rounded, (a - (rounded - b_seen)) - (b + b_seen)


def _reduce(x: Any) -> tuple[Any, Any, Any]:
    """`x` = n pi/2 + r + t: n modulo 4, r of magnitude up to about pi/4, t the bits that r could not hold."""
    n = (x * PI_2_INVERSE + ROUND_TO_INTEGER) - ROUND_TO_INTEGER
    # Exact: the product has 51 bits, and the two lie within a factor of two of each other (or n is 0).
    first = x - n * PI_2[0]
    second, second_lost = _difference(first, n * PI_2[1])
    third, third_lost = _difference(second, n * PI_2[2])
    low = (second_lost + third_lost) - n * PI_2[3]
    r = third + low
    return n.astype(np.int64) & 3, r, (third - r) + low


def _sin_reduced(r: Any, t: Any) -> Any:
    """sin(r + t) for r of magnitude up to about pi/4 and a far smaller t."""
    z = r * r
    return r + ((r * z) * _polynomial(z, SIN_TERMS) + t * (1.0 - 0.5 * z))


def _cos_reduced(r: Any, t: Any) -> Any:
    """cos(r + t) for r of magnitude up to about pi/4 and a far smaller t."""
    z = r * r
    half = 0.5 * z
    lead = 1.0 - half
    return lead + (((1.0 - lead) - half) + ((z * z) * _polynomial(z, COS_TERMS) - r * t))


def _by_quadrant(x: ArrayLike, turn: int) -> Float64:
    """The sine of `x` + `turn` quarter turns, the quarter turns added exactly."""
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(all="ignore"):
        inside = np.abs(x) <= TRIGONOMETRIC_LIMIT
        n, r, t = _reduce(np.where(inside, x, 0.0))
        quadrant = (n + turn) & 3
        y = np.where(quadrant & 1 == 1, _cos_reduced(r, t), _sin_reduced(r, t))
        y = np.where(quadrant >= 2, -y, y)
        result: Float64 = np.where(inside, y, np.nan)[()]
    return result


def sin(x: ArrayLike) -> Float64:
    """The sine of `x` radians; NaN beyond `TRIGONOMETRIC_LIMIT`; the sine of either zero is +0."""
    return _by_quadrant(x, 0)


def cos(x: ArrayLike) -> Float64:
    """The cosine of `x` radians; NaN beyond `TRIGONOMETRIC_LIMIT`."""
    return _by_quadrant(x, 1)
