"""What else runs a model: the reference evaluator of the onnx package, and onnxruntime; where they are wrong; and what
differs between outputs."""
import numpy as np
import onnx
import onnx.reference
import onnxruntime

RTOL = {"float64": 1e-6, "float32": 1e-4, "float16": 5e-3, "bfloat16": 3e-2}
# Peers that are wrong: (peer, operators, how, and where not always for which nodes and types of their first input).
WRONG_PEERS = [
    ("reference", "LRN", "sums over channels for the first images only"),
    ("reference", "GlobalMaxPool", "forgets a dimension of size 1"),
    ("reference", "QLinearConv", "adds the zero point before it rounds; makes two dimensions of one"),
    ("reference", "RNN GRU LSTM", "ignores lengths, clip, input_forget, and activations",
     lambda node, kind: len(node.input) > 4 and node.input[4] or has(node, "clip", "input_forget", "activations")),
    ("reference", "Attention", "has scores after the soft cap where those before are asked for",
     lambda node, kind: len(node.output) > 3 and has(node, "softcap")),
    ("reference", "Attention", "counts the rows of a mask as queries: one that is broadcast, where causal meets nonpad_kv_seqlen",
     lambda node, kind: len(node.input) > 6 and node.input[3] and node.input[6] and has(node, "is_causal")),
    ("reference", "LpNormalization", "leaves signs on where p is 1",
     lambda node, kind: any(a.name == "p" and a.i == 1 for a in node.attribute)),
    ("reference", "LpPool", "scales up windows that reach over the end",
     lambda node, kind: any(a.name == "ceil_mode" and a.i for a in node.attribute)),
    ("reference", "Loop", "joins what it should stack, along the first dimension",
     lambda node, kind: len(node.output) > max(0, len(node.input) - 2)),
    ("reference", "StringNormalizer", "drops empty texts, and keeps stop words in other cases"),
    ("reference", "Optional", "makes a list of a tensor"),
    ("reference", "TreeEnsembleRegressor TreeEnsembleClassifier LinearRegressor LinearClassifier SVMRegressor "
     "SVMClassifier", "computes in integers where the input has such", lambda node, kind: kind.startswith("int")),
    ("reference", "TreeEnsemble", "has no transforms", lambda node, kind: has(node, "post_transform")),
    ("onnxruntime", "TreeEnsemble", "leaves targets that no leaf gave a score out of transforms",
     lambda node, kind: has(node, "post_transform")),
    ("onnxruntime", "CastMap", "writes numbers with six digits, and 0.f for what is missing",
     lambda node, kind: any(a.s == b"TO_STRING" for a in node.attribute)),
    ("reference", "LinearClassifier", "divides 0 by 0 for SOFTMAX_ZERO",
     lambda node, kind: any(a.s == b"SOFTMAX_ZERO" for a in node.attribute))]


def has(node, *attributes):
    """Whether a node has one of these attributes."""
    return any(a.name in attributes for a in node.attribute)


def wrong_peers(case):
    """Whose answer does not count."""
    graph = case.model.graph
    node = graph.node[0]
    first = [v.type.tensor_type.elem_type for v in graph.input if v.name == "x0"]
    first += [v.data_type for v in graph.initializer if v.name == "x0"]
    kind = onnx.helper.tensor_dtype_to_np_dtype(first[0]).name if first and first[0] else ""
    return {peer for peer, ops, _, *which in WRONG_PEERS
            if node.op_type in ops.split() and all(w(node, kind) for w in which)}


# --------------------------------------------------------------------- running
def run_reference(case, path):
    with np.errstate(all="ignore"):
        return onnx.reference.ReferenceEvaluator(case.model).run(None, case.feeds)


def run_onnxruntime(case, path):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.x64quantprecision", "1")  # else bytes saturate without VNNI
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return session.run(None, case.feeds)


PEERS = {"reference": run_reference, "onnxruntime": run_onnxruntime}


# --------------------------------------------------------------------- comparing
def inferred_types(model):
    """The element types of a model's outputs by the type inference of the onnx package, or where it has none by the
    schema, if that allows one only; None: no tensor, or unknown."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # it is no judge of a model
        graph = model.graph
    node = graph.node[-1]
    domains = {o.domain: o.version for o in model.opset_import}
    formal = onnx.defs.get_schema(node.op_type, domains[node.domain], node.domain).outputs
    types = []
    for i, output in enumerate(graph.output):
        code = output.type.tensor_type.elem_type
        if not code and len(graph.node) == 1 and i < len(formal) and len(formal[i].types) == 1:
            code = {"tensor(float)": 1, "tensor(int64)": 7}.get(next(iter(formal[i].types)), 0)
        types.append(onnx.helper.tensor_dtype_to_np_dtype(code) if code else None)
    return types


def as_inferred(outputs, types):
    """The outputs of the reference evaluator, where types of numpy show through (its sums of uint32 are uint64)."""
    with np.errstate(all="ignore"):
        return [np.asarray(v).astype(t) if t is not None and v is not None and not isinstance(v, (list, dict)) else v
                for v, t in zip(outputs, types)]


def difference(got, want, loose):
    """None where outputs agree, or what differs."""
    if len(got) != len(want):
        return f"{len(got)} outputs, not {len(want)}"
    for i, (g, w) in enumerate(zip(got, want)):
        if isinstance(w, dict) and isinstance(g, dict) and g.keys() == w.keys():
            g, w = [np.asarray(g[k]) for k in w], [np.asarray(w[k]) for k in w]
        if any(isinstance(v, (list, dict)) for v in (g, w)):
            if type(g) is not type(w):
                return f"output {i} is a {type(g).__name__}, not a {type(w).__name__}"
            if problem := difference(g, w, loose):
                return f"output {i}, element: {problem}"
            continue
        if g is None or w is None:
            if g is not w:
                return f"output {i} is {'absent' if g is None else 'present'}"
            continue
        g, w = np.asarray(g), np.asarray(w)
        g, w = (v.astype(object) if v.dtype.kind in "US" else v for v in (g, w))
        if g.dtype != w.dtype or g.shape != w.shape:
            return f"output {i} is {g.dtype}{list(g.shape)}, not {w.dtype}{list(w.shape)}"
        if not w.size or w.dtype.kind in "OUS":
            if g.tolist() != w.tolist():
                return f"output {i} is {g.tolist()}, not {w.tolist()}"
            continue
        if w.dtype.kind in "iub":
            if (wrong := np.count_nonzero(g != w)):
                return f"output {i}: {wrong} of {w.size} elements differ, first {g[g != w][0]}, not {w[g != w][0]}"
            continue
        a, b = g.astype(np.float64), w.astype(np.float64)
        finite = b[np.isfinite(b)]
        scale = min(np.abs(finite).max(), 1e30) if finite.size else 1
        rtol = RTOL.get(w.dtype.name, 0.25) * loose
        if not np.allclose(a, b, rtol=rtol, atol=rtol * 0.1 * scale, equal_nan=True):
            wrong = ~np.isclose(a, b, rtol=rtol, atol=rtol * 0.1 * scale, equal_nan=True)
            return (f"output {i}: {np.count_nonzero(wrong)} of {w.size} elements differ, "
                    f"first {a[wrong][0]:.9g}, not {b[wrong][0]:.9g}")
    return None
