#!/usr/bin/env python3
"""Door: `import IJB_evals` is `facetrainer.reporting.ijb`, `python IJB_evals.py` is `facetrainer ijb`."""

from facetrainer import flat_names

if __name__ == "__main__":
    from facetrainer.cli.ijb import main

    raise SystemExit(main())
flat_names.open_door(__name__)
