"""The font of what is written into pictures."""

import functools


@functools.cache
def font(size: int):
    """DejaVu Sans, which matplotlib brings and which has letters of most alphabets."""
    from matplotlib import font_manager
    from PIL import ImageFont

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)
