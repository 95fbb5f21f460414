"""arcface_torch: r100 on MS1MV3."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="ms1mv3_r100", data="ms1m-retinaface-t1", images=5_179_510, identities=93_431,
        network="r100", margin_list=(1.0, 0.5, 0.0), lr=0.1, weight_decay=0.0005, batch_size=128, gpus=8, num_epoch=20,
        results={"MFR-ALL": 81.97, "IJB-C 1e-4": 96.85, "IJB-C 1e-5": 95.02},
    )
)  # fmt: skip
