"""`from backbones import vargface`: `VargFace()`."""

from facetrainer.legacy.backbones import made


def VargFace(  # noqa: N802
    num_blocks=(3, 7, 4), out_channels=(64, 128, 256), channel_expand=1, hidden_ratio=2, stem_width=32, stem_strides=1,
    se_ratio=0, input_shape=(112, 112, 3), activation="relu", output_num_features=1024, model_name="vargface",
):  # fmt: skip
    """`models.buildin_models("vargface")`'s network, as a feature map; see `facetrainer.backbones.vargface.build`."""
    return made(
        "vargface", model_name, input_shape, num_blocks=num_blocks, out_channels=out_channels, channel_expand=channel_expand,
        hidden_ratio=hidden_ratio, stem_width=stem_width, stem_strides=stem_strides, se_ratio=se_ratio, activation=activation,
        output_num_features=output_num_features,
    )  # fmt: skip
