#!/usr/bin/env python3
"""Door: `import data_drop_top_k` is `facetrainer.preparing.clean`, `python data_drop_top_k.py` is `facetrainer clean`."""

from facetrainer import flat_names

if __name__ == "__main__":
    from facetrainer.cli.clean import main

    raise SystemExit(main())
flat_names.open_door(__name__)
