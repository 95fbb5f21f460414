"""arcface_torch: r18 on WebFace42M, 32 GPUs."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf42m_pfc03_32gpu_r18", data="WebFace42M", images=42_474_557, identities=2_059_906,
        network="r18", margin_list=(1.0, 0.0, 0.4), lr=0.4, weight_decay=0.0005, batch_size=128, gpus=32, num_epoch=20,
        warmup_epoch=2, sample_rate=0.3,
        results={"MFR-ALL": 79.13, "IJB-C 1e-4": 95.77, "IJB-C 1e-5": 93.36},
    )
)  # fmt: skip
