"""Compiling and running models from Python tests.

compile() runs nnopt-compile; Session calls the C interface (include/nnopt/runtime.h) through ctypes and
has the methods of an onnxruntime session that tests use; compare() measures the difference of outputs.
The build folder is $NNOPT_BUILD, or `build` beside this source tree.
"""
import ctypes as C
import os
import subprocess
import tempfile
import threading
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("NNOPT_BUILD", os.path.join(ROOT, "build"))


def tool(name):
    return os.path.join(BUILD, "bin", name)


# --------------------------------------------------------------------- compiling
class CompileError(RuntimeError):
    """nnopt-compile failed; `code` is its exit code (negative: the signal), `output` its messages."""

    def __init__(self, code, output):
        super().__init__(f"nnopt-compile: exit {code}\n{output.strip()}")
        self.code, self.output = code, output

    def __reduce__(self): # between processes
        return CompileError, (self.code, self.output)


def compile(model, out, flags=(), timeout=600):
    """Compiles `model` into `out`, all of it, without a cache. Returns (seconds, peak resident bytes)."""
    command = [tool("nnopt-compile"), model, "-o", out, "--cache-dir=", *flags]
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            output = log.read().decode(errors="replace")
            raise CompileError(process.returncode, output if seconds < timeout else f"no result after {timeout} s")
    return seconds, usage.ru_maxrss * 1024


# --------------------------------------------------------------------- the C interface
class _DLDevice(C.Structure):
    _fields_ = [("device_type", C.c_int32), ("device_id", C.c_int32)]


class _DLDataType(C.Structure):
    _fields_ = [("code", C.c_uint8), ("bits", C.c_uint8), ("lanes", C.c_uint16)]


class _DLTensor(C.Structure):
    _fields_ = [("data", C.c_void_p), ("device", _DLDevice), ("ndim", C.c_int32), ("dtype", _DLDataType),
                ("shape", C.POINTER(C.c_int64)), ("strides", C.POINTER(C.c_int64)), ("byte_offset", C.c_uint64)]


class _DLManaged(C.Structure):
    pass


_DLManaged._fields_ = [("major", C.c_uint32), ("minor", C.c_uint32), ("context", C.c_void_p),
                       ("deleter", C.CFUNCTYPE(None, C.POINTER(_DLManaged))), ("flags", C.c_uint64),
                       ("tensor", _DLTensor)]


class _Error(C.Structure):
    _fields_ = [("code", C.c_int32), ("message", C.c_char * 1024)]


class _TensorInfo(C.Structure):
    _fields_ = [("name", C.c_char_p), ("dtype", _DLDataType), ("onnx_type", C.c_int32), ("rank", C.c_int32),
                ("dims", C.POINTER(C.c_int64)), ("dim_names", C.POINTER(C.c_char_p)), ("kind", C.c_int32),
                ("type", C.c_char_p)]


class _Shape(C.Structure):
    _fields_ = [("rank", C.c_int32), ("dims", C.c_int64 * 16)]


class _Memory(C.Structure):
    _fields_ = [("arena", C.c_int64), ("lower_bound", C.c_int64), ("naive", C.c_int64), ("weights", C.c_int64),
                ("other", C.c_int64), ("reserved", C.c_int64 * 3)]


class _Options(C.Structure):
    _fields_ = [("struct_size", C.c_size_t), ("num_threads", C.c_int32), ("spin_us", C.c_int32), ("flags", C.c_uint32),
                ("reserved", C.c_uint32)] + [(name, C.c_void_p) for name in (
                    "parallel_for", "parallel_context", "allocate", "deallocate", "allocator_context", "log",
                    "log_context", "ops_library")] + [("device_type", C.c_int32), ("device_id", C.c_int32),
                                                      ("stream", C.c_void_p)]


_PROFILE = C.CFUNCTYPE(None, C.c_void_p, C.c_void_p)

# Element type -> DLPack type code. Types that numpy lacks come from ml_dtypes (one element a byte where they are
# narrower) and are known by name, with their width.
_KIND_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_NAME_CODES = {"bfloat16": (4, 16), "float8_e4m3fn": (10, 8), "float8_e4m3fnuz": (11, 8), "float8_e5m2": (12, 8),
               "float8_e5m2fnuz": (13, 8), "float8_e8m0fnu": (14, 8), "float4_e2m1fn": (17, 4), "int4": (0, 4),
               "uint4": (1, 4), "int2": (0, 2), "uint2": (1, 2)}
