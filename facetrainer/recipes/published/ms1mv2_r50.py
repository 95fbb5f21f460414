"""arcface_torch: r50 on MS1MV2."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="ms1mv2_r50", data="faces_emore", images=5_822_653, identities=85_742,
        network="r50", margin_list=(1.0, 0.5, 0.0), lr=0.1, weight_decay=0.0005, batch_size=128, gpus=8, num_epoch=20,
        results={"MFR-ALL": 75.13, "IJB-C 1e-4": 95.97, "IJB-C 1e-5": 94.07},
    )
)  # fmt: skip
