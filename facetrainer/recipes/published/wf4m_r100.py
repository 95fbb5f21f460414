"""arcface_torch: r100 on WebFace4M."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf4m_r100", data="WebFace4M", images=4_235_242, identities=205_990,
        network="r100", margin_list=(1.0, 0.0, 0.4), lr=0.1, weight_decay=0.0005, batch_size=128, gpus=8, num_epoch=20,
        results={"MFR-ALL": 89.87, "IJB-C 1e-4": 97.19, "IJB-C 1e-5": 95.48},
    )
)  # fmt: skip
