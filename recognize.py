#!/usr/bin/env python3
"""Door: `import recognize` is `facetrainer.recognition`, `python recognize.py` is `facetrainer recognize`."""

from facetrainer import flat_names

if __name__ == "__main__":
    from facetrainer.cli.recognize import main

    raise SystemExit(main())
flat_names.open_door(__name__)
