"""compile(): the compiler as a function."""
from __future__ import annotations

import os
import subprocess
import tempfile
import warnings
from typing import Any

from ._error import Error
from ._model import Model, load


def tool(name: str) -> str:
    """The path of a command line tool that came with this package ("nnopt-compile", "nnopt-run", ...)."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", name)
    if not os.path.exists(path):
        raise Error(f"{path}: not found; the package is not complete, install it again")
    return path


def _size_text(size: Any) -> str:
    """A size as nnopt-compile reads it: (1, 512) is "1..512", [64, "*"] is "64,*"."""
    if isinstance(size, tuple):
        return "..".join(map(str, size))
    return ",".join(map(str, size)) if isinstance(size, list) else str(size)


def _flags(options: dict[str, Any]) -> list[str]:
    """--flags of nnopt-compile: exact_conv=True, dim={"batch": 1, "sequence": (1, 512), "width": [64, 128, "*"]},
    report=["a.html", "a.json"]."""
    flags = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            flags.append(flag)
        elif isinstance(value, dict):
            flags += [f"{flag}={key}={_size_text(v)}" for key, v in value.items()]
        elif isinstance(value, (list, tuple)):
            flags += [f"{flag}={os.fspath(v) if isinstance(v, os.PathLike) else v}" for v in value]
        elif value is not None and value is not False:
            flags.append(f"{flag}={os.fspath(value) if isinstance(value, os.PathLike) else value}")
    return flags


def _run(model: str, output: str | None, options: dict[str, Any]) -> None:
    """nnopt-compile as a process of its own: its memory is returned, Ctrl-C stops it, and no failure
    inside of it can end this process."""
    command = [tool("nnopt-compile"), model, *(["-o", output] if output else []), *_flags(options)]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, errors="replace")
    if result.returncode != 0:
        message = result.stderr.strip() or f"nnopt-compile ended with status {result.returncode}"
        raise Error(message, result.returncode if result.returncode > 0 else 1)
    for line in result.stderr.splitlines():
        if ": warning: " in line:
            warnings.warn(line, stacklevel=3)


def _saved(model: Any, folder: str) -> str:
    """The path of a model that is a path already, bytes, or an onnx.ModelProto."""
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    data = model if isinstance(model, (bytes, bytearray, memoryview)) else model.SerializeToString()
    path = os.path.join(folder, "model.onnx")
    with open(path, "wb") as stream:
        stream.write(data)
    return path


def compile(model: str | os.PathLike[str] | bytes | Any, output: str | os.PathLike[str] | None = None, *,
            threads: int = 0, **options: Any) -> Model:
    """Compiles a model and opens the result.

    `model` is the path of an ONNX file, its bytes, or an onnx.ModelProto. `output` is where the artifact goes;
    without one it lives as long as the returned model. `options` are the flags of nnopt-compile with `_` for `-`:

        compile("m.onnx", dim={"batch": 8, "sequence": (1, 512)}, target="x86-64-v3", opt=2, report="m.html")

    `threads` is how many the model's own runs use; 0: as many as the machine allows. Warnings of the compiler
    become Python warnings. Raises Error with the compiler's message and exit code.
    """
    with tempfile.TemporaryDirectory(prefix="nnopt-") as folder:
        path = os.fspath(output) if output is not None else os.path.join(folder, "model.so")
        _run(_saved(model, folder), path, options)
        # An open model does not need its file's name any more.
        return load(path, threads=threads)


def check(model: str | os.PathLike[str] | bytes | Any, **options: Any) -> None:
    """Raises Error (code 4) with the table of everything that is unsupported, if anything is."""
    with tempfile.TemporaryDirectory(prefix="nnopt-") as folder:
        _run(_saved(model, folder), None, {**options, "check": True})
