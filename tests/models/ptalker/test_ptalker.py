"""PTalker beyond the shared laws: its styles, its training terms and the paper's alignments."""

from typing import Any

import pytest
import torch
from tiny_families import SIZES, TinyPTalker
from torch import Tensor, nn

from parlante.core import InputError
from parlante.models.ptalker.alignment import SpatialAlignment, TemporalAlignment
from parlante.models.ptalker.model import PTalker, PTalkerConfig
from parlante.models.ptalker.objective import CONSTRAINTS, ObjectiveTerms, TermWeights, objective

EDGES = torch.tensor([(i, j) for i, j in [(0, 1), (1, 2), (2, 3)] for i, j in [(i, j), (j, i)]])
MOUTH = torch.tensor([1, 3, 3])


def tiny(**more: Any) -> PTalker:
    """In double precision, evaluation mode, random where training would start from zero."""
    torch.manual_seed(0)
    sizes = {**SIZES, "emotion_dim": 6, "motion_layers": 2, "motion_convolutions": 2, **more}
    model = PTalker(PTalkerConfig(**sizes)).double().eval()
    if model.config.spatial_edges:
        model.connect(EDGES)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.3)
    return model


def batch(model: PTalker, count: int = 1, frames: int = 9) -> dict[str, Tensor]:
    family = TinyPTalker()
    made = family.inputs(model, count, frames)
    people = torch.arange(count) % model.config.subjects
    return {**made, "weights": torch.eye(model.config.subjects, dtype=torch.float64)[people]}


def terms(model: PTalker, given: dict[str, Tensor], **more: Any) -> ObjectiveTerms:
    names = ("features", "motion", "weights", "emotion")
    return objective(model, *(given[name] for name in names), mouth=MOUTH, **more)


# -- styles


def test_the_whole_reference_clip_counts() -> None:
    model = tiny()
    reference = batch(model)["reference"]
    code = model.style_embedding(reference_motion=reference)
    changed = reference.clone()
    changed[:, -1] += 1.0
    assert (model.style_embedding(reference_motion=changed) - code).norm() > 1e-3


def test_released_reference_reads_its_first_frame_only() -> None:
    model = tiny()
    given = batch(model)

    def run(reference: Tensor) -> Tensor:
        return model.generate(
            given["features"], mode="reference", emotion=given["emotion"], reference_motion=reference, reference=True
        )

    other = given["reference"].clone()
    other[:, 1:] += 1.0
    assert torch.equal(run(given["reference"]), run(other))
    other[:, 0] += 1.0
    assert not torch.equal(run(given["reference"]), run(other))


def test_modes_are_what_the_code_is_made_of() -> None:
    model = tiny()
    given = batch(model, 2)
    features, weights, emotion, reference = (given[k] for k in ("features", "weights", "emotion", "reference"))
    codes: dict[str, Tensor] = {
        "seen": model.style_embedding(weights, emotion=emotion),
        "unseen": model.style_embedding(emotion=emotion),
        "reference": model.style_embedding(emotion=emotion, reference_motion=reference),
    }
    parts = {"seen": {"weights": weights}, "unseen": {}, "reference": {"reference_motion": reference}}
    for mode, code in codes.items():
        made = model.generate(features, mode=mode, emotion=emotion, **parts[mode])  # type: ignore[arg-type]
        torch.testing.assert_close(made, model.generate(features, code), rtol=0, atol=1e-10)
    nobody = model.generate(features, mode="unseen")
    assert torch.equal(nobody, model.generate(features, model.start_token[:, 0].expand(2, -1)))


@pytest.mark.parametrize(
    "more, message",
    [
        ({}, "mode"),
        ({"mode": "seen"}, "needs weights"),
        ({"mode": "reference"}, "needs reference_motion"),
        ({"mode": "heard"}, "no mode 'heard'"),
        ({"mode": "unseen", "reference": True}, "emotion"),
        ({"style": torch.zeros(1, 16, dtype=torch.float64), "reference": True}, "needs a mode"),
        ({"mode": "seen", "weights": torch.ones(1, 7, dtype=torch.float64)}, "7 subjects, this model 3"),
    ],
)
def test_what_a_mode_lacks_is_said(more: dict[str, Any], message: str) -> None:
    model = tiny()
    with pytest.raises(InputError, match=message):
        model.generate(batch(model)["features"], **more)