# onnx.TensorProto.DataType -> (element type, the name onnxruntime gives it)
_ONNX_TYPES = {1: ("float32", "float"), 2: ("uint8",) * 2, 3: ("int8",) * 2, 4: ("uint16",) * 2, 5: ("int16",) * 2,
               6: ("int32",) * 2, 7: ("int64",) * 2, 9: ("bool",) * 2, 10: ("float16",) * 2,
               11: ("float64", "double"), 12: ("uint32",) * 2, 13: ("uint64",) * 2, 16: ("bfloat16",) * 2,
               17: ("float8_e4m3fn", "float8e4m3fn"), 18: ("float8_e4m3fnuz", "float8e4m3fnuz"),
               19: ("float8_e5m2", "float8e5m2"), 20: ("float8_e5m2fnuz", "float8e5m2fnuz"), 21: ("uint4",) * 2,
               22: ("int4",) * 2, 23: ("float4_e2m1fn", "float4e2m1"), 24: ("float8_e8m0fnu", "float8e8m0"),
               25: ("uint2",) * 2, 26: ("int2",) * 2}


def numpy_type(onnx_type):
    name = _ONNX_TYPES[onnx_type][0]
    if name in _NAME_CODES:
        import ml_dtypes
        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(name)


_library = None


def library():
    global _library
    if _library is None:
        lib = C.CDLL(os.path.join(BUILD, "lib", "libnnopt_runtime.so"))
        for name in ("nnopt_model_input_count", "nnopt_model_output_count"):
            getattr(lib, name).restype = C.c_size_t
            getattr(lib, name).argtypes = [C.c_void_p]
        for name in ("nnopt_model_input", "nnopt_model_output"):
            getattr(lib, name).restype = C.POINTER(_TensorInfo)
            getattr(lib, name).argtypes = [C.c_void_p, C.c_size_t]
        lib.nnopt_options_init.argtypes = [C.c_void_p]
        lib.nnopt_options_init.restype = None
        lib.nnopt_model_open.argtypes = [C.c_char_p, C.c_void_p, C.c_void_p, C.c_void_p]
        lib.nnopt_model_close.argtypes = lib.nnopt_session_destroy.argtypes = [C.c_void_p]
        lib.nnopt_model_close.restype = lib.nnopt_session_destroy.restype = None
        lib.nnopt_session_create.argtypes = [C.c_void_p, C.c_void_p, C.c_void_p, C.c_void_p]
        lib.nnopt_session_run.argtypes = [C.c_void_p, C.c_void_p, C.c_size_t, C.c_void_p, C.c_size_t, C.c_void_p]
        lib.nnopt_session_output_shapes.argtypes = [C.c_void_p, C.c_void_p, C.c_size_t, C.c_void_p, C.c_size_t,
                                                    C.c_void_p]
        lib.nnopt_session_take_output.argtypes = [C.c_void_p, C.c_size_t, C.c_void_p, C.c_void_p]
        lib.nnopt_session_memory.argtypes = [C.c_void_p, C.c_void_p]
        lib.nnopt_session_memory.restype = None
        lib.nnopt_session_bind_state.argtypes = [C.c_void_p, C.c_char_p, C.c_char_p, C.c_int64, C.c_void_p]
        lib.nnopt_session_reset_states.argtypes = [C.c_void_p]
        lib.nnopt_session_reset_states.restype = None
        lib.nnopt_session_set_profiler.argtypes = [C.c_void_p, _PROFILE, C.c_void_p]
        lib.nnopt_session_set_profiler.restype = None
        lib.nnopt_session_set_input.argtypes = [C.c_void_p, C.c_size_t, C.c_void_p, C.c_void_p]
        lib.nnopt_session_take_value.argtypes = [C.c_void_p, C.c_size_t, C.c_void_p, C.c_void_p]
        lib.nnopt_value_tensor.argtypes = [C.c_int32, C.c_void_p, C.c_void_p, C.c_void_p]
        lib.nnopt_value_strings.argtypes = [C.c_int32, C.c_void_p, C.c_void_p, C.c_void_p, C.c_void_p, C.c_void_p]
        lib.nnopt_value_sequence.argtypes = [C.c_int32, C.c_void_p, C.c_size_t, C.c_void_p, C.c_void_p]
        lib.nnopt_value_optional.argtypes = [C.c_int32, C.c_void_p, C.c_void_p, C.c_void_p]
        lib.nnopt_value_map.argtypes = [C.c_void_p, C.c_void_p, C.c_void_p, C.c_void_p]
        lib.nnopt_value_release.argtypes = lib.nnopt_value_kind.argtypes = lib.nnopt_value_type.argtypes = [C.c_void_p]
        lib.nnopt_value_release.restype = None
        lib.nnopt_value_shape.argtypes = [C.c_void_p, C.c_void_p]
        lib.nnopt_value_shape.restype = C.POINTER(C.c_int64)
        lib.nnopt_value_count.argtypes = lib.nnopt_value_data.argtypes = [C.c_void_p]
        lib.nnopt_value_count.restype = C.c_size_t
        lib.nnopt_value_data.restype = C.c_void_p
        lib.nnopt_value_string.argtypes = [C.c_void_p, C.c_size_t, C.c_void_p]
        lib.nnopt_value_string.restype = C.c_void_p
        lib.nnopt_value_element.argtypes = [C.c_void_p, C.c_size_t]
        lib.nnopt_value_element.restype = C.c_void_p
        _library = lib
    return _library


