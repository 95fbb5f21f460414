"""The pages of README and docs, their blocks of code, and training code in small."""

import glob
import os
import re

from helpers import ROOT

DOCS = glob.glob(f"{ROOT}/docs/**/*.md", recursive=True)
OTHERS = [f"{ROOT}/{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")]
PAGES = sorted(os.path.relpath(path, ROOT) for path in DOCS + OTHERS)


def text_of(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return file.read()


def blocks(page, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


CODE = [(page, code) for page in PAGES for code in blocks(page, "python")]


def code_with(page, words):
    (found,) = (code for code in blocks(page, "python") if words in code)
    return found


def run_small(code, **stand_ins):
    """A page's training code on drawn faces: other paths, a tiny network, an epoch a stage."""
    for real, other in stand_ins.items():
        assert real in code
        code = code.replace(real, other)
    code = re.sub(r"models.buildin_models\([^)]*\)", 'models.buildin_models("r_tiny", emb_shape=16)', code)
    code = re.sub(r"batch_size=\d+,\n", "", code).replace("basic_model=", "batch_size=16, basic_model=")
    exec(re.sub(r'"epoch": \d+', '"epoch": 1', code), {})
