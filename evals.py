#!/usr/bin/env python3
"""Door: `import evals` is `facetrainer.evaluation`, `python evals.py` is `facetrainer evaluate`."""

from facetrainer import flat_names

if __name__ == "__main__":
    from facetrainer.cli.evaluate import main

    raise SystemExit(main())
flat_names.open_door(__name__)
