"""arcface_torch: mbf on WebFace12M."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf12m_mbf", data="WebFace12M", images=12_720_066, identities=617_970,
        network="mbf", margin_list=(1.0, 0.0, 0.4), lr=0.1, weight_decay=0.0001, batch_size=128, gpus=8, num_epoch=20,
        results={},
    )
)  # fmt: skip
