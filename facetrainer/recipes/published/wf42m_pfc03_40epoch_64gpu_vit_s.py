"""arcface_torch: vit_s on WebFace42M, 64 GPUs."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf42m_pfc03_40epoch_64gpu_vit_s", data="WebFace42M", images=42_474_557, identities=2_059_906,
        network="vit_s_dp005_mask_0", margin_list=(1.0, 0.0, 0.4), lr=0.001, weight_decay=0.1, batch_size=384, gpus=64, num_epoch=40,
        warmup_epoch=4, sample_rate=0.3, optimizer="adamw",
        results={"MFR-ALL": 95.87, "IJB-C 1e-4": 97.73, "IJB-C 1e-5": 96.57},
    )
)  # fmt: skip
