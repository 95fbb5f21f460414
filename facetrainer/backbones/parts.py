"""Pieces that several families share. Strided convolutions pad as torch, MXNet and Caffe do, so that weights of theirs fit."""

import keras
from keras import layers


def conv(x, filters, kernel, stride, name, groups=1, use_bias=False, initializer="he_normal"):
    """Convolution; `kernel` may be (height, width)."""
    x, padding = _padded(x, kernel, stride, name)
    options = {"use_bias": use_bias, "kernel_initializer": initializer, "name": name}
    return layers.Conv2D(filters, kernel, stride, padding, groups=groups, **options)(x)


def depthwise(x, kernel, stride, name):
    """A filter a channel."""
    x, padding = _padded(x, kernel, stride, name)
    return layers.DepthwiseConv2D(kernel, stride, padding, use_bias=False, name=name)(x)


def _padded(x, kernel, stride, name):
    """Half a kernel of zeros on each side, as a layer where "same" would put them on one side alone."""
    if kernel == 1 or stride == 1:
        return x, "same" if stride == 1 else "valid"
    return layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x), "valid"


def norm(x, name, momentum=0.9, epsilon=1e-5):
    """Batch norm under a name."""
    return layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)(x)


def activate(x, activation, name):
    """`activation` is a name that Keras knows, or "prelu": one slope a channel, 0.25 at first."""
    if activation.lower() == "prelu":
        return layers.PReLU(alpha_initializer=keras.initializers.Constant(0.25), shared_axes=[1, 2], name=name)(x)
    return layers.Activation(activation, name=name)(x)


def squeeze_excite(x, reduced, activation, name, gate="sigmoid"):
    """Channels weighed by a two-layer network on their means (Hu et al., CVPR 2018), `reduced` wide in its middle."""
    s = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    s = activate(layers.Conv2D(reduced, 1, name=f"{name}_reduce")(s), activation, f"{name}_act")
    s = layers.Conv2D(x.shape[-1], 1, activation=gate, name=f"{name}_expand")(s)
    return layers.Multiply(name=f"{name}_scale")([x, s])


def conv_norm(x, filters, kernel, stride, activation, name, **kwargs):
    """Convolution `{name}_conv`, batch norm `{name}_bn`, activation `{name}_act` unless it is None."""
    x = norm(conv(x, filters, kernel, stride, f"{name}_conv", **kwargs), f"{name}_bn")
    return activate(x, activation, f"{name}_act") if activation else x


def max_pool(x, name):
    """3×3, stride 2, torch's padding."""
    return layers.MaxPooling2D(3, 2, name=name)(layers.ZeroPadding2D(1, name=f"{name}_pad")(x))
