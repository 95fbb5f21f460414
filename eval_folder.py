#!/usr/bin/env python3
"""Door: `import eval_folder` is `facetrainer.reporting.folder`, `python eval_folder.py` is `facetrainer folder`."""

from facetrainer import flat_names

if __name__ == "__main__":
    from facetrainer.cli.folder import main

    raise SystemExit(main())
flat_names.open_door(__name__)
