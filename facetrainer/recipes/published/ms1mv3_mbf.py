"""arcface_torch: mbf on MS1MV3."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="ms1mv3_mbf", data="ms1m-retinaface-t1", images=5_179_510, identities=93_431,
        network="mbf", margin_list=(1.0, 0.5, 0.0), lr=0.1, weight_decay=0.0001, batch_size=128, gpus=8, num_epoch=40,
        results={"MFR-ALL": 63.78, "IJB-C 1e-4": 94.23, "IJB-C 1e-5": 91.33},
    )
)  # fmt: skip