def _describe(array):
    """A DLTensor over a C-contiguous array, or over a tensor of PyTorch on a GPU, and what must stay alive with it."""
    if hasattr(array, "data_ptr"):
        name = str(array.dtype).removeprefix("torch.")
        code, bits = _NAME_CODES[name] if name in _NAME_CODES else (_KIND_CODES[np.dtype(name).kind], array.element_size() * 8)
        shape = (C.c_int64 * max(1, array.ndim))(*array.shape)
        tensor = _DLTensor(array.data_ptr(), _DLDevice(2, array.device.index), array.ndim, _DLDataType(code, bits, 1), shape, None, 0)
        return tensor, (array, shape)
    array = np.asarray(array, order="C")
    name = array.dtype.name
    kind, bits = array.dtype.kind, array.dtype.itemsize * 8
    code, bits = _NAME_CODES[name] if name in _NAME_CODES else (_KIND_CODES[kind], bits)
    shape = (C.c_int64 * max(1, array.ndim))(*array.shape)
    tensor = _DLTensor(array.ctypes.data, _DLDevice(1, 0), array.ndim,
                       _DLDataType(code, bits, 1), shape, None, 0)
    return tensor, (array, shape)


# nnopt_kind
_TENSOR, _STRINGS, _SEQUENCE, _OPTIONAL, _MAP = range(5)


class _Values:
    """Python values as nnopt_value and back: arrays (of str for strings), lists, None or the value of an optional,
    dicts. References that were made are released by close()."""

    def __init__(self, lib, check, error):
        self.lib, self.check, self.error, self.held = lib, check, error, []

    def close(self):
        for value in self.held:
            self.lib.nnopt_value_release(value)
        self.held = []

    def make(self, value, kind, onnx_type, type_text):
        out = C.c_void_p()
        call = (C.byref(out), C.byref(self.error))
        if kind == _OPTIONAL:
            inner = type_text[len("optional("):-1]
            element = None
            if value is not None:
                element = self.make(value, _SEQUENCE if inner.startswith("seq") else _kind_of(onnx_type), onnx_type, inner)
            code = self.lib.nnopt_value_optional(onnx_type, element, *call)
        elif kind == _SEQUENCE:
            inner = type_text[len("seq("):-1]
            inner_kind = _MAP if inner.startswith("map") else _kind_of(onnx_type)
            elements = [self.make(v, inner_kind, onnx_type, inner) for v in value]
            code = self.lib.nnopt_value_sequence(onnx_type, (C.c_void_p * max(1, len(elements)))(*elements),
                                                 len(elements), *call)
        elif kind == _MAP:
            words = "map(string" in type_text
            keys = np.array(list(value.keys()), object if words else np.int64)
            values = np.array(list(value.values()), object if onnx_type == 8 else numpy_type(onnx_type))
            code = self.lib.nnopt_value_map(self.make(keys, _STRINGS if words else _TENSOR, 8 if words else 7, ""),
                                            self.make(values, _kind_of(onnx_type), onnx_type, ""), *call)
        elif kind == _STRINGS:
            array = np.asarray(value)
            texts = [v if isinstance(v, bytes) else str(v).encode() for v in array.reshape(-1).tolist()]
            code = self.lib.nnopt_value_strings(
                array.ndim, (C.c_int64 * max(1, array.ndim))(*array.shape), (C.c_char_p * max(1, len(texts)))(*texts),
                (C.c_size_t * max(1, len(texts)))(*map(len, texts)), *call)
        else:
            tensor, alive = _describe(np.asarray(value, numpy_type(onnx_type)))
            code = self.lib.nnopt_value_tensor(onnx_type, C.byref(tensor), *call)
            del alive
        self.check(code)
        self.held.append(out)
        return out

    def read(self, value):
        lib, kind, count = self.lib, self.lib.nnopt_value_kind(value), self.lib.nnopt_value_count(value)
        if kind == _OPTIONAL:
            return self.read(lib.nnopt_value_element(value, 0)) if count else None
        if kind == _SEQUENCE:
            return [self.read(lib.nnopt_value_element(value, i)) for i in range(count)]
        if kind == _MAP:
            keys, values = (self.read(lib.nnopt_value_element(value, i)) for i in range(2))
            return dict(zip(keys.tolist(), values.tolist()))
        rank = C.c_int32()
        dims = lib.nnopt_value_shape(value, C.byref(rank))
        shape = dims[:rank.value]
        if kind == _STRINGS:
            length = C.c_size_t()
            texts = [C.string_at(lib.nnopt_value_string(value, i, C.byref(length)), length.value).decode()
                     for i in range(count)]
            array = np.empty(count, object)
            array[:] = texts
            return array.reshape(shape)
        array = np.empty(shape, numpy_type(lib.nnopt_value_type(value)))
        if array.nbytes:
            C.memmove(array.ctypes.data, lib.nnopt_value_data(value), array.nbytes)
        return array


