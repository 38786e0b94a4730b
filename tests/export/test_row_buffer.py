"""Rows come back as they were given, and are copies."""

import numpy as np

from parlante.export.row_buffer import RowBuffer


def test_rows_of_many_chunks() -> None:
    rows, parts = RowBuffer(), [np.random.default_rng(n).normal(size=(n, 6)) for n in (700, 1, 0, 3000, 24)]
    assert not rows and len(rows) == 0
    for part in parts:
        given = part.copy()
        rows.append(given)
        given[:] = np.nan
    assert len(rows) == 3725 and rows.array().dtype == np.float32
    np.testing.assert_array_equal(rows.array(), np.concatenate(parts).astype(np.float32))
