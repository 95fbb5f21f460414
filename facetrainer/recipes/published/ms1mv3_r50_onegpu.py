"""arcface_torch: r50 on MS1MV3, on one GPU."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="ms1mv3_r50_onegpu", data="ms1m-retinaface-t1", images=5_179_510, identities=93_431,
        network="r50", margin_list=(1.0, 0.5, 0.0), lr=0.02, weight_decay=0.0005, batch_size=128, gpus=1, num_epoch=20,
        results={},
    )
)  # fmt: skip
