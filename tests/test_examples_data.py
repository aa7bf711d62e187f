"""The programs in examples/ that work on images and on arrays."""

import hashlib
import re
import sysconfig
from pathlib import Path

import pytest
from example_programs import (
    EXAMPLES,
    PYTHON,
    check_refusal,
    lines_of_success,
    run,
    run_example,
    run_without,
)

pytestmark = pytest.mark.timeout(90)


# thumbnails.py


@pytest.fixture
def images(tmp_path) -> Path:
    """Images of several kinds, of one colour on the left and another on the right, and others."""
    pil = pytest.importorskip("PIL.Image")
    folder = tmp_path / "images"
    (folder / "inner").mkdir(parents=True)
    for name, mode, size in [
        ("a wide.jpg", "RGB", (640, 320)),
        ("b tall.PNG", "RGBA", (100, 400)),
        ("c small.gif", "P", (32, 16)),
        ("inner/d grey.tiff", "L", (256, 256)),
    ]:
        image = pil.new("RGB", size, (200, 200, 200))
        image.paste((50, 50, 50), (size[0] // 2, 0, *size))
        image.convert(mode).save(folder / name)
    (folder / "e broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "f text.png").write_text("no image")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def test_thumbnails_of_a_folder(images, tmp_path):
    pil = pytest.importorskip("PIL.Image")
    # The thumbnails of an earlier run, in the same folder, are no images to be made smaller.
    into = images / "small"
    for _ in range(2):
        result = run_example(
            "thumbnails.py", "images", "--into", into, "--size", 64, cwd=images.parent
        )
    lines = lines_of_success(result)
    expected = [
        ("a wide.jpg", "640x320", (64, 32), "00000-a wide.png"),
        ("b tall.PNG", "100x400", (16, 64), "00001-b tall.png"),
        ("c small.gif", "32x16", (32, 16), "00002-c small.png"),
        ("inner/d grey.tiff", "256x256", (64, 64), "00005-d grey.png"),
    ]
    made = [line for line in lines[:-1] if "skipped" not in line]
    for line, (name, before, (width, height), target) in zip(made, expected, strict=True):
        path = into / target
        after = f"{width}x{height} {path.stat().st_size} bytes"
        assert line == f"images/{name} {before} -> {after}"
        with pil.open(path) as thumbnail:
            assert thumbnail.size == (width, height)
            left, right = (thumbnail.getpixel((x, height // 2)) for x in (1, width - 2))
        for pixel, grey in ((left, 200), (right, 50)):
            assert all(abs(value - grey) < 10 for value in pixel[:3])
    skipped = [line for line in lines[:-1] if "skipped" in line]
    assert [line.split(" skipped: ")[0] for line in skipped] == [
        "images/e broken.png",
        "images/f text.png",
    ]
    assert sorted(path.name for path in into.iterdir()) == sorted(row[3] for row in expected)
    assert lines[-1].startswith(f"4 thumbnails in {into}, 2 skipped, ")


def test_thumbnails_of_images_that_are_here(tmp_path):
    pytest.importorskip("PIL.Image")
    result = run_example("thumbnails.py", "--limit", 5, cwd=tmp_path)
    if result.returncode == 2:
        check_refusal(result, "give a folder that has some")
        pytest.skip("no images in the usual places")
    lines = lines_of_success(result)
    assert len(lines) == 6
    assert len(list((tmp_path / "thumbnails").iterdir())) == 5


def test_thumbnails_without_pillow(tmp_path):
    result = run_without("PIL", "thumbnails.py", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    needs = "thumbnails.py needs Pillow, which is not installed: pip install pillow\n"
    assert result.stderr == needs
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "'nowhere' does not exist"),
        (["file"], "'file' is not a folder"),
        (["empty"], "no images below empty: give a folder that has some"),
        (["empty", "--into", "file"], "cannot make the folder 'file': File exists"),
        (["--size", "0"], "0 is not at least 1"),
    ],
)
def test_thumbnails_refuses_bad_arguments(arguments, complaint, tmp_path):
    pytest.importorskip("PIL.Image")
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    check_refusal(run_example("thumbnails.py", *arguments, cwd=tmp_path), complaint)


# numpy_arrays.py

ARRIVAL = "2 MB each; owns its memory: False, writable: True, after += 1 still right: True"


def test_numpy_arrays_go_both_ways(tmp_path):
    pytest.importorskip("numpy")
    arguments = ["--arrays", "3", "--megabytes", "2"]
    lines = lines_of_success(run_example("numpy_arrays.py", *arguments, cwd=tmp_path))
    assert lines[0] == ARRIVAL
    assert len(lines) == 2
    assert re.fullmatch(r"fast_map +\d+\.\d\d GB/s +\d+\.\d\d s  results right", lines[1])


def test_numpy_arrays_compares(tmp_path):
    pytest.importorskip("numpy")
    arguments = ["--arrays", "3", "--megabytes", "2", "--compare"]
    lines = lines_of_success(run_example("numpy_arrays.py", *arguments, cwd=tmp_path))
    assert [line.split()[0] for line in lines[1:]] == ["fast_map", "Pool.imap"]
    assert all(line.endswith(" s  results right") for line in lines[1:])


HASH_ARRAY = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
import numpy_arrays

print(hashlib.sha256(numpy_arrays.source_bytes(20_000_000).tobytes()).hexdigest())
"""


def test_numpy_arrays_hold_real_bytes(tmp_path):
    pytest.importorskip("numpy")
    lines = lines_of_success(run([*PYTHON, "-c", HASH_ARRAY, EXAMPLES], tmp_path))
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    text = b"".join(path.read_bytes() for path in sorted(stdlib.glob("*.py")))
    assert lines == [hashlib.sha256((text * 10)[:20_000_000]).hexdigest()]


NOTHING_DONE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy_arrays

numpy_arrays.CONTENDERS["fast_map"] = lambda fn, arrays: arrays
sys.exit(numpy_arrays.main(["--arrays", "2", "--megabytes", "1"]))
"""


def test_numpy_arrays_notices_wrong_results(tmp_path):
    pytest.importorskip("numpy")
    result = run([*PYTHON, "-c", NOTHING_DONE, EXAMPLES], tmp_path)
    assert result.returncode == 1, result.stderr
    assert result.stdout.endswith(" s  RESULTS WRONG\n")


def test_numpy_arrays_without_numpy(tmp_path):
    result = run_without("numpy", "numpy_arrays.py", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    needs = "numpy_arrays.py needs NumPy, which is not installed: pip install numpy\n"
    assert result.stderr == needs


@pytest.mark.parametrize("option", ["--arrays", "--megabytes"])
def test_numpy_arrays_refuses_bad_arguments(option, tmp_path):
    pytest.importorskip("numpy")
    result = run_example("numpy_arrays.py", option, "0", cwd=tmp_path)
    check_refusal(result, f"argument {option}: 0 is not at least 1")
