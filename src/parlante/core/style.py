"""Who to move like."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Style:
    """A pair of style pivots (TexTalker, section "style pivots"): the mean latents of a person's motion and wrinkles.

    Each may come from another person. Mixing and strengthening are arithmetic on the arrays.
    """

    motion: NDArray[np.float32]
    """(C, h, w) mean motion latent."""
    wrinkle: NDArray[np.float32]
    """(C, h, w) mean wrinkle latent."""
    name: str = ""

    def mix(self, other: "Style", amount: float) -> "Style":
        """This style moved towards `other`: 0 is this one, 1 the other; beyond 1 exaggerates the difference."""
        return Style(
            self.motion + amount * (other.motion - self.motion),
            self.wrinkle + amount * (other.wrinkle - self.wrinkle),
            f"{self.name}+{amount:g}*({other.name}-{self.name})",
        )
