"""`python -m facetrainer` is the command `facetrainer`."""

from facetrainer.cli.main import main

raise SystemExit(main())
