"""What `import models` had, and is done elsewhere."""

from facetrainer.legacy.refused import refused

SAMModel = refused("models.SAMModel", "Give Train sam_rho=0.05, or a stage the key 'sam_rho'.")
