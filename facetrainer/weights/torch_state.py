"""State dicts of arcface_torch's backbones → which of ours they are, and the weights of its layers."""

import re

import numpy as np

BN = ("weight", "bias", "running_mean", "running_var")
IR_LAYERS = {
    "bn1": "1_bn", "conv1": "1_conv", "bn2": "2_bn", "prelu": "act", "conv2": "2_conv", "bn3": "3_bn", "downsample.0": "short_conv",
    "downsample.1": "short_bn",
}  # fmt: skip
IR_ENDS = {
    "conv1": "stem_conv",
    "bn1": "stem_bn",
    "prelu": "stem_act",
    "bn2": "E_batchnorm",
    "features": "pre_embedding",
}


def describe(state: dict[str, np.ndarray], depths: dict[str, tuple], path: str = "") -> dict:
    """State dict, depths of IR networks by name → arguments of `models.buildin_models`; ValueError where it is no known network."""
    if "fc.weight" in state and "layer1.0.conv1.weight" in state:
        found = tuple(
            1 + max(int(m[1]) for n in state if (m := re.match(rf"layer{k}\.(\d+)\.", n))) for k in (1, 2, 3, 4)
        )
        name = next((name for name, depth in depths.items() if depth == found), None)
        if name is None:
            raise ValueError(f"{path}: an IR network of depths {found}. Known are {depths}.")
        return {
            "stem_model": name,
            "emb_shape": len(state["fc.weight"]),
            "output_layer": "E",
            "use_bias": True,
            **TORCH_BN,
        }
    if "layers.0.layers.0.weight" in state and "features.layers.2.weight" in state:
        name = "mbf_large" if len(state["layers.0.layers.0.weight"]) == 256 else "mbf"
        return {
            "stem_model": name,
            "emb_shape": len(state["features.layers.2.weight"]),
            "output_layer": "GDC",
            **TORCH_BN,
        }
    if "blocks.0.attn.qkv.weight" in state:
        return _describe_vit(state, path)
    known, first = "r18 … r200, mbf, mbf_large, vit_*", ", ".join(list(state)[:4])
    raise ValueError(f"{path}: not a backbone of arcface_torch that is known ({known}). Its first tensors: {first}")


def _describe_vit(state, path):
    size = (state["pos_embed"].shape[-1], 1 + max(int(m[1]) for n in state if (m := re.match(r"blocks\.(\d+)\.", n))))
    if size not in VITS or "norm.weight" not in state:
        raise ValueError(
            f"{path}: a transformer of width and depth {size}. Known are {VITS}, with layer normalisation."
        )
    return {"stem_model": VITS[size], "emb_shape": len(state["feature.2.weight"]), "output_layer": "F", "dropout": 0,
            "bn_momentum": 0.9, "bn_epsilon": 2e-5}  # fmt: skip


VITS = {(256, 12): "vit_t", (512, 12): "vit_s", (512, 24): "vit_b", (768, 24): "vit_l"}
TORCH_BN = {"dropout": 0, "bn_momentum": 0.9, "bn_epsilon": 1e-5}


def weights(state: dict[str, np.ndarray], model) -> dict[str, list[np.ndarray]]:
    """Layer name → its weights, for a model built as `describe` says; ValueError where a tensor is missing or is left over."""
    groups = _groups(state)
    kind = _ir if "fc" in groups else _vit if "patch_embed.proj" in groups else _by_order
    try:
        found = kind(groups, model)
    except KeyError as error:
        raise ValueError(f"the tensors do not fit: {error} is missing.") from error
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    if set(layers) != set(found):
        raise ValueError(f"the tensors do not fit: {sorted(set(layers) ^ set(found))[:4]} are on one side only.")
    return found


def _groups(state):
    """{module: its tensors by name}, in order."""
    groups = {}
    for name, array in state.items():
        module, _, kind = name.rpartition(".")
        if kind != "num_batches_tracked":
            groups.setdefault(module, {})[kind] = np.asarray(array, np.float32)
    return groups


