#!/usr/bin/env python3
"""Door: `import prepare_data` is `facetrainer.preparing.insightface`, `python prepare_data.py` is `facetrainer prepare`."""

from facetrainer import flat_names

if __name__ == "__main__":
    from facetrainer.cli.prepare import main

    raise SystemExit(main())
flat_names.open_door(__name__)
