"""Models and sessions."""
from __future__ import annotations

import os
import threading
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from . import _runtime
from ._error import Error

# onnx.TensorProto.DataType -> numpy's name, or that of ml_dtypes where numpy has no such type.
_NUMPY = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
          10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128"}
_ML_DTYPES = {16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz",
              21: "uint4", 22: "int4", 23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2"}
_ML_NAMES = set(_ML_DTYPES.values())


def _dtype(onnx_type: int) -> np.dtype:
    """numpy's type of elements; types that numpy lacks come from ml_dtypes, or else as raw bytes."""
    if onnx_type in _NUMPY:
        return np.dtype(_NUMPY[onnx_type])
    try:
        import ml_dtypes
        dtype: np.dtype = np.dtype(getattr(ml_dtypes, _ML_DTYPES[onnx_type]))
        return dtype
    except (ImportError, AttributeError):
        return _raw(onnx_type)


def _raw(onnx_type: int) -> np.dtype:
    """The type that memory for elements is made of: _dtype, or unsigned integers of the same width."""
    return np.dtype(_NUMPY.get(onnx_type, "uint16" if onnx_type == 16 else "uint8"))


class TensorInfo(NamedTuple):
    """An input or output of a model."""
    name: str
    dtype: np.dtype
    #: Sizes; the name of a symbolic dimension; None where a size depends on data.
    shape: tuple[int | str | None, ...]
    #: onnx.TensorProto.DataType
    onnx_type: int


def _infos(descriptions: list[dict[str, Any]]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(d["name"], _dtype(d["onnx_type"]), d["shape"], d["onnx_type"]) for d in descriptions)


def _exportable(array: Any, dtype: np.dtype | None = None) -> Any:
    """Something that the extension module can read. Numbers and lists become arrays of `dtype` where that
    loses no more than precision. Elements of ml_dtypes travel as integers, since neither DLPack nor the buffer
    protocol of numpy knows them."""
    if array is None:
        return None
    if not isinstance(array, np.ndarray):
        if hasattr(array, "__dlpack__"):
            return array
        given = not isinstance(array, np.generic)
        array = np.asarray(array)
        if given and dtype is not None and (dtype.name in _ML_NAMES or np.can_cast(array.dtype, dtype, "same_kind")):
            array = array.astype(dtype)
    if array.dtype.name in _ML_NAMES:
        array = array.view("uint16" if array.dtype.itemsize == 2 else "uint8")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


class Session:
    """Runs a model, in one thread at a time; owns the memory of intermediate results. Make one for each
    thread, or one for each sequence whose state it keeps."""

    def __init__(self, model: Model, threads: int = 0):
        self.model = model
        self._session = _runtime.Session(model._model, threads)
        self._pasts: set[str] = set()
        self._presents: set[str] = set()

    def run(self, *args: Any, outputs: Mapping[str, Any] | None = None, **named: Any) -> dict[str, np.ndarray]:
        """Runs on one dict of arrays by input name, on arrays in the order of the inputs, or on keyword
        arguments; returns all outputs by name.

        Arrays of numpy and of every library that speaks DLPack are read where they lie. An output that is
        in `outputs` is written into that array, which is returned in its place.
        """
        inputs = self._inputs(args, named)
        given = dict(outputs or {})
        results: list[Any] = []
        infos = self.model.outputs
        if any(info.name not in given and info.name not in self._presents for info in infos):
            shapes = self._session.output_shapes(inputs)
        else:
            shapes = [[]] * len(infos)
        for info, shape in zip(infos, shapes):
            if info.name in given:
                results.append(_exportable(given[info.name]))
            elif info.name in self._presents or -1 in shape:
                results.append(None)  # kept in the session, or taken from it afterwards
            else:
                results.append(np.empty(shape, _raw(info.onnx_type)))
        if unknown := given.keys() - {info.name for info in infos}:
            raise Error(f"no output named {', '.join(sorted(unknown))}; the model has {self._names(infos)}", 3)
        self._session.run(inputs, results)
        named_results = {}
        for i, (info, result) in enumerate(zip(infos, results)):
            if info.name in given:
                named_results[info.name] = given[info.name]
            elif info.name not in self._presents:
                array = self._session.take_output(i) if result is None else result
                named_results[info.name] = array.view(info.dtype) if array.dtype != info.dtype else array
        return named_results

    @staticmethod
    def _names(infos: Sequence[TensorInfo]) -> str:
        return ", ".join(info.name for info in infos)

    def _inputs(self, args: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        infos = self.model.inputs
        wanted = [info.name for info in infos if info.name not in self._pasts]
        if len(args) == 1 and isinstance(args[0], Mapping):
            feeds = {**args[0], **named}
        else:
            if len(args) > len(wanted):
                raise Error(f"{len(args)} inputs given; the model has {len(wanted)}: {', '.join(wanted)}", 3)
            feeds = {**dict(zip(wanted, args)), **named}
        if missing := [name for name in wanted if feeds.get(name) is None]:
            raise Error(f"no input named {', '.join(missing)}; the model's inputs are {self._names(infos)}", 3)
        if unknown := feeds.keys() - {info.name for info in infos}:
            raise Error(f"the model has no input {', '.join(sorted(unknown))}; its inputs are {self._names(infos)}", 3)
        return [_exportable(feeds.get(info.name), info.dtype) for info in infos]

    def bind_state(self, past: str, present: str, capacity: int = 0) -> None:
        """Feeds output `present` back as input `past` of the next run. Where their shapes differ in one
        dimension, the state grows along it from empty up to `capacity`; otherwise it starts as zeros."""
        self._session.bind_state(past, present, capacity)
        self._pasts.add(past)
        self._presents.add(present)

    def set_state(self, past: str, value: Any) -> None:
        """Sets the content of a bound state (copied)."""
        self._session.set_state(past, _exportable(value))

    def reset_states(self) -> None:
        """Makes all bound states empty (or zeros) again."""
        self._session.reset_states()

    @property
    def threads(self) -> int:
        """Threads that runs use."""
        return self._session.threads()

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that the session holds, by what they are for."""
        return self._session.memory()


class Model:
    """An open artifact. May be used from any number of threads."""

    def __init__(self, path: str | os.PathLike[str], threads: int = 0):
        self._model = _runtime.Model(os.fspath(path))
        self._threads = threads
        self._idle: list[Session] = []
        self._lock = threading.Lock()
        self.inputs: tuple[TensorInfo, ...] = _infos(self._model.inputs())
        self.outputs: tuple[TensorInfo, ...] = _infos(self._model.outputs())

    def run(self, *args: Any, outputs: Mapping[str, Any] | None = None, **named: Any) -> dict[str, np.ndarray]:
        """As Session.run, in a session that is idle or, where all are in use, in a new one."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        if session is None:
            session = self.session()
        try:
            return session.run(*args, outputs=outputs, **named)
        finally:
            with self._lock:
                self._idle.append(session)

    __call__ = run

    def session(self, threads: int | None = None) -> Session:
        """A new session; `threads` as in load()."""
        return Session(self, self._threads if threads is None else threads)

    @property
    def symbols(self) -> dict[str, tuple[int, int | None]]:
        """Symbolic dimensions of the inputs, each with the least and the largest size (None: no limit)."""
        return self._model.symbols()

    @property
    def properties(self) -> dict[str, str]:
        """What the compiler recorded: producer, target, opt, model."""
        return self._model.properties()

    def memory(self, threads: int = 0, **dims: int) -> dict[str, int]:
        """Bytes that a session would need for these sizes of symbolic dimensions."""
        return self._model.memory(list(dims.items()), threads)

    def __repr__(self) -> str:
        def text(infos: tuple[TensorInfo, ...]) -> str:
            return ", ".join(f"{i.name}: {i.dtype.name}[{', '.join('?' if d is None else str(d) for d in i.shape)}]"
                             for i in infos)
        return f"<nnopt.Model {text(self.inputs)} -> {text(self.outputs)}>"


def load(path: str | os.PathLike[str], threads: int = 0) -> Model:
    """Opens an artifact. `threads` is how many its runs use; 0: as many as the machine allows."""
    return Model(path, threads)
