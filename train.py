#!/usr/bin/env python3
"""Door: `import train` is `facetrainer.training`, `python train.py` is `facetrainer train`."""

from facetrainer import flat_names

if __name__ == "__main__":
    from facetrainer.cli.train import main

    raise SystemExit(main())
flat_names.open_door(__name__)
