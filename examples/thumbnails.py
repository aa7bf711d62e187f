"""Make a thumbnail of every image below a folder: it reads, decodes and writes.

Needs Pillow:  pip install pillow
Run it with:   python examples/thumbnails.py [DIR] [--into FOLDER] [--size PIXELS] [--limit N]
"""

import argparse
import os
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

from _common import exit_with, folder, positive

from fast_map import fast_map

try:
    from PIL import Image
except ImportError:
    sys.exit("thumbnails.py needs Pillow, which is not installed: pip install pillow")

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
# Where most machines have some images: of desktops, of packages, of Python itself.
FOLDERS_WITH_IMAGES = ["/usr/share/icons", "/usr/share/pixmaps", sysconfig.get_paths()["stdlib"]]


def make_thumbnail(source: Path, target: Path, size: int) -> str:
    """Say what was done; an image that cannot be read is reported, not raised."""
    try:
        with Image.open(source) as image:
            before = f"{image.width}x{image.height}"
            image.thumbnail((size, size))
            image.convert("RGBA").save(target)
            return f"{before} -> {image.width}x{image.height} {target.stat().st_size} bytes"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"skipped: {error}"


def find_images(folder: str, into: Path) -> list[Path]:
    """In path order; links are not followed, and the thumbnails themselves left out."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not into.samefile(Path(parent, name))]
        paths = [Path(parent, name) for name in names]
        found += [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]
    return sorted(found)


def print_thumbnails(sources: list[Path], into: Path, size: int) -> None:
    targets = [into / f"{number:05}-{path.stem}.png" for number, path in enumerate(sources)]
    started = time.perf_counter()
    lines = fast_map(make_thumbnail, sources, targets, args=(size,))
    skipped = 0
    for source, line in zip(sources, lines, strict=True):
        print(f"{source} {line}", flush=True)
        skipped += line.startswith("skipped")
    made, seconds = len(sources) - skipped, time.perf_counter() - started
    print(f"{made} thumbnails in {into}, {skipped} skipped, {seconds:.2f} seconds")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a thumbnail of every image below DIR.")
    parser.add_argument(
        "dir",
        metavar="DIR",
        nargs="?",
        type=folder,
        help="folder with images (default: the first of some usual places that has any)",
    )
    parser.add_argument(
        "--into", metavar="FOLDER", type=Path, default="thumbnails", help="default: %(default)s"
    )
    parser.add_argument(
        "--size", metavar="PIXELS", type=positive, default=64, help="default: %(default)s"
    )
    parser.add_argument("--limit", metavar="N", type=positive, help="only the first N images")
    options = parser.parse_args(arguments)
    try:
        options.into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"cannot make the folder {str(options.into)!r}: {error.strerror}")
    folders = [options.dir] if options.dir else FOLDERS_WITH_IMAGES
    found = (find_images(folder, options.into) for folder in folders)
    sources = next(filter(None, found), [])[: options.limit]
    if not sources:
        parser.error(f"no images below {' or '.join(folders)}: give a folder that has some")
    print_thumbnails(sources, options.into, options.size)
    return 0


if __name__ == "__main__":
    exit_with(main)
