#!/usr/bin/env python3
"""Door: `import data_distiller` is `facetrainer.preparing.distill`, `python data_distiller.py` is `facetrainer distill`."""

from facetrainer import flat_names

if __name__ == "__main__":
    from facetrainer.cli.distill import main

    raise SystemExit(main())
flat_names.open_door(__name__)
