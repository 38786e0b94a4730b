"""Families by name: what a plug-in's network must have."""

from types import SimpleNamespace

import pytest
from torch import nn

from parlante.core import InputError
from parlante.models.components.motion_family import MotionFamily
from parlante.models.registry import FamilySpec


class Half(MotionFamily):
    """A network that its author has not finished."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()
        self.config = config

    def style_embedding(self) -> None: ...

    def generate(self) -> None: ...


class Bare(nn.Module):
    """One that knows nothing of the contract."""

    def __init__(self, config: SimpleNamespace) -> None:
        super().__init__()


def spec(network: str, **fields: bool) -> FamilySpec:
    return FamilySpec(name="half", network=f"{__name__}:{network}", config="types:SimpleNamespace", **fields)


def test_what_a_network_lacks_is_named() -> None:
    with pytest.raises(
        InputError, match=r"family 'half', .*:Half, has no session, forward; derive it from .*MotionFam"
    ):
        spec("Half").make()
    with pytest.raises(InputError, match=r"has no config, style_embedding, generate, session, voice_style, .*forward;"):
        spec("Bare").make()
    assert spec("Bare", on_coordinates=False).make() is not None
