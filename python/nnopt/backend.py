"""The interface that ONNX defines for backends (onnx.backend.base.Backend).

    import nnopt.backend
    from onnx.backend.test import BackendTest
    globals().update(BackendTest(nnopt.backend, __name__).test_cases)
"""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from ._compile import check, compile
from ._error import Error
from ._model import Model


class NnoptRep(BackendRep):
    """A compiled model."""

    def __init__(self, model: Model):
        self.model = model

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Inputs in the order of the graph; outputs likewise, as a named tuple."""
        if isinstance(inputs, (list, tuple)):
            results = self.model.run(*inputs)
        else:  # a dict by name, or one array
            results = self.model.run(inputs)
        return namedtupledict("Outputs", list(results))(*results.values())


class NnoptBackend(Backend):
    """Options of prepare() are those of nnopt.compile()."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        if not cls.supports_device(device):
            return False
        try:
            check(model)
        except Error as error:
            if error.code == 4:
                return False
            raise
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> NnoptRep:
        super().prepare(model, device, **kwargs)  # the checker of ONNX
        return NnoptRep(compile(model, **kwargs))

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU",
                 outputs_info: Any = None, **kwargs: Any) -> tuple[Any, ...]:
        """Runs a node of the newest operator set on arrays. `outputs_info` has type and shape of each output;
        without it the shapes are inferred."""
        super().run_node(node, inputs, device, outputs_info, **kwargs)
        arrays = list(inputs.values()) if isinstance(inputs, dict) else [np.asarray(x) for x in inputs]
        names = [name for name in node.input if name]
        values = [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                  for name, a in zip(names, arrays)]
        if outputs_info:
            results = [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(t)), s)
                       for name, (t, s) in zip(node.output, outputs_info)]
        else:
            results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", values, results)
        opset = onnx.helper.make_opsetid("", kwargs.pop("opset_version", onnx.defs.onnx_opset_version()))
        model = onnx.shape_inference.infer_shapes(onnx.helper.make_model(graph, opset_imports=[opset]))
        return NnoptRep(compile(model, **kwargs)).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device.split(":")[0] == "CPU"


is_compatible = NnoptBackend.is_compatible
prepare = NnoptBackend.prepare
run_model = NnoptBackend.run_model
run_node = NnoptBackend.run_node
supports_device = NnoptBackend.supports_device
