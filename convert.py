#!/usr/bin/env python3
"""Door: `import convert` is `facetrainer.cli.convert`, `python convert.py` is `facetrainer convert`."""

from facetrainer import flat_names

if __name__ == "__main__":
    from facetrainer.cli.convert import main

    raise SystemExit(main())
flat_names.open_door(__name__)
