"""arcface_torch: mbf on MS1MV2."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="ms1mv2_mbf", data="faces_emore", images=5_822_653, identities=85_742,
        network="mbf", margin_list=(1.0, 0.5, 0.0), lr=0.1, weight_decay=0.0001, batch_size=128, gpus=8, num_epoch=40,
        results={"MFR-ALL": 62.07, "IJB-C 1e-4": 93.61, "IJB-C 1e-5": 90.28},
    )
)  # fmt: skip
