"""Opens every hostile file and prints what came of it, as JSON.  python tests/fuzz/open_all.py FOLDER"""

import json
import logging
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(os.path.dirname(HERE))]
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def main(home):
    import hostile

    os.makedirs(home)
    os.environ[hostile.FLAG] = os.path.join(os.path.dirname(home), "flag")
    from targets import TARGETS, image
    from watching import Watch, attempt, late

    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, late)
    watch, outcomes = Watch(home), {}
    for name, (make, _) in hostile.FILES.items():
        path = os.path.join(home, "made" + os.path.splitext(name)[1])
        make(path)
        with open(path, "rb") as file:
            data = file.read()
        os.remove(path)
        outcomes[name] = attempt(TARGETS.get(name.rpartition(".")[2], image), data, home, watch)
    import keras

    after = {
        "policy": keras.config.dtype_policy().name,
        "flag": os.path.exists(os.environ[hostile.FLAG]),
        "files": os.listdir(os.path.dirname(home)),
    }
    print(json.dumps({**outcomes, "after": after}))


if __name__ == "__main__":
    main(sys.argv[1])
