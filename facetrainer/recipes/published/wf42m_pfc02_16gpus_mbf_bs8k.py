"""arcface_torch: mbf on WebFace42M, batches of 8,192."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf42m_pfc02_16gpus_mbf_bs8k", data="WebFace42M", images=42_474_557, identities=2_059_906,
        network="mbf", margin_list=(1.0, 0.0, 0.4), lr=0.4, weight_decay=0.0001, batch_size=512, gpus=16, num_epoch=20,
        warmup_epoch=2, sample_rate=0.2,
        results={},
    )
)  # fmt: skip