def test_released_modes_of_one_frame_and_of_a_batch() -> None:
    model = tiny()
    given = batch(model, 2, frames=6)
    together = model.generate(
        given["features"], mode="seen", weights=given["weights"], emotion=given["emotion"], reference=True
    )
    for item in range(2):
        one = {k: v[item : item + 1] for k, v in given.items()}
        alone = model.generate(
            one["features"], mode="seen", weights=one["weights"], emotion=one["emotion"], reference=True
        )
        torch.testing.assert_close(together[item : item + 1], alone, rtol=0, atol=1e-10)
        short = model.generate(
            one["features"][:, :2], mode="seen", weights=one["weights"], emotion=one["emotion"], reference=True
        )
        assert short.shape == (1, 1, 12), "the second first token comes with the second frame"
        assert not torch.allclose(short, alone[:, :1])


def test_any_length() -> None:
    model = tiny()
    features = torch.randn(1, 2 * 700, 10, dtype=torch.float64)
    long = model.generate(features, mode="unseen")
    assert long.shape == (1, 700, 12)
    torch.testing.assert_close(long[:, :40], model.generate(features[:, :80], mode="unseen"), rtol=0, atol=1e-10)


def test_layers_that_do_nothing_are_there_only_on_request() -> None:
    ours, theirs = tiny().state_dict().keys(), tiny(dead_layers=True).state_dict().keys()
    extra = {f"{side}_motion.motion_map.{part}" for side in ("content", "style") for part in ("weight", "bias")}
    assert theirs - ours == extra and not ours - theirs


# -- training terms


def test_every_weight_learns() -> None:
    model = tiny(spatial_edges=len(EDGES), temporal_window=2)
    terms(model, batch(model, 3), term_weights=TermWeights(auxiliary=1.0)).total.backward()
    gate = tuple(f"onehot_style_encoder.attention.W{k}." for k in "qk")
    dead = [k for k, v in model.named_parameters() if (v.grad is None or not v.grad.any()) and not k.startswith(gate)]
    assert not dead


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_every_term_can_be_switched_off(name: str) -> None:
    model = tiny()
    given = batch(model, 2)
    weights = TermWeights(auxiliary=0.5, info_audio=0.5)
    with_it = terms(model, given, term_weights=weights)
    without = terms(model, given, term_weights=TermWeights(**{**weights.__dict__, name: 0.0}))
    assert with_it.terms[name] != 0
    share = 0.01 * getattr(weights, name) * with_it.terms[name]
    torch.testing.assert_close(with_it.total - without.total, share, rtol=1e-6, atol=1e-12)


