"""arcface_torch: mbf on WebFace4M."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf4m_mbf", data="WebFace4M", images=4_235_242, identities=205_990,
        network="mbf", margin_list=(1.0, 0.0, 0.4), lr=0.1, weight_decay=0.0001, batch_size=128, gpus=8, num_epoch=20,
        results={},
    )
)  # fmt: skip
