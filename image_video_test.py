"""Door: `import image_video_test` is `facetrainer.legacy.image_video_test`, `python image_video_test.py` its command."""

from facetrainer import flat_names

if __name__ == "__main__":
    from facetrainer.legacy.image_video_test import main

    raise SystemExit(main())
flat_names.open_door(__name__)
