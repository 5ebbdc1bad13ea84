"""Files that desktops leave in folders of pictures are passed over with a word; pipes are refused by name."""

import logging
import os

import numpy as np
import pytest
from PIL import Image

from eed_edge.errors import DataError
from eed_edge.train.data.user_images import folder_images


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for i in range(3):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_they_change_no_image_and_no_class_and_are_logged(pictures, caplog):
    clean = folder_images(pictures, None)
    (pictures / "__MACOSX").mkdir()
    (pictures / "__MACOSX" / "._0.png").write_bytes(b"")
    left = [pictures / "__MACOSX"]
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        left.append(pictures / "cats" / name)
        left[-1].write_bytes(b"\0\0\0\1Bud1")
    with caplog.at_level(logging.INFO):
        again = folder_images(pictures, None)
    assert again.classes == clean.classes == ("cats", "dogs")
    np.testing.assert_array_equal(again.train[np.arange(6)].images, clean.train[np.arange(6)].images)
    assert {record.getMessage() for record in caplog.records} == {
        f"{path}: skipped, a file that desktop systems leave behind" for path in left
    }


def test_a_pipe_with_a_picture_s_name_is_refused_and_not_waited_for(pictures):
    os.mkfifo(pictures / "cats" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: .*expected a regular file, got a pipe"):
        folder_images(pictures, None)
