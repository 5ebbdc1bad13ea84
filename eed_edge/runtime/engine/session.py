"""Create onnxruntime sessions with edge-CPU defaults: one thread, no spinning, no global state."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from numpy.typing import NDArray

from eed_edge import arguments
from eed_edge.errors import BundleError, DeviceError
from eed_edge.manifest import Manifest

OLDEST_ONNXRUNTIME = (1, 20)
CPU = ("CPUExecutionProvider",)


@dataclass(frozen=True)
class SessionConfig:
    """Options of an onnxruntime session, with the defaults of ``eed_edge.load``.

    threads: intra-op threads, the calling thread included.
    spinning: idle threads spin: lower latency on an idle machine, far higher beside other sessions.
    arena: keep memory for the next call: faster, but the process holds more.
    providers: onnxruntime execution providers, the preferred one first.

    Raises:
        InputError: a value of another type or out of range.
    """

    threads: int = 1
    spinning: bool = False
    arena: bool = True
    providers: Sequence[str] = CPU

    def __post_init__(self) -> None:
        threads = arguments.positive_int(
            "threads", self.threads, most=arguments.MAX_THREADS, advice="1 is often best"
        )
        checked = {
            "threads": threads,
            "spinning": arguments.boolean("spinning", self.spinning),
            "arena": arguments.boolean("arena", self.arena),
            "providers": tuple(arguments.name_list("providers", self.providers)),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def as_record(self) -> dict[str, int]:
        """Return the fields that reports store: ``threads``, ``spinning`` and ``arena``."""
        return {"threads": self.threads, "spinning": self.spinning, "arena": self.arena}


DEFAULT = SessionConfig()


class Node(Protocol):
    """An input or output of a session."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> list[int | str | None]: ...


class TensorInfo(NamedTuple):
    """Name, type and shape of an input or output; a dynamic size is a name or None."""

    name: str
    type: str
    shape: list[int | str | None]


class Session(Protocol):
    """The methods of ``onnxruntime.InferenceSession`` in use; ``run`` is thread-safe."""

    def run(self, output_names: Sequence[str], feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]: ...
    def io_binding(self) -> Any: ...
    def run_with_iobinding(self, binding: Any) -> None: ...
    def get_inputs(self) -> list[Node]: ...
    def get_outputs(self) -> list[Node]: ...
    def get_providers(self) -> list[str]: ...


def open_session(
    model: bytes, name: str, *, config: SessionConfig = DEFAULT, profile: Path | None = None
) -> Session:
    """Create a session from the bytes of a model, which it does not keep.

    Args:
        name: the model's name in error messages, such as its file name.
        profile: where onnxruntime writes a profile, whose name begins like this; None does not.

    Raises:
        DeviceError: onnxruntime is missing or too old, or a provider is not available.
        BundleError: onnxruntime cannot use the model.
    """
    ort = _onnxruntime()
    providers = list(config.providers)
    _check_providers(providers, ort.get_available_providers())
    options = _session_options(ort, config)
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    try:
        session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's own exceptions share no other base class
        reason = " ".join(str(error).split())
        raise BundleError(
            f"{name}: onnxruntime cannot use it: {reason:.200}; export the bundle again"
        ) from error
    _check_providers(providers[:1], session.get_providers())
    session._model_bytes = None  # used only to recreate the session, which enable_fallback=0 switches off
    return cast(Session, session)


def _session_options(ort: Any, config: SessionConfig) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = config.arena
    options.enable_mem_pattern = config.arena  # a memory plan is kept for every batch size seen
    options.log_severity_level = 4  # errors arrive as exceptions
    # Without this, onnxruntime takes bytes 4-7 "ORTM" for its own format, which onnx_scan has not read.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    for pool in ("intra", "inter"):
        options.add_session_config_entry(f"session.{pool}_op.allow_spinning", str(int(config.spinning)))
    return options


def check_signature(session: Session, name: str, manifest: Manifest) -> str:
    """Check the inputs and outputs of a network and return the name of its only output.

    Raises:
        BundleError: not one float32 input as the manifest says and one float32 output ``(N, classes)``.
    """
    inputs, outputs = signature(session, name)
    check_input(inputs, name, manifest)
    if len(outputs) != 1 or outputs[0].type != "tensor(float)":
        raise BundleError(
            f"{name}: expected one float output of logits, got {_tuples(outputs)}; export the bundle again"
        )
    check_classes(outputs[0], name, manifest)
    return outputs[0].name


def signature(session: Session, name: str) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """Return the inputs and outputs of a session.

    Raises:
        BundleError: a name that is not UTF-8, which onnxruntime accepts but cannot return.
    """
    try:
        inputs, outputs = (
            [TensorInfo(node.name, node.type, node.shape) for node in nodes]
            for nodes in (session.get_inputs(), session.get_outputs())
        )
    except UnicodeDecodeError as error:
        raise BundleError(
            f"{name}: expected names in UTF-8, got {error.object[:40]!r}; export the bundle again"
        ) from error
    return inputs, outputs


def check_input(inputs: Sequence[TensorInfo], name: str, manifest: Manifest) -> None:
    """Check that the only input is float32, of the manifest's name and size, for any batch size.

    Raises:
        BundleError: it is not.
    """
    expected_name, size = manifest.input.name, manifest.input.size
    expected = [(expected_name, "tensor(float)", list(size))]
    actual = [(tensor.name, tensor.type, tensor.shape[1:]) for tensor in inputs]
    if actual != expected or isinstance(inputs[0].shape[0], int):
        raise BundleError(
            f"{name}: expected one input {expected_name} float ('N', {size}), got {_tuples(inputs)};"
            " export the bundle again"
        )


def check_classes(output: TensorInfo, name: str, manifest: Manifest) -> None:
    """Check that the output's shape, where it is declared, is ``(N, classes)``.

    Raises:
        BundleError: it is not.
    """
    shape, classes = output.shape, len(manifest.classes)
    if shape and (len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != classes)):
        raise BundleError(
            f"{name}: expected {output.name:.80} ('N', {classes}), as the manifest names {classes} classes,"
            f" got {shape}; export the bundle again"
        )


def _tuples(tensors: Sequence[TensorInfo]) -> str:
    return f"{[tuple(tensor) for tensor in tensors[:4]]!s:.200}"


def _onnxruntime() -> Any:
    oldest = ".".join(map(str, OLDEST_ONNXRUNTIME))
    try:
        import onnxruntime

        version: str = onnxruntime.__version__  # missing in an empty folder of that name
    except Exception as error:  # a broken installation can raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            raise DeviceError(
                f"expected onnxruntime >= {oldest}, got none; run: pip install onnxruntime"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DeviceError(
            f"expected onnxruntime >= {oldest}, got one that is installed but cannot be imported:"
            f" {reason:.200}; install what it lacks, or run: pip install --force-reinstall onnxruntime"
        ) from error
    installed = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if installed < OLDEST_ONNXRUNTIME:
        raise DeviceError(
            f"expected onnxruntime >= {oldest}, got {version}; run: pip install --upgrade onnxruntime"
        )
    return onnxruntime


def _check_providers(providers: Sequence[str], available: Sequence[str]) -> None:
    for name in providers or [""]:
        if name not in available:
            raise DeviceError(
                f"expected a provider out of {', '.join(available)}, got {name!r}; "
                "name one of these or install the onnxruntime build that has it"
            )
