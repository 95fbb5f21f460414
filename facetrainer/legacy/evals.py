"""What `import evals` had, and is not kept."""

from facetrainer.legacy.refused import refused

_COSINE = "Compare whole embeddings: evals.scores_of(embeddings) gives the cosine of each pair."
half_split_weighted_cosine_similarity = refused("evals.half_split_weighted_cosine_similarity", _COSINE)
half_split_weighted_cosine_similarity_11 = refused("evals.half_split_weighted_cosine_similarity_11", _COSINE)
