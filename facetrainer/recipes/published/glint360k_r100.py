"""arcface_torch: r100 on Glint360K."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="glint360k_r100", data="glint360k", images=17_091_657, identities=360_232,
        network="r100", margin_list=(1.0, 0.0, 0.4), lr=0.1, weight_decay=0.0001, batch_size=128, gpus=8, num_epoch=20,
        results={"MFR-ALL": 89.52, "IJB-C 1e-4": 97.55, "IJB-C 1e-5": 96.38},
    )
)  # fmt: skip
