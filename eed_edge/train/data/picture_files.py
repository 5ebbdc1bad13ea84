"""Picture files with labels, read when they are asked for and straight into one array."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eed_edge.errors import DataError, InputError
from eed_edge.images.preprocess import decoded_for, picture_shape, prepare_uint8, read_picture
from eed_edge.manifest import InputSpec
from eed_edge.train.data.datasets import Split


@dataclass(frozen=True, eq=False)
class PictureFiles:
    """Files and the class of each; an index reads those files as a ``Split``.

    input: what the pictures become.
    """

    paths: Sequence[Path]
    labels: NDArray[np.int64]
    input: InputSpec

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: NDArray[np.intp]) -> Split:
        images = np.empty((len(index), *self.input.size), np.uint8)
        for row, place in enumerate(index):
            try:
                images[row] = prepare_uint8(
                    read_picture(self.paths[place], resized_to=decoded_for(self.input)), self.input
                )
            except InputError as error:
                text = str(error)
                path = "" if text.startswith(str(self.paths[place])) else f"{self.paths[place]}: "
                raise DataError(f"{path}{text}") from error
        return Split(images, self.labels[index])


def picture_shapes(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Height, width and channels of each picture, ``(n, 3)``, from the files' headers.

    Raises:
        DataError: a file is no picture.
    """
    try:
        return np.array([picture_shape(path) for path in paths], np.int64).reshape(-1, 3)
    except InputError as error:
        raise DataError(str(error)) from error
