"""arcface_torch's vision transformers: 9×9 patches, no class token, ReLU6; all patches go into the embedding.

Dosovitskiy et al., arXiv:2010.11929; sizes from arcface_torch.  Made of Keras's own layers, so that files load without ours.
"""

import keras
from keras import layers, ops

from facetrainer.backbones import register


@register("vit_t", tail="F", width=256, depth=12)
@register("vit_s", tail="F", width=512, depth=12)
@register("vit_b", tail="F", width=512, depth=24)
@register("vit_l", tail="F", width=768, depth=24)
def build(name, input_shape, width, depth, heads=8, patch=9, mlp_ratio=4, drop_path=0.0, mask_ratio=0.0):
    """Image (H, W, C) → (1, 1, width); pixels left over at the right and below are not looked at. arcface_torch's tail is "F".

    `drop_path` is the last unit's rate of stochastic depth (arcface_torch: 0.1; the first unit's is 0). `mask_ratio` is the chance of a
    patch to be hidden in training: nobody attends to it, and a learnt vector takes its place at the end (arcface_torch: 0.05 of
    ViT-B and L, an exact share there).

    Returns:
        Functional model without a head.
    """
    inputs = layers.Input(input_shape)
    x = patches(inputs, patch, width)
    hidden = hide(x, mask_ratio) if mask_ratio else None
    for unit in range(depth):
        x = encoder(x, width, heads, mlp_ratio, drop_path * unit / (depth - 1), f"unit{unit + 1}", hidden)
    x = layers.LayerNormalization(epsilon=1e-5, name="norm")(x)
    x = x if hidden is None else instead(x, hidden, width)
    x = _dense(layers.Flatten(name="tokens")(x), width, "joined", use_bias=False)
    x = layers.BatchNormalization(momentum=0.9, epsilon=2e-5, name="joined_bn")(x)
    return keras.Model(inputs, layers.Reshape((1, 1, width), name="map")(x), name=name)


def patches(x, patch, width):
    """(B, H, W, C) → (B, patches, width): a linear map of each patch plus the place's own vector, which is the bias."""
    (height, wide), channels = (side // patch for side in x.shape[1:3]), x.shape[-1]
    x = layers.Cropping2D(((0, x.shape[1] - height * patch), (0, x.shape[2] - wide * patch)), name="crop")(x)
    x = layers.Reshape((height, patch, wide, patch * channels), name="rows")(x)
    x = layers.Permute((1, 3, 2, 4), name="patches")(x)
    x = layers.Reshape((height * wide, patch * patch * channels), name="flat_patches")(x)
    small = keras.initializers.TruncatedNormal(stddev=0.02)
    options = {"kernel_initializer": small, "bias_initializer": small, "bias_axes": "tw", "name": "embed"}
    return layers.EinsumDense("btp,pw->btw", (height * wide, width), **options)(x)


def hide(x, ratio):
    """(B, tokens, width) → (B, tokens, 1): 1 where a token is hidden in training, else 0."""
    ones = layers.Rescaling(0.0, 1.0, name="mask_ones")(ops.mean(x, axis=-1, keepdims=True))
    seen = layers.Dropout(ratio, name="mask_drop")(ones)  # 0 or 1 / (1 − ratio)
    return layers.ReLU(name="mask_hidden")(layers.Rescaling(-1.0, 1.0, name="mask_not_seen")(seen))


def instead(x, hidden, width):
    """Tokens, with a learnt vector in the places of hidden ones."""
    seen = layers.Rescaling(-1.0, 1.0, name="mask_seen")(hidden)
    token = _dense(hidden, width, "mask_token", use_bias=False)
    return layers.Add(name="mask_add")([layers.Multiply(name="mask_multiply")([x, seen]), token])


def encoder(x, width, heads, mlp_ratio, drop_path, name, hidden=None):
    """One transformer unit: attention, then two dense layers, each behind a norm and beside a shortcut."""
    y = attention(layers.LayerNormalization(epsilon=1e-5, name=f"{name}_norm1")(x), width, heads, name, hidden)
    x = layers.Add(name=f"{name}_add1")([x, _dropped(y, drop_path, f"{name}_drop1")])
    y = _dense(layers.LayerNormalization(epsilon=1e-5, name=f"{name}_norm2")(x), width * mlp_ratio, f"{name}_fc1")
    y = _dense(layers.Activation("relu6", name=f"{name}_act")(y), width, f"{name}_fc2")
    return layers.Add(name=f"{name}_add2")([x, _dropped(y, drop_path, f"{name}_drop2")])


def attention(x, width, heads, name, hidden=None):
    """softmax(q kᵀ / √d) v in every head (Vaswani et al., arXiv:1706.03762, eq. 1); q, k and v without bias; hidden tokens get no share."""
    tokens, size = x.shape[1], width // heads
    split = [_dense(x, width, f"{name}_{part}", use_bias=False) for part in ("q", "k", "v")]
    split = [layers.Permute((2, 1, 3))(layers.Reshape((tokens, heads, size))(one)) for one in split]
    q, k, v = split
    scores = ops.matmul(q * size**-0.5, ops.transpose(k, (0, 1, 3, 2)))
    if hidden is not None:
        far = layers.Rescaling(-1e4, name=f"{name}_hidden")(layers.Reshape((1, 1, tokens))(hidden))
        scores = layers.Add(name=f"{name}_scores")([scores, far])
    scores = layers.Softmax(name=f"{name}_softmax")(scores)
    y = layers.Permute((2, 1, 3))(ops.matmul(scores, v))
    return _dense(layers.Reshape((tokens, width))(y), width, f"{name}_proj")


def _dense(x, units, name, use_bias=True):
    small = keras.initializers.TruncatedNormal(stddev=0.02)
    return layers.Dense(units, use_bias=use_bias, kernel_initializer=small, name=name)(x)


def _dropped(x, rate, name):
    """A whole branch left out for an image, at this rate, in training."""
    return layers.Dropout(rate, noise_shape=(None, 1, 1), name=name)(x) if rate else x
