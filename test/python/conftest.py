"""Models that the tests of the Python package share."""
import os
import sys

import onnx
import pytest
from onnx import TensorProto, helper

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# The package of the build tree; an installed one where NNOPT_PYTHON_INSTALLED is set.
if not os.environ.get("NNOPT_PYTHON_INSTALLED"):
    sys.path.insert(0, os.path.join(os.environ.get("NNOPT_BUILD", os.path.join(ROOT, "build")), "python"))


def make(nodes, inputs, outputs, initializers=(), opset=17):
    """A model of (op, inputs, outputs, attributes) tuples; inputs and outputs are {name: (type, shape)}."""
    def values(d):
        return [helper.make_tensor_value_info(n, getattr(TensorProto, t), s) for n, (t, s) in d.items()]
    nodes = [helper.make_node(op, i, o, name=f"{op}_{n}", **a) for n, (op, i, o, a) in enumerate(nodes)]
    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs), list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


@pytest.fixture(scope="session")
def example():
    """Paths of the model, its inputs, and outputs that are right."""
    base = os.path.join(ROOT, "examples", "models", "fashion")
    return base + ".onnx", base + ".npz", base + "-expected.npz"


@pytest.fixture(scope="session")
def scale_shift():
    """y = 2 x + b with x f32[batch,4], b f32[4]."""
    import nnopt
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    return nnopt.compile(make([("Mul", ["x", "two"], ["m"], {}), ("Add", ["m", "b"], ["y"], {})],
                              {"x": ("FLOAT", ["batch", 4]), "b": ("FLOAT", [4])}, {"y": ("FLOAT", ["batch", 4])}, [two]),
                         threads=1)
