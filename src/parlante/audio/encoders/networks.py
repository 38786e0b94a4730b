"""Building wav2vec 2.0, HuBERT and WavLM networks with `transformers`, and reading their sizes out of a checkpoint.

Networks: Baevski et al. 2020 (arXiv:2006.11477), Hsu et al. 2021 (arXiv:2106.07447), Chen et al. 2022
(arXiv:2110.13900). A *network config* is a plain dict: `model_type` and the fields of the transformers class of that
name that differ from its defaults.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parlante.audio.encoders.weight_norm import to_new
from parlante.core import InputError, MissingExtra

NETWORKS = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM"}
"""model_type -> class name stem in transformers."""
HEADS = {768: 12, 1024: 16}
"""Attention heads of the published widths; a file does not tell."""
FIELDS = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps",
    "conv_dim", "conv_stride", "conv_kernel", "conv_bias", "feat_extract_norm", "feat_extract_activation",
    "num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "do_stable_layer_norm", "feat_proj_layer_norm",
    "conv_pos_batch_norm", "num_buckets", "max_bucket_distance", "apply_spec_augment", "mask_time_prob",
    "mask_time_length", "mask_time_min_masks", "hidden_dropout", "attention_dropout", "activation_dropout",
    "feat_proj_dropout", "layerdrop",
)  # fmt: skip
"""What of a transformers config matters to the function and its training; kept in our own config files."""


def transformers() -> Any:
    """The library, imported when first needed. Raises MissingExtra without it."""
    try:
        import transformers as library
    except ImportError as error:
        raise MissingExtra("transformers", "encoders") from error
    return library


def build(network: Mapping[str, Any]) -> nn.Module:
    """A network with fresh weights. Raises InputError on a config that transformers cannot use."""
    stem = _stem(network.get("model_type"))
    library = transformers()
    fields = {k: v for k, v in network.items() if k != "model_type"}
    try:
        config = getattr(library, stem + "Config")(**fields)
        model: nn.Module = getattr(library, stem + "Model")(config)
    except (TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
        raise InputError(f"cannot build a {network['model_type']} speech network: {error}") from error
    return model


def fetch(name: str | Path, *, local_files_only: bool = False) -> nn.Module:
    """A pretrained network by hub name or from a local folder. Raises InputError in one line, whatever is wrong."""
    library = transformers()
    folder = Path(name)
    local = folder.is_dir()
    where = f"folder {name}" if local else f"hub name {str(name)!r}"
    offline = local or local_files_only
    before = library.logging.get_verbosity()
    library.logging.set_verbosity_error()  # a checkpoint may bring heads that are not wanted here
    try:
        config = library.AutoConfig.from_pretrained(str(name), local_files_only=offline)
        kind = getattr(library, _stem(config.model_type) + "Model")
        model, found = kind.from_pretrained(
            str(name), config=config, local_files_only=offline, output_loading_info=True
        )
    except InputError:
        raise
    except Exception as error:  # the hub client has errors of many kinds; each is about what the user named
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        hint = (
            "the folder needs config.json and model.safetensors"
            if local
            else "it is no local folder either; check the name and the network, or give a folder that holds "
            "config.json and model.safetensors"
        )
        raise InputError(f"cannot load a speech network from {where}: {reason}; {hint}") from error
    finally:
        library.logging.set_verbosity(before)
    absent = sorted(set(found["missing_keys"]) - {"masked_spec_embed"})
    if absent:
        raise InputError(f"speech network from {where} lacks {len(absent)} weights: {', '.join(absent[:5])} ...")
    return model


def describe(config: Any) -> dict[str, Any]:
    """The network config of a transformers config object."""
    fields = {name: getattr(config, name) for name in FIELDS if getattr(config, name, None) is not None}
    return {"model_type": config.model_type, **{k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}}


def infer_config(state: Mapping[str, Tensor], heads: int | None = None) -> dict[str, Any]:
    """The network config that fits a state dict (keys without prefix, either weight-norm spelling).

    Group or layer norm, biases, depth, widths and the positional convolution follow from names and shapes; heads from
    the published widths (12 of 768, 16 of 1024) unless given, else from heads of 64. HuBERT and wav2vec 2.0 are the
    same function and cannot be told apart: both come out as wav2vec2. Strides are the published ones. Raises InputError
    naming the first weight that is missing or has an impossible shape.
    """
    state = to_new(state)

    def shape(name: str, axes: int) -> torch.Size:
        if name not in state:
            raise InputError(f"no speech network: {name} is missing from the {len(state)} weights of the checkpoint")
        found = state[name].shape
        if len(found) != axes or 0 in found:
            raise InputError(f"no speech network: {name} is {tuple(found)}, wanted {axes} axes, none of them empty")
        return found

    def count(stem: str) -> int:
        found = {int(k[len(stem) :].split(".")[0]) for k in state if k.startswith(stem)}
        if found != set(range(len(found))):
            raise InputError(f"no speech network: {stem}* has layers {sorted(found)}, wanted all from 0 on")
        return len(found)

    convolutions, layers = count("feature_extractor.conv_layers."), count("encoder.layers.")
    kernels = [shape(f"feature_extractor.conv_layers.{i}.conv.weight", 3) for i in range(convolutions)]
    if convolutions != 7:
        raise InputError(f"no speech network: {convolutions} convolution layers, wanted 7")
    if not layers:
        raise InputError("no speech network: encoder.layers.* are missing")
    width = shape("feature_projection.projection.weight", 2)[0]
    positional = "encoder.pos_conv_embed.conv"
    normed = f"{positional}.parametrizations.weight.original1" in state
    position = shape(f"{positional}.parametrizations.weight.original1" if normed else f"{positional}.weight", 3)
    layered = "feature_extractor.conv_layers.1.layer_norm.weight" in state
    network: dict[str, Any] = {
        "model_type": "wav2vec2",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": shape("encoder.layers.0.feed_forward.intermediate_dense.weight", 2)[0],
        "conv_dim": [k[0] for k in kernels],
        "conv_kernel": [k[2] for k in kernels],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in state,
        "feat_extract_norm": "layer" if layered else "group",
        "do_stable_layer_norm": layered,
        "num_conv_pos_embeddings": position[2],
        "num_conv_pos_embedding_groups": width // position[1],
        "mask_time_prob": 0.05 if "masked_spec_embed" in state else 0.0,
    }
    if "feature_projection.layer_norm.weight" not in state:
        network.update(model_type="hubert", feat_proj_layer_norm=False)
    if not normed:
        network.update(model_type="hubert", conv_pos_batch_norm=True)
    relative = "encoder.layers.0.attention.rel_attn_embed.weight"
    if relative in state:
        buckets, heads = shape(relative, 2)
        network.update(model_type="wavlm", num_buckets=buckets)
    if heads is None:
        heads = HEADS.get(width) or (width // 64 if width % 64 == 0 else None)
    if heads is None or heads < 1 or width % heads:
        raise InputError(f"speech network: {width} wide with {heads} heads; give heads=, a divisor of {width}")
    network["num_attention_heads"] = heads
    return network


def _stem(model_type: Any) -> str:
    if model_type not in NETWORKS:
        raise InputError(
            f"speech network of type {model_type!r} is not known here, wanted one of {', '.join(NETWORKS)}"
        )
    return NETWORKS[model_type]
