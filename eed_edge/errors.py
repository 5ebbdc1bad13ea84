"""Errors that eed-edge raises on purpose; each says what was expected, what came and what to do.

::

    EedError
    ├── RecipeError        (ValueError)         a recipe that cannot be used
    ├── DataError          (ValueError)         a data set that is missing, damaged or unfit
    ├── CheckpointError    (ValueError)         a run folder or weights file that cannot be used
    ├── NetworkError       (ValueError)         a network that cannot be built, traced or pruned
    ├── DeviceError        (RuntimeError)       a device or package that is not there, too little memory
    ├── TrainingError      (RuntimeError)       training that cannot go on
    ├── AttackError        (RuntimeError)       an attack's result outside its ball or [0, 1]
    ├── ExportError        (RuntimeError)       torch and onnxruntime disagree
    ├── BundleError        (ValueError)         a bundle that is damaged or of another format
    ├── InputError         (ValueError)         images, pictures or settings that do not fit
    ├── InferenceError     (RuntimeError)       no sub-model gave a usable answer
    └── StorageError       (OSError)            a file that could not be written
"""

__all__ = [
    "AttackError",
    "BundleError",
    "CheckpointError",
    "DataError",
    "DeviceError",
    "EedError",
    "ExportError",
    "InferenceError",
    "InputError",
    "NetworkError",
    "RecipeError",
    "StorageError",
    "TrainingError",
]


class EedError(Exception):
    """Base of all errors that eed-edge raises on purpose; its text is one line."""


class RecipeError(EedError, ValueError):
    """A recipe with an unknown key or a value out of range."""


class DataError(EedError, ValueError):
    """A data set that is missing, damaged or unfit for the recipe."""


class CheckpointError(EedError, ValueError):
    """A run folder or weights file that is missing, damaged or of another recipe."""


class NetworkError(EedError, ValueError):
    """A network that cannot be built, traced or pruned."""


class DeviceError(EedError, RuntimeError):
    """A device or package that is not there, or one with too little memory."""


class AttackError(EedError, RuntimeError):
    """An attack whose result is not finite or lies outside its ball or [0, 1]."""


class TrainingError(EedError, RuntimeError):
    """Training that cannot go on, such as a loss that is not finite."""


class ExportError(EedError, RuntimeError):
    """An exported file that does not answer as the network it came from."""


class BundleError(EedError, ValueError):
    """A bundle that is damaged, incomplete or of another format."""


class InputError(EedError, ValueError):
    """Images, pictures or settings that do not fit the bundle."""


class InferenceError(EedError, RuntimeError):
    """No sub-model gave a usable answer."""


class StorageError(EedError, OSError):
    """A file or folder that could not be written; what was there before is untouched."""


def how_to_install(extra: str) -> str:
    """Return the command that installs the packages of an extra; eed-edge is on no package index."""
    return f"pip install '.[{extra}]' in a clone, or 'FILE.whl[{extra}]' with the wheel's file name"
