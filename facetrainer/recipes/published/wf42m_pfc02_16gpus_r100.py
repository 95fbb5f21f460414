"""arcface_torch: r100 on WebFace42M, 16 GPUs."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf42m_pfc02_16gpus_r100", data="WebFace42M", images=42_474_557, identities=2_059_906,
        network="r100", margin_list=(1.0, 0.0, 0.4), lr=0.3, weight_decay=0.0005, batch_size=256, gpus=16, num_epoch=20,
        warmup_epoch=1, sample_rate=0.2,
        results={"MFR-ALL": 96.69, "IJB-C 1e-4": 97.85, "IJB-C 1e-5": 96.63},
    )
)  # fmt: skip
