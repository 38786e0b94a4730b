"""Picture files as arrays. Everything that opens a picture, opens it here: an explicit list of formats, bounded sizes,
one kind of error. Other formats may start programs: Pillow hands PostScript to Ghostscript.
"""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parlante.core.errors import InputError
from parlante.core.files import first_line, read_file

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "TGA")
"""Pillow's names of the formats that are read."""
KINDS = "PNG, JPEG, WebP, TIFF, BMP or TGA"
MOST_PIXELS = 1 << 27
"""16384 x 8192."""
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


def picture(content: bytes, name: str) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB of a picture file with 8 bits a channel, fully decoded; transparency is left out.

    Raises InputError that begins with `name` for anything else, and for more than `MOST_PIXELS`.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():  # of sizes, which are judged here, and of what decoders put up with
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return _decoded(image, name)
    except InputError:
        raise
    except Exception as error:  # whatever the decoders of six formats find wrong
        told = "it is none of these" if type(error).__name__ == "UnidentifiedImageError" else first_line(error)
        raise InputError(f"cannot read {name} as a picture ({told}); give a {KINDS}") from error


def _decoded(image: "ImageFile", name: str) -> NDArray[np.uint8]:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise InputError(f"{name} has {width} x {height} pixels, more than {MOST_PIXELS}; make it smaller")
    if image.mode not in _EIGHT_BITS:
        raise InputError(f"{name} is of mode {image.mode}, wanted 8 bits a channel; save it again as PNG")
    return np.asarray(image.convert("RGB"))


def read_picture(path: Path | str) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB. Raises InputError if the file is missing or as `picture` does."""
    return picture(read_file(path, f"a picture, {KINDS}"), str(path))
