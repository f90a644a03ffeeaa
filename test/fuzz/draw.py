"""Random choices for the differential fuzzer: shapes, values with awkward ones among them, and nodes put together as
the schema of an operator's version wants them."""
import random
import re

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NARROW = {"bfloat16": ml_dtypes.bfloat16, "float8e4m3fn": ml_dtypes.float8_e4m3fn, "float8e5m2": ml_dtypes.float8_e5m2,
          "float8e4m3fnuz": ml_dtypes.float8_e4m3fnuz, "float8e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
          "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4}
PLAIN = {"float": np.float32, "double": np.float64, "float16": np.float16, "bool": np.bool_, "int8": np.int8,
         "int16": np.int16, "int32": np.int32, "int64": np.int64, "uint8": np.uint8, "uint16": np.uint16,
         "uint32": np.uint32, "uint64": np.uint64}
WORDS = ["", "a", "B", "ab", "Zoë", "one two", " pad ", "x,y,,z", "7", "-1.5", "ab ab", "日本"]
NEWEST = {"": onnx.defs.onnx_opset_version(), "ai.onnx.ml": 5, "ai.onnx.preview.training": 1}
OLDEST = {"": 6}  # before that, types were few and rules others


def is_float(dtype):
    return np.dtype(dtype).kind == "f" or np.dtype(dtype).name.startswith(("bfloat", "float8"))


class Skip(Exception):
    """The choices do not make a case."""


class Draw:
    """The random numbers of one case."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.data = np.random.default_rng(self.rng.getrandbits(64))
        self.awkward = self.rng.random() < 0.15  # NaN, infinities, extremes
        self.empty = self.rng.random() < 0.06    # sizes of 0

    def __getattr__(self, name):
        return getattr(self.rng, name)

    def chance(self, probability):
        return self.rng.random() < probability

    def size(self):
        if self.empty and self.chance(0.3):
            return 0
        return self.choice([1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33])

    def shape(self, low=0, high=4):
        rank = self.randint(low, high)
        sizes = [self.size() for _ in range(rank)]
        while np.prod(sizes) > 20000:
            sizes[self.randrange(rank)] = 1
        return sizes

    def broadcast(self, shape):
        """A shape that broadcasts to this one."""
        sizes = list(shape[self.choice([0, 0, 0, self.randint(0, len(shape))]):])
        return [1 if self.chance(0.25) else s for s in sizes]

    def axis(self, rank, past=0):
        return self.randint(-rank - past, rank - 1 + past) if rank + past else 0

    def axes(self, rank, low=1):
        chosen = self.sample(range(rank), self.randint(min(low, rank), rank))
        return [a - rank if self.chance(0.3) else a for a in chosen]

    def values(self, shape, dtype, low=None, high=None):
        """Elements of a type; integers between two bounds where these are given."""
        dtype = np.dtype(dtype)
        shape = tuple(shape)
        if dtype == object:
            return self.words(shape)
        if dtype == np.bool_:
            return self.data.random(shape) < 0.5
        if dtype.name in ("int4", "uint4"):
            return self.data.integers(-8 if dtype.name == "int4" else 0, 8, shape).astype(dtype)
        if not is_float(dtype):
            info = np.iinfo(dtype)
            if low is None:
                low, high = (info.min, info.max) if self.awkward else (max(info.min, -20), 20)
            return self.data.integers(low, high, shape, dtype=dtype, endpoint=True)
        if low is not None:
            return self.data.uniform(low, high, shape).astype(dtype)
        x = self.data.standard_normal(shape) * self.choice([1, 1, 3])
        with np.errstate(over="ignore"):
            x = np.asarray(x).astype(dtype)
        if self.awkward and x.size:
            largest = float(ml_dtypes.finfo(dtype).max)
            special = np.array([np.nan, np.inf, -np.inf, 0, -0.0, largest, -largest, 1, -1, 0.5, 1.5, 2.5, 1e-40])
            with np.errstate(over="ignore", invalid="ignore"):
                where = self.data.random(shape) < 0.3
                x = np.where(where, self.data.choice(special, shape).astype(dtype), x).astype(dtype)
        return x

    def words(self, shape, of=WORDS):
        """Texts."""
        array = np.empty(int(np.prod(shape)), object)
        array[:] = [self.choice(of) for _ in range(array.size)]
        return array.reshape(shape)

    def ordinary(self, shape, dtype, low=None, high=None):
        """Elements without NaN, infinities and extremes."""
        awkward, self.awkward = self.awkward, False
        values = self.values(shape, dtype, low, high)
        self.awkward = awkward
        return values

    # ------------------------------------------------------------------ schemas
    def schema(self, versions):
        """One of an operator's versions and an opset that means it."""
        domain = versions[min(versions)].domain
        oldest, newest = OLDEST.get(domain, 1), NEWEST[domain]
        usable = [v for v in versions if not versions[v].deprecated]
        usable = [v for v in usable if not any(v < w <= oldest for w in versions)]
        version = self.choice([max(usable)] * 2 + usable)
        until = min([v - 1 for v in versions if v > version], default=newest)
        return versions[version], self.choice([until, self.randint(max(version, oldest), until)])

    def type(self, schema, index=0, floats=False, only=None, strings=False):
        """A type that the operand, or elements of the sequence or optional, may have; f32 more often than others."""
        texts = schema.inputs[min(index, len(schema.inputs) - 1)].types
        names = {m[1] for m in (re.fullmatch(r"(?:\w+\()*tensor\((\w+)\)+", t) for t in texts) if m}
        if strings and "string" in names and self.chance(0.1):
            return np.dtype(object)
        known = {n: t for n, t in {**PLAIN, **NARROW}.items() if n in names}
        if floats:
            known = {n: t for n, t in known.items() if is_float(t)}
        if only:
            known = {n: t for n, t in known.items() if n in only}
        if not known:
            raise Skip
        if "float" in known and self.chance(0.4):
            return np.float32
        plain = [t for n, t in sorted(known.items()) if n in PLAIN]
        return self.choice(plain if plain and self.chance(0.85) else [t for _, t in sorted(known.items())])


class Case:
    """A model and what it is fed."""

    def __init__(self, name, model, feeds, loose=1.0):
        self.name, self.model, self.feeds, self.loose = name, model, feeds, loose


def place(schema, tensors, named):
    """Operands and attributes of a node: what `named` holds becomes one or the other, as this version has it; values
    that it knows nothing of are left out."""
    inputs, attributes = list(tensors), {}
    formal = [i.name.lower() for i in schema.inputs]
    for name, value in named.items():
        if value is None:
            continue
        if name in schema.attributes:
            if isinstance(value, np.ndarray):
                value = value.tolist()
            if isinstance(value, bool):
                value = int(value)
            attributes[name] = value
        elif name.lower() in formal:
            at = formal.index(name.lower())
            inputs += [None] * (at + 1 - len(inputs))
            if not isinstance(value, np.ndarray):
                value = np.array(value, np.int64)
            inputs[at] = value
    return inputs, attributes


class Typed:
    """A value whose type cannot be seen: an empty sequence, an optional."""

    def __init__(self, value, proto):
        self.value, self.proto = value, proto


def type_of(value, dims=None):
    """The TypeProto of an array, a list (sequence), a dict (map to f32 or texts) or what is Typed."""
    if isinstance(value, Typed):
        return value.proto
    if isinstance(value, list):
        ranks = {np.ndim(v) for v in value}
        return helper.make_sequence_type_proto(type_of(value[0], [None] * ranks.pop() if len(ranks) == 1 else "any"))
    if isinstance(value, dict):
        key, item = next(iter(value.items()))
        code = TensorProto.STRING if isinstance(key, str) else TensorProto.INT64
        value = np.array(item, object if isinstance(item, str) else np.float32)
        return helper.make_map_type_proto(code, type_of(value))
    value = np.asarray(value)
    code = TensorProto.STRING if value.dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(value.dtype)
    if dims is None:
        dims = list(value.shape)
    return helper.make_tensor_type_proto(code, None if dims == "any" else dims)


def single(draw, schema, opset, tensors, outputs=1, constant=(), never_constant=(), loose=1.0, outer=None, results=None,
           **named):
    """A model of one node. `constant`: operands that mostly are initializers; `outputs`: how many, or a list that has 0
    for those that are left out; `outer`: values by name that subgraphs read; `results`: TypeProtos of outputs that are
    no tensors."""
    inputs, attributes = place(schema, tensors, named)
    while len(inputs) > schema.min_input and inputs[-1] is None:
        inputs.pop()
    names = [f"x{i}" if v is not None else "" for i, v in enumerate(inputs)]
    kept = [1] * outputs if isinstance(outputs, int) else outputs
    made = [f"y{i}" if keep else "" for i, keep in enumerate(kept)]
    node = helper.make_node(schema.name, names, made, "node", domain=schema.domain, **attributes)
    infos, initializers, feeds = [], [], {}
    dynamic = draw.chance(0.35)
    shared = draw.chance(0.5)
    formal = [i.name.lower() for i in schema.inputs]
    operands = [(name, formal[min(i, len(formal) - 1)], value)
                for i, (name, value) in enumerate(zip(names, inputs)) if value is not None]
    for name, key, value in operands + [(k, k, v) for k, v in (outer or {}).items()]:
        if isinstance(value, (Typed, list, dict)):
            infos.append(helper.make_value_info(name, type_of(value)))
            feeds[name] = value.value if isinstance(value, Typed) else value
            continue
        value = np.asarray(value)
        if key not in never_constant and draw.chance(0.75 if key in constant else 0.08):
            initializers.append(numpy_helper.from_array(value, name))
            continue
        shape = list(value.shape)
        if dynamic:
            shape = [(f"n{s}" if shared else f"{name}_{j}") if draw.chance(0.7) else s for j, s in enumerate(shape)]
        infos.append(helper.make_value_info(name, type_of(value, shape)))
        feeds[name] = value
    ends = [helper.make_value_info(r, results[i]) if results and results[i] else onnx.ValueInfoProto(name=r)
            for i, r in enumerate(made) if r]
    graph = helper.make_graph([node], "case", infos, ends, initializers)
    opsets = [helper.make_opsetid(schema.domain, opset)]
    if schema.domain:
        opsets.append(helper.make_opsetid("", 21))
    return Case(f"{schema.name}-{schema.since_version}", helper.make_model(graph, opset_imports=opsets, ir_version=10),
                feeds, loose)