def _layer(tensors, depthwise=False):
    """Tensors of a torch module → weights of a Keras layer."""
    if "running_mean" in tensors:
        return [tensors[kind] for kind in BN]
    weight, bias = tensors["weight"], [tensors["bias"]] if "bias" in tensors else []
    if weight.ndim == 4:
        return [weight.transpose(2, 3, 0, 1) if depthwise else weight.transpose(2, 3, 1, 0), *bias]
    return [weight[None, None]] if weight.ndim == 1 else [weight.T, *bias]


def _ir(groups, model):
    found = {ours: _layer(groups[theirs]) for theirs, ours in IR_ENDS.items()}
    for module, tensors in groups.items():
        place = re.match(r"layer(\d)\.(\d+)\.(.+)", module)
        if place:
            found[f"stack{place[1]}_block{int(place[2]) + 1}_{IR_LAYERS[place[3]]}"] = _layer(tensors)
    height, width, channels = model.get_layer("E_flatten").input.shape[1:]
    table = (
        groups["fc"]["weight"].reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
    )  # torch flattens channels first
    found["E_dense"] = [table.reshape(len(table), -1).T, groups["fc"]["bias"]]
    return found


VIT_ENDS = {
    "norm": "norm",
    "feature.0": "joined",
    "feature.1": "joined_bn",
    "feature.2": "F_dense",
    "feature.3": "pre_embedding",
}
VIT_LAYERS = {"norm1": "norm1", "norm2": "norm2", "attn.proj": "proj", "mlp.fc1": "fc1", "mlp.fc2": "fc2"}


def _vit(groups, model):
    """The vectors of the places and the bias of the patches are one bias here; what masks patches in training is left out."""
    found = {ours: _vector_layer(groups[theirs]) for theirs, ours in VIT_ENDS.items()}
    patches = groups["patch_embed.proj"]
    kernel = patches["weight"].transpose(2, 3, 1, 0).reshape(-1, len(patches["weight"]))
    found["embed"] = [kernel, groups[""]["pos_embed"][0] + patches["bias"]]
    for module, tensors in groups.items():
        place = re.match(r"blocks\.(\d+)\.(.+)", module)
        if place and place[2] == "attn.qkv":
            for part, table in zip("qkv", np.split(tensors["weight"], 3), strict=True):
                found[f"unit{int(place[1]) + 1}_{part}"] = [table.T]
        elif place:
            found[f"unit{int(place[1]) + 1}_{VIT_LAYERS[place[2]]}"] = _vector_layer(tensors)
    return found


def _vector_layer(tensors):
    """As `_layer`, but a weight of one dimension is that of a layer normalisation."""
    if tensors["weight"].ndim == 1 and "running_mean" not in tensors:
        return [tensors["weight"], tensors["bias"]]
    return _layer(tensors)


def from_graph(weights: dict[str, np.ndarray], products: list[str]) -> dict[str, np.ndarray]:
    """Weights of an ONNX export of a transformer → its state dict.

    Exporters keep the names of all weights but those of matrix products (`products`, in order), which they turn round.

    Returns:
        Arrays by name, as `torch.load` would give them.
    """
    parts = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    names = [f"blocks.{unit}.{part}.weight" for unit in range(len(products) // len(parts)) for part in parts]
    names += [name for name in ("feature.0.weight", "feature.2.weight") if name not in weights]
    turned = {name: weights[given].T for name, given in zip(names, products, strict=False)}
    folded = {}
    for dense, norm in (("feature.0", "feature.1"), ("feature.2", "feature.3")):
        if f"{dense}.weight_bias" in weights:
            folded |= _identity_norm(norm, weights[f"{dense}.weight_bias"])
    return {**weights, **turned, **folded}


def _identity_norm(name, bias, epsilon=2e-5):
    """What stands for a batch norm that the exporter has put into the product before it."""
    values = (np.full_like(bias, np.sqrt(1 + epsilon)), bias, np.zeros_like(bias), np.ones_like(bias))
    return {f"{name}.{kind}": value for kind, value in zip(BN, values, strict=True)}


def _by_order(groups, model):
    """A chain: both sides have the same layers one after another."""
    found, layers = {}, [layer for layer in model.layers if layer.weights]
    for layer, tensors in zip(layers, groups.values(), strict=True):
        one = _layer(tensors, depthwise="Depthwise" in type(layer).__name__)
        found[layer.name] = [array.reshape(w.shape) for array, w in zip(one, layer.weights, strict=True)]
    return found
