"""A table with rows for the parts' strip is higher than wide."""

import numpy as np

from parlante.retarget.mesh.wrinkle import carry_wrinkles


def test_a_table_need_not_be_square() -> None:
    maps = np.full((2, 4, 4, 3), 118, np.uint8)
    maps[1, 3, 0] = 30  # the bottom left texel: u = 1/8, v = 1/8
    table = np.full((3, 2, 2), np.nan, np.float32)
    table[1, 1] = 1 / 8, 1 / 8
    carried = carry_wrinkles(maps, table)
    assert carried.shape == (2, 3, 2, 3)
    changed = np.argwhere((carried != 118).all(-1))
    assert changed.tolist() == [[1, 1, 1]] and (carried[1, 1, 1] == 30).all()
