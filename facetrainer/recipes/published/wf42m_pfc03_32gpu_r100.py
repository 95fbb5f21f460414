"""arcface_torch: r100 on WebFace42M, 32 GPUs."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf42m_pfc03_32gpu_r100", data="WebFace42M", images=42_474_557, identities=2_059_906,
        network="r100", margin_list=(1.0, 0.0, 0.4), lr=0.4, weight_decay=0.0005, batch_size=128, gpus=32, num_epoch=20,
        warmup_epoch=2, sample_rate=0.3,
        results={"MFR-ALL": 96.69, "IJB-C 1e-4": 97.82, "IJB-C 1e-5": 96.45},
    )
)  # fmt: skip
