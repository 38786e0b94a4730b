"""Samplers of TexTalker: those of the library are the ones we mean, few steps approach many, misuse is refused."""

import sys

import pytest
import torch

from parlante.core import InputError, MissingExtra
from parlante.models.textalker.denoiser import DenoiserConfig
from parlante.models.textalker.diffusion import LatentDiffusion
from parlante.models.textalker.sampling import SOLVERS, ddim, library_scheduler, solve
from parlante.models.textalker.schedule import DiffusionSchedule

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of the library
TABLE = DiffusionSchedule(100)


@pytest.fixture
def estimate():
    """A smooth estimate that depends on the noisy state and, a little, on the step."""
    torch.manual_seed(0)
    weight, bias = 0.3 * torch.randn(6, 6), torch.randn(1, 4, 6)
    return lambda x, step: torch.tanh(x @ weight * (1 + 0.1 * step / 100) + bias)


@pytest.mark.parametrize("steps", [1, 2, 10, 20, 50])
def test_library_visits_our_steps(steps):
    pytest.importorskip("diffusers")
    for solver in ("ddim", "dpmsolver++", "unipc"):
        times = library_scheduler(solver, TABLE, steps).timesteps
        assert [int(i) + 1 for i in times] == TABLE.few(steps)
    for solver in ("dpmsolver++", "sde-dpmsolver++"):
        times = library_scheduler(solver, TABLE, steps, "quadratic").timesteps
        assert [int(i) + 1 for i in times] == TABLE.few(steps, "quadratic")


def test_quadratic_steps_are_denser_towards_the_clean_end():
    assert TABLE.few(5, "quadratic") == [100, 64, 36, 16, 4]
    for count in range(1, 101):
        steps = TABLE.few(count, "quadratic")
        assert len(set(steps)) == count and steps == sorted(steps, reverse=True) and steps[0] == 100 and steps[-1] >= 1
    assert TABLE.few(100, "quadratic") == TABLE.few(100)


def test_quadratic_steps_end_nearer_to_all_steps():
    """Where the data are narrow, as conditioned motion is, even steps skip the levels of noise that matter."""
    pytest.importorskip("diffusers")
    narrow = 0.05

    def exact(x: torch.Tensor, step: int) -> torch.Tensor:
        """The best estimate for numbers that are normal with deviation `narrow` about 0."""
        bar = TABLE.alpha_bars[step]
        return bar.sqrt() * narrow**2 / (bar * narrow**2 + 1 - bar) * x

    def spread(solver: str, steps: int, spacing: str = "even") -> float:
        torch.manual_seed(0)
        return solve(solver, exact, TABLE, torch.randn(1, 100, 100), steps, spacing=spacing).std().item()

    for few, every in (("ddim", "ddim"), ("dpmsolver++", "ddim"), ("sde-dpmsolver++", "ancestral")):
        goal = spread(every, 100)
        assert abs(spread(few, 20, "quadratic") - goal) < 0.5 * abs(spread(few, 20) - goal)


@pytest.mark.parametrize("steps", [1, 4, 20, 100])
def test_our_ddim_is_the_library_one(estimate, steps):
    pytest.importorskip("diffusers")
    start = torch.randn(1, 4, 6)
    scheduler, x = library_scheduler("ddim", TABLE, steps), start
    for time in scheduler.timesteps:
        x = scheduler.step(estimate(x, int(time) + 1), time, x, eta=0.0).prev_sample
    torch.testing.assert_close(ddim(estimate, TABLE, start, steps), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("solver", ["ddim", "dpmsolver++", "unipc"])
def test_more_steps_come_closer(estimate, solver):
    if solver != "ddim":
        pytest.importorskip("diffusers")
    start = torch.randn(1, 4, 6)
    limit = ddim(estimate, TABLE, start, 100)
    errors = [(solve(solver, estimate, TABLE, start, n) - limit).norm().item() for n in (2, 5, 20)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.3 * errors[0]


def test_ancestral_sampling_is_its_own_draws(estimate):
    start = torch.randn(1, 4, 6)

    def drawn(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        noise = lambda step, like: torch.randn(like.shape, generator=generator)  # noqa: E731
        return solve("ancestral", estimate, TABLE, start, 100, noise)

    assert torch.equal(drawn(1), drawn(1)) and not torch.allclose(drawn(1), drawn(2))


def test_misuse_is_refused(estimate, monkeypatch):
    start = torch.randn(1, 4, 6)
    with pytest.raises(InputError, match=r"'euler'.*ancestral, ddim"):
        solve("euler", estimate, TABLE, start, 5)
    with pytest.raises(InputError, match=r"all 100 steps, got 5"):
        solve("ancestral", estimate, TABLE, start, 5)
    with pytest.raises(InputError, match=r"1\.\.100, got 101"):
        solve("ddim", estimate, TABLE, start, 101)
    with pytest.raises(InputError, match=r"'cubic'.*even, quadratic"):
        solve("ddim", estimate, TABLE, start, 5, spacing="cubic")
    with pytest.raises(InputError, match="unipc takes even steps"):
        solve("unipc", estimate, TABLE, start, 5, spacing="quadratic")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtra, match=r"\[samplers\]"):
        solve("unipc", estimate, TABLE, start, 5)


def tiny(**changes) -> LatentDiffusion:
    sizes = {"motion_dim": 6, "wrinkle_dim": 4, "width": 16, "heads": 2, "layers": 2, "frames": 8, "previous": 3}
    torch.manual_seed(0)
    return LatentDiffusion(DenoiserConfig(**{**sizes, "steps": 20, **changes}), 5).eval()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("style_dim", [0, 3])
def test_guidance_one_is_the_conditional_pass_alone(solver, style_dim):
    """Guidance 1 calls the network once a step on one copy; close to 1 it answers nearly the same with two."""
    if solver not in ("ddim", "ancestral"):
        pytest.importorskip("diffusers")
    model = tiny(style_dim=style_dim)
    sizes: list[int] = []
    model.denoising_net.motion_dec.register_forward_hook(lambda _, given, answer: sizes.append(len(answer)))
    style = torch.randn(1, style_dim) if style_dim else None
    steps = 20 if solver == "ancestral" else 5
    audio, start = torch.randn(1, 8, 16), torch.randn(1, 8, 10)
    draws = torch.randn(21, 1, 8, 10)

    def made(guidance: float) -> torch.Tensor:
        sizes.clear()
        return model.sample(
            audio, None, torch.ones(1, 8), start, steps=steps, style=style, guidance=guidance, solver=solver,
            noise=lambda t, like: draws[t],
        )  # fmt: skip

    once = made(1.0)
    assert sizes == [1] * steps
    twice = made(1.0 + 1e-6)
    assert sizes == [2] * steps
    torch.testing.assert_close(once, twice, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["motion_dim", "wrinkle_dim"])
def test_one_kind_alone(kind):
    model = tiny(**{kind: 0})
    made = model.sample(torch.randn(1, 8, 16), None, torch.ones(1, 8), torch.randn(1, 8, model.config.latent_dim))
    assert made.shape == (1, 8, model.config.latent_dim) and torch.isfinite(made).all()
    with pytest.raises(ValueError, match="motion, wrinkles or both"):
        DenoiserConfig(motion_dim=0, wrinkle_dim=0)
