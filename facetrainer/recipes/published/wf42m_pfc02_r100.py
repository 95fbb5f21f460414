"""arcface_torch: r100 on WebFace42M, a fifth of the classes a step."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf42m_pfc02_r100", data="WebFace42M", images=42_474_557, identities=2_059_906,
        network="r100", margin_list=(1.0, 0.0, 0.4), lr=0.1, weight_decay=0.0005, batch_size=128, gpus=8, num_epoch=20,
        sample_rate=0.2,
        results={"MFR-ALL": 96.27, "IJB-C 1e-4": 97.7, "IJB-C 1e-5": 96.31},
    )
)  # fmt: skip
