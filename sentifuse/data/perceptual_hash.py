"""A hash of what a picture shows: copies that were resized or compressed again have the same or a close one.

It is pHash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"), as the
package ImageHash computes it: the picture as 32 x 32 grey values, of these the 8 x 8 lowest DCT
coefficients, of each whether it is above their median. `duplicates.py` says how close counts as one.
"""

import imagehash
import numpy as np
from PIL import Image, ImageOps

from sentifuse.data import images

_SIDE = 32
_DRAFT = 256  # least side, in pixels, of what a JPEG file is decoded to: less would cost copies
# Below it, in grey values of 0..255, compression noise would decide most of the bits.
_MIN_CONTRAST = 2.0


def perceptual_hash(image: Image.Image) -> str:
    """Hashes what `images.open_image` returned to 16 hexadecimal digits, and in doing so decodes all of it.

    The hash is empty for a picture with too little in it to tell it from others: one colour, or plain
    stripes or gradients along one axis.

    Raises:
        images.ImageError: it is cut off or damaged.
    """
    grey = _grey(image).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(grey, dtype=np.float64)
    # What neither the rows' nor the columns' means explain: 49 of the 64 coefficients come from it.
    texture = pixels - pixels.mean(axis=0) - pixels.mean(axis=1, keepdims=True) + pixels.mean()
    if texture.std() < _MIN_CONTRAST:
        return ""
    return str(imagehash.phash(grey))


def _grey(image: Image.Image) -> Image.Image:
    """The upright picture in grey values, at a size that decodes fast where the format allows it."""
    if image.format != "JPEG":
        return images.decode(image).convert("L")
    # libjpeg decodes at a fraction of the size, down to 1/8, and notices a cut as at full size.
    with images.decoding():
        image.draft("L", (_DRAFT, _DRAFT))
        return ImageOps.exif_transpose(image).convert("L")
