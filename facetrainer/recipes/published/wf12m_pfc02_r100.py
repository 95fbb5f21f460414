"""arcface_torch: r100 on WebFace12M, a fifth of the classes a step."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf12m_pfc02_r100", data="WebFace12M", images=12_720_066, identities=617_970,
        network="r100", margin_list=(1.0, 0.0, 0.4), lr=0.1, weight_decay=0.0005, batch_size=128, gpus=8, num_epoch=20,
        sample_rate=0.2,
        results={"MFR-ALL": 94.75, "IJB-C 1e-4": 97.6, "IJB-C 1e-5": 95.9},
    )
)  # fmt: skip
