"""Ranges of numbers as part of a field's type: `batch: Count = 8`. Recipes are checked against them and show them."""

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included unless `above` leaves `low` out; none: no limit."""

    low: float | None = None
    high: float | None = None
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range; infinities and NaN never do."""
        if not math.isfinite(value):
            return False
        enough = self.low is None or value > self.low or (value == self.low and not self.above)
        return enough and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if self.low is None:
            return "" if self.high is None else f"up to {self.high:g}"
        if self.above:
            return f"above {self.low:g}" + ("" if self.high is None else f", at most {self.high:g}")
        return f"from {self.low:g} on" if self.high is None else f"in {self.low:g}..{self.high:g}"


Count = Annotated[int, Range(1)]
"""How many of something that there must be."""
Whole = Annotated[int, Range(0)]
"""How many of something that may be missing; a seed."""
Amount = Annotated[float, Range(0)]
"""A weight, a deviation, a strength."""
Positive = Annotated[float, Range(0, above=True)]
"""A rate or a length."""
Share = Annotated[float, Range(0, 1)]
"""A part of a whole, or a chance."""
