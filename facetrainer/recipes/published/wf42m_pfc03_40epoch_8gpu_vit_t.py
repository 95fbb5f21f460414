"""arcface_torch: vit_t on WebFace42M, 8 GPUs."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf42m_pfc03_40epoch_8gpu_vit_t", data="WebFace42M", images=42_474_557, identities=2_059_906,
        network="vit_t_dp005_mask0", margin_list=(1.0, 0.0, 0.4), lr=0.001, weight_decay=0.1, batch_size=512, gpus=8, num_epoch=40,
        warmup_epoch=4, sample_rate=0.3, optimizer="adamw",
        results={},
    )
)  # fmt: skip