def test_a_batch_of_unequal_lengths_is_the_mean_of_its_clips() -> None:
    model = tiny()
    lengths = torch.tensor([9, 5, 7])
    given = batch(model, 3)
    together = terms(model, given, lengths=lengths, emotion_lengths=3 * lengths)
    alone = [terms(model, TinyPTalker().cut(model, given, i, n)) for i, n in enumerate(lengths.tolist())]
    errors = ("reconstruction", "mouth", "velocity")
    for name in (*errors, "orthogonal_audio", "orthogonal_motion", "contrastive", "kl", "adversarial"):
        wanted = torch.stack([one.terms[name] for one in alone]).mean()
        torch.testing.assert_close(together.terms[name], wanted, rtol=1e-9, atol=1e-12, msg=name)
    for i, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(together.content[i, :n], alone[i].content[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(together.style[i], alone[i].style[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(together.prediction[i, :n], alone[i].prediction[0], rtol=0, atol=1e-10)
    assert together.terms["info_motion"] > 0 and alone[0].terms["info_motion"] == 0


def test_the_mouth_is_where_its_vertices_are() -> None:
    model = tiny()
    given = batch(model)
    with torch.no_grad():
        perfect = {**given, "motion": terms(model, given).prediction}
        far = {**perfect, "motion": perfect["motion"].clone()}
        far["motion"][:, -1, 3 * 3 + 1] += 1.0  # vertex 3, in the mouth; the last frame feeds nothing
        near, moved = terms(model, perfect), terms(model, far)
        change = moved.terms["mouth"] - near.terms["mouth"]
        wrong = terms(model, far, reference=True).terms["mouth"] - terms(model, perfect, reference=True).terms["mouth"]
    assert change.abs() > 1e-3 and wrong == 0, "the published indices point at other coordinates"


def test_withheld_styles_and_another_clip_of_the_speaker() -> None:
    model = tiny()
    given = batch(model, 2)
    withheld = terms(model, given, style_dropout=1.0).prediction
    bare = model(given["features"], given["motion"], model.style_embedding(given["weights"]))
    torch.testing.assert_close(withheld, bare, rtol=0, atol=1e-12)
    other = terms(model, given, reference_motion=given["reference"]).prediction
    code = model.style_embedding(given["weights"], emotion=given["emotion"], reference_motion=given["reference"])
    torch.testing.assert_close(other, model(given["features"], given["motion"], code), rtol=0, atol=1e-12)


def test_scheduled_sampling_ends_in_running_free() -> None:
    model = tiny()
    given = batch(model, 2)
    code = model.style_embedding(given["weights"])
    given_all = (given["features"], given["motion"], code)
    free = model.generate(given["features"], code)
    frames = given["motion"].shape[1]
    torch.testing.assert_close(model(*given_all, sampling=1.0, passes=frames), free, rtol=0, atol=1e-9)
    forced = model(*given_all)

    def half() -> Tensor:
        return model(*given_all, sampling=0.5, generator=torch.Generator().manual_seed(3))

    assert torch.equal(half(), half()), "the same seed draws the same frames"
    assert not torch.allclose(half(), forced) and not torch.allclose(half(), free)
    assert torch.equal(half()[:, 0], forced[:, 0]), "the first frame has nothing before it"
    half().sum().backward()
    assert model.vertice_encoder.weight.grad is not None


def test_clips_too_short_for_content_are_refused() -> None:
    model = tiny()
    with pytest.raises(ValueError, match="at least 2 frames"):
        terms(model, batch(model, frames=1))


# -- the paper's alignments


@pytest.mark.parametrize("more", [{"spatial_edges": len(EDGES)}, {"temporal_window": 3}], ids=["spatial", "temporal"])
def test_alignments_start_as_nothing_and_keep_the_laws(more: dict[str, int]) -> None:
    plain = tiny()
    torch.manual_seed(1)
    fresh = PTalker(PTalkerConfig(**{**plain.config.__dict__, **more})).double().eval()
    missing, unexpected = fresh.load_state_dict(plain.state_dict(), strict=False)
    assert missing and not unexpected
    if "spatial_edges" in more:
        fresh.connect(EDGES)
    given = batch(plain, 2, frames=11)
    code = plain.style_embedding(given["weights"])
    same = plain.generate(given["features"], code)
    torch.testing.assert_close(fresh.generate(given["features"], code), same, rtol=0, atol=1e-9)

    model = tiny(**more)
    code = model.style_embedding(given["weights"])
    made = model.generate(given["features"], code)
    assert not torch.allclose(made, same)
    torch.testing.assert_close(model(given["features"], made, code), made, rtol=0, atol=1e-9)
    session = model.session(code)
    pieces = [session.push(given["features"][:, a:b]) for a, b in ((0, 2), (2, 10), (10, 10), (10, 14), (14, 22))]
    torch.testing.assert_close(torch.cat(pieces, 1), made, rtol=0, atol=1e-10)
    features = given["features"].clone().requires_grad_()
    model(features, made, code)[:, 5].sum().backward()
    assert features.grad is not None and features.grad[:, :12].any() and not features.grad[:, 12:].any()


def test_graph_attention_equals_a_loop_over_vertices() -> None:
    torch.manual_seed(0)
    layer = SpatialAlignment(len(EDGES), width=6, heads=2).double()
    layer.connect(EDGES)
    nn.init.normal_(layer.lower.weight)
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h = layer.lift(x).unflatten(-1, (2, 3))
    wanted = x.clone()
    for i in range(5):
        around = [i] + [int(a) for a, b in EDGES if b == i]
        logits = torch.stack([(h[:, j] * layer.sender + h[:, i] * layer.receiver).sum(-1) for j in around], 1)
        share = nn.functional.leaky_relu(logits, 0.2).softmax(1)  # (B, neighbours, heads)
        mixed = (share[..., None] * h[:, around]).sum(1).flatten(1)
        wanted[:, i] += layer.lower(nn.functional.elu(mixed))
    torch.testing.assert_close(layer(x), wanted)
    with pytest.raises(ValueError, match="vertex 3, but the motion has 2"):
        layer(x[:, :2])
    with pytest.raises(ValueError, match=r"\(6, 2\) as configured"):
        layer.connect(EDGES[:3])


def test_temporal_alignment_looks_back_its_window() -> None:
    torch.manual_seed(0)
    layer = TemporalAlignment(8, window=3, heads=2, steps_per_frame=2).double().eval()
    nn.init.normal_(layer.out.weight)
    tokens = torch.randn(1, 7, 8, dtype=torch.float64)
    memory = torch.randn(1, 14, 8, dtype=torch.float64, requires_grad=True)
    layer(tokens, memory)[:, 4].sum().backward()
    assert memory.grad is not None
    heard = memory.grad.any(-1)[0]
    assert heard[4:10].all() and not heard[:4].any() and not heard[10:].any()


def test_alignment_of_coefficients_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 3"):
        PTalkerConfig(motion_dim=40, spatial_edges=8)
    with pytest.raises(ValueError, match="no spatial alignment"):
        tiny().connect(EDGES)
