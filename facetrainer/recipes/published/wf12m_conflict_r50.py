"""arcface_torch: r50 on WebFace12M, people under two names."""

from facetrainer.recipes import published as common

globals().update(
    common.arcface_torch(
        config="wf12m_conflict_r50", data="WebFace12M_Conflict", images=12_720_066, identities=1_017_970,
        network="r50", margin_list=(1.0, 0.0, 0.4), lr=0.1, weight_decay=0.0005, batch_size=128, gpus=8, num_epoch=20,
        warmup_epoch=2,
        results={"IJB-C 1e-4": 95.30},
    )
)  # fmt: skip
