"""Eight short animations stay what they were: weights, head pose, vertices and wrinkle maps.

The records in `records/` may change only in a commit that says why. They are made anew by
`python tools/golden_animations.py --write`.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from golden_cases import CASES, Case, Workshop, threads
from golden_numbers import RECORDS, TOLERANCES, against_record, against_whole, read, recorded

LIMIT = 1_500_000


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One folder for all cases, and one thread, in which the records were made."""
    with threads(1):
        yield Workshop(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_animation_is_what_it_was(case: Case, workshop: Workshop) -> None:
    if case.needs_transformers:
        pytest.importorskip("transformers", reason="speech networks need parlante[encoders]")
    found = against_record(read(workshop.make(case)), read(RECORDS / f"{case.name}.npz"))
    wrong = [str(one) for one in found if not one.tolerated]
    assert not wrong, "\n".join(
        [f"{case.name} is not what it was.", *wrong, "A change that is meant: record anew in a commit that says why."]
    )


def test_one_small_record_for_each_case() -> None:
    files = {path.stem: path.stat().st_size for path in RECORDS.iterdir()}
    assert set(files) == {case.name for case in CASES} and sum(files.values()) < LIMIT


@pytest.mark.parametrize("name", TOLERANCES)
def test_a_change_is_noticed_and_told(name: str) -> None:
    frames, draw = 3, np.random.default_rng(0)
    animation = {
        "vertices": draw.random((frames, 600, 3), np.float32),
        "weights": draw.random((frames, 52), np.float32),
        "head_pose": draw.random((frames, 6), np.float32),
        "wrinkle": draw.integers(9, 99, (frames, 64, 64, 3), np.uint8),
        "weight_names": np.array([f"shape{n}" for n in range(52)]),
    }
    record = recorded(animation)
    assert all(one.tolerated for one in against_record(animation, record))
    for share, wanted in ((0.5, True), (3.0, False)):
        changed, first = animation[name].copy(), (1,) + (0,) * (animation[name].ndim - 1)
        changed[first] += changed.dtype.type(np.ceil(share) if name == "wrinkle" else share * TOLERANCES[name])
        now = {**animation, name: changed}
        for found in (against_record(now, record), against_whole(now, animation)):
            (one,) = [each for each in found if each.largest]
            assert one.name == name and one.tolerated is wanted, one
    assert f"{name}: DIFFERS" in str(one) and f"tolerated {TOLERANCES[name]:g}; at {first}" in str(one)


def test_names_shapes_and_numbers_that_are_none_are_noticed() -> None:
    animation = {"vertices": np.zeros((2, 9, 3), np.float32), "weights": np.zeros((2, 52), np.float32)}
    record = recorded(animation)
    broken = animation["weights"].copy()
    broken[1, 3] = np.nan
    for changed in (
        {**animation, "weights": animation["weights"][:, 1:]},
        {**animation, "head_pose": np.zeros((2, 6), np.float32)},
        {"vertices": animation["vertices"]},
        {**animation, "weights": broken},
    ):
        assert not all(one.tolerated for one in against_record(changed, record))
        assert not all(one.tolerated for one in against_whole(changed, animation))
