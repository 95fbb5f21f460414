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
    known, first = "r18 … r200, mbf, mbf_large", ", ".join(list(state)[:4])
    raise ValueError(f"{path}: not a backbone of arcface_torch that is known ({known}). Its first tensors: {first}")


TORCH_BN = {"dropout": 0, "bn_momentum": 0.9, "bn_epsilon": 1e-5}


def weights(state: dict[str, np.ndarray], model) -> dict[str, list[np.ndarray]]:
    """Layer name → its weights, for a model built as `describe` says; ValueError where a tensor is missing or is left over."""
    groups = _groups(state)
    found = _ir(groups, model) if "fc" in groups else _by_order(groups, model)
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


def _by_order(groups, model):
    """A chain: both sides have the same layers one after another."""
    found, layers = {}, [layer for layer in model.layers if layer.weights]
    for layer, tensors in zip(layers, groups.values(), strict=True):
        one = _layer(tensors, depthwise="Depthwise" in type(layer).__name__)
        found[layer.name] = [array.reshape(w.shape) for array, w in zip(one, layer.weights, strict=True)]
    return found
