"""One character for all tests of this folder: building it takes seconds."""

import numpy as np
import pytest
from cut_heads import Built, build_cut

from parlante.retarget.mesh import build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A person of ours with z up, 37 times as large, each triangle cut in four, without eyes and teeth."""
    strip = np.random.default_rng(0).integers(0, 256, (168, 1024, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(build, "parts_texture", lambda *_: strip)  # painting takes long, and is tested elsewhere
        return build_cut(tmp_path_factory.mktemp("character"))
