"""arcface_torch: r50 on WebFace42M, 32 GPUs."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf42m_pfc03_32gpu_r50", data="WebFace42M", images=42_474_557, identities=2_059_906,
        network="r50", margin_list=(1.0, 0.0, 0.4), lr=0.4, weight_decay=0.0005, batch_size=128, gpus=32, num_epoch=20,
        warmup_epoch=2, sample_rate=0.3,
        results={"MFR-ALL": 94.03, "IJB-C 1e-4": 97.48, "IJB-C 1e-5": 95.94},
    )
)  # fmt: skip