def _kind_of(onnx_type):
    return _STRINGS if onnx_type == 8 else _TENSOR


class TensorInfo:
    """As onnxruntime's NodeArg: shape has ints, and names (or None) of symbolic dimensions."""

    def __init__(self, info):
        self.name = info.name.decode()
        self.kind, self.onnx_type, self.type = info.kind, info.onnx_type, info.type.decode()
        self.dtype = numpy_type(info.onnx_type) if info.onnx_type != 8 else np.dtype(object)
        self.shape = [info.dims[i] if info.dims[i] >= 0 else (info.dim_names[i] or b"").decode() or None
                      for i in range(info.rank)]


class Session:
    """A model and a session of the runtime. `threads` 0: as many as the machine allows. `device`: cpu or cuda. `garbage`: its memory
    is full of denormal numbers (x86-64 alone; support/garbage.c)."""

    def __init__(self, path, threads=1, device="cpu", garbage=False):
        self.lib = library()
        self.error = _Error()
        self.model, self.session = C.c_void_p(), C.c_void_p()
        options = _Options()
        self.lib.nnopt_options_init(C.byref(options))
        if garbage:
            self.garbage = C.CDLL(os.path.join(BUILD, "lib", "libnnopt_test_garbage.so"))
            for name in ("allocate", "deallocate"):
                setattr(options, name, C.cast(getattr(self.garbage, "nnopt_test_" + name), C.c_void_p))
        options.device_type = {"cpu": 1, "cuda": 2}[device]
        self._check(self.lib.nnopt_model_open(os.fsencode(path), C.byref(options), C.byref(self.model),
                                              C.byref(self.error)))
        options.num_threads = threads
        self._check(self.lib.nnopt_session_create(self.model, C.byref(options), C.byref(self.session),
                                                  C.byref(self.error)))
        self.bound = set()
        self.inputs = [TensorInfo(self.lib.nnopt_model_input(self.model, i).contents)
                       for i in range(self.lib.nnopt_model_input_count(self.model))]
        self.outputs = [TensorInfo(self.lib.nnopt_model_output(self.model, i).contents)
                        for i in range(self.lib.nnopt_model_output_count(self.model))]

    def close(self):
        self.lib.nnopt_session_destroy(self.session)
        self.lib.nnopt_model_close(self.model)
        self.session = self.model = C.c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _check(self, code):
        if code != 0:
            raise RuntimeError(f"{self.error.message.decode(errors='replace')} (code {code})")

    def bind_state(self, past, present, capacity):
        """From now on the session keeps both; run() takes no past and gives None for the present."""
        self._check(self.lib.nnopt_session_bind_state(self.session, past.encode(), present.encode(), capacity, C.byref(self.error)))
        self.bound |= {past, present}

    def take_state(self, index):
        """What a bound output holds after a run, in one piece."""
        return self._take(index)

    def reset_states(self):
        self.lib.nnopt_session_reset_states(self.session)

    def get_inputs(self):
        return self.inputs

    def get_outputs(self):
        return self.outputs

    def prepare(self, feeds, allocate=np.empty):
        """Makes step() a bare call of nnopt_session_run with these inputs; results are in `results`, made by `allocate(dims, dtype)`.
        Inputs and results may be tensors of PyTorch on the GPU."""
        missing = [i.name for i in self.inputs if i.name not in feeds and i.name not in self.bound]
        if missing:
            raise RuntimeError(f"no input named {', '.join(missing)}")
        described = [_describe(feeds[i.name]) if i.kind == _TENSOR and i.name not in self.bound else None for i in self.inputs]
        pointers = (C.POINTER(_DLTensor) * max(1, len(described)))(*[C.pointer(d[0]) if d else None for d in described])
        values = _Values(self.lib, self._check, self.error)
        try:
            for index, i in enumerate(self.inputs):
                if i.kind != _TENSOR:
                    value = values.make(feeds[i.name], i.kind, i.onnx_type, i.type)
                    self._check(self.lib.nnopt_session_set_input(self.session, index, value, C.byref(self.error)))
        finally:
            values.close()
        shapes = (_Shape * max(1, len(self.outputs)))()
        self._check(self.lib.nnopt_session_output_shapes(self.session, pointers, len(described), shapes,
                                                         len(self.outputs), C.byref(self.error)))
        self.results, results = [], []
        for info, shape in zip(self.outputs, shapes):
            dims = list(shape.dims[:shape.rank]) if info.kind == _TENSOR and info.name not in self.bound else [-1]
            self.results.append(None if -1 in dims else allocate(dims, info.dtype))
            results.append(None if -1 in dims else _describe(self.results[-1]))
        out = (C.POINTER(_DLTensor) * max(1, len(results)))(*[C.pointer(r[0]) if r else None for r in results])
        self._alive = (described, results)
        self._arguments = (self.session, pointers, len(described), out, len(results), C.byref(self.error))

    def step(self):
        code = self.lib.nnopt_session_run(*self._arguments)
        if code != 0:
            self._check(code)

    def _take(self, index):
        if self.outputs[index].kind != _TENSOR:
            values, value = _Values(self.lib, self._check, self.error), C.c_void_p()
            self._check(self.lib.nnopt_session_take_value(self.session, index, C.byref(value), C.byref(self.error)))
            values.held.append(value)
            try:
                return values.read(value)
            finally:
                values.close()
        managed = C.POINTER(_DLManaged)()
        self._check(self.lib.nnopt_session_take_output(self.session, index, C.byref(managed), C.byref(self.error)))
        tensor = managed.contents.tensor
        array = np.empty([tensor.shape[i] for i in range(tensor.ndim)], self.outputs[index].dtype)
        if array.nbytes:
            C.memmove(array.ctypes.data, tensor.data + tensor.byte_offset, array.nbytes)
        managed.contents.deleter(managed)
        return array

    def run(self, names, feeds):
        self.prepare(feeds)
        self.step()
        # None: absent optional, or a state.
        results = [self._take(i) if r is None and self.outputs[i].name not in self.bound else r for i, r in enumerate(self.results)]
        self._alive = self._arguments = None
        if names is None:
            return results
        by_name = {info.name: r for info, r in zip(self.outputs, results)}
        return [by_name[n] for n in names]

    def memory(self):
        memory = _Memory()
        self.lib.nnopt_session_memory(self.session, C.byref(memory))
        return memory

    def count_launches(self, feeds):
        """Kernels (and copies) that one run executes."""
        count = 0

        def record(_, __):
            nonlocal count
            count += 1

        callback = _PROFILE(record)
        self.lib.nnopt_session_set_profiler(self.session, callback, None)
        self.run(None, feeds)
        self.lib.nnopt_session_set_profiler(self.session, _PROFILE(), None)
        return count


# --------------------------------------------------------------------- comparing
def difference(got, want):
    """max |got - want| / max |want|: the error of an output relative to its scale. Infinite where types,
    shapes, NaNs or infinities differ, or an integer or bool differs."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return float("inf")
    if want.size == 0:
        return 0.0
    if want.dtype.kind in "iub":
        return 0.0 if np.array_equal(got, want) else float("inf")
    a, b = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(np.isfinite(a), finite) or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    scale = np.abs(b[finite]).max()
    return float(np.abs(a[finite] - b[finite]).max() / (scale if scale > 0 else 1.0))


def reference_session(path, threads=2, optimize=True):
    """An onnxruntime session on the CPU; `optimize`: whether it may change the graph. Its products of bytes are exact, as ONNX says: without VNNI, sums of pairs would else
    saturate at 16 bits."""
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
