"""Pictures that stand on a page itself, as `data:` addresses."""

import base64
import io

from PIL import Image

from sentifuse.data import images

# Longest side of a picture, in pixels: twice as long as it is shown, for dense screens.
_SIDE = 480
_JPEG_QUALITY = 80


def thumbnail(raw: bytes) -> tuple[str, tuple[int, int]]:
    """The bytes of an image file -> a small JPEG file as an address, and its width and height in pixels."""
    image = images.read(raw)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_JPEG_QUALITY)
    return data_uri("image/jpeg", out.getvalue()), image.size


def data_uri(kind: str, raw: bytes) -> str:
    """A file of the MIME type `kind` as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"
