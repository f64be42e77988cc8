"""Opening image files that people hand in."""

from pathlib import Path
from typing import Any

from forgetting.errors import UserError

# By name, because the library goes by content and knows formats that run other programs (EPS).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
PIXELS = 100_000_000


def opened(path: Path) -> Any:
    """Return a PIL image, grey where the file is (mode L), RGB otherwise.

    Raises:
        UserError: It is not an image, or one whose pixels a small file blows up to.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > PIXELS:
                raise UserError(
                    f"{path} has {file.width}x{file.height} pixels; an image may have at most "
                    f"{PIXELS:,}"
                )
            return file.convert("L" if file.mode in ("1", "L") else "RGB")
    except UserError:
        raise
    # A damaged image makes its readers raise nearly anything.
    except Exception as error:
        raise UserError(f"{path} is not an image, or a truncated one: {error}") from error
