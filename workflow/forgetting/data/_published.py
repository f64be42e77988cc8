"""What the published data sets share: identity, and a download that never leaves half a file."""

import secrets
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from forgetting.errors import UserError


def identity(checksums: Sequence[str]) -> str:
    """Return one checksum for a publication of several files."""
    return sha256("\n".join(sorted(checksums)).encode()).hexdigest()


def fetch(urls: Sequence[str], path: Path, *, md5: str) -> None:
    """Download ``path`` from the first of ``urls`` that works, through torchvision.

    The file appears under its name only when its md5 is right, so two jobs may fetch it at once.
    """
    from torchvision.datasets.utils import download_url

    temporary = f".{path.name}.{secrets.token_hex(4)}"
    failures = []
    for url in urls:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            download_url(url, path.parent, temporary, md5)
            path.with_name(temporary).replace(path)
            return
        except (OSError, RuntimeError, ValueError) as error:
            failures.append(f"  {url}: {error}")
        finally:
            if path.parent.is_dir():
                path.with_name(temporary).unlink(missing_ok=True)
    raise UserError(
        "\n".join([f"{path} (md5 {md5}) cannot be downloaded; fetch it by hand:", *failures])
    )
