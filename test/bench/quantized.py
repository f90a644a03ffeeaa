"""Quantized models to compare with: calibration data, and what the peers make of a model with it."""
import os

import numpy as np
import onnx

SAMPLES = 8
TRANSFORMERS = ("bert", "vit", "deit", "gpt", "whisper", "swin", "llama")  # what nncf wants to be told


def samples(model):
    """Inputs like the example, on which errors are measured, but without it: normal floats of the same mean and deviation, the same
    integers shuffled."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(SAMPLES):
        feeds = {}
        for name, value in model.example.items():
            if np.issubdtype(value.dtype, np.floating):
                feeds[name] = rng.normal(value.mean(), value.std(), value.shape).astype(value.dtype)
            else:
                feeds[name] = rng.permutation(value.ravel()).reshape(value.shape)
        drawn.append(feeds)
    return drawn


def calibration(model, path):
    """Writes them for nnopt-compile: whole inputs, one after the other."""
    drawn = samples(model)
    np.savez(path, **{name: np.stack([feeds[name] for feeds in drawn]) for name in model.example})


def pinned(model, path):
    """The model with all sizes of its example inputs, which quantizers need to see shapes."""
    proto = onnx.load(model.path)
    for value in proto.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, np.shape(model.example.get(value.name, ()))):
            dim.dim_value = size
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    onnx.save(proto, path)
    return path


def static_qdq(path, feeds, folder):
    """What onnxruntime's static quantizer makes of a model file, in QDQ form: weights i8 for each channel, activations u8, ranges
    from the least and largest values for `feeds`, a list of inputs."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.feeds = iter(feeds)

        def get_next(self):
            return next(self.feeds, None)

    prepared, quantized = os.path.join(folder, "prepared.onnx"), os.path.join(folder, "onnxruntime.onnx")
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    quantize_static(prepared, quantized, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8)
    return quantized


def nncf_int8(path, feeds, is_transformer):
    """What nncf makes of a model file by its defaults for the kind of model: a model of openvino."""
    import nncf
    import openvino as ov
    # convert_model folds constants: nncf does not look through the transposition of a weight.
    return nncf.quantize(ov.convert_model(path), nncf.Dataset(feeds), subset_size=len(feeds),
                         model_type=nncf.ModelType.TRANSFORMER if is_transformer else None)


def quantize_onnxruntime(model, folder):
    return static_qdq(pinned(model, os.path.join(folder, "pinned.onnx")), samples(model), folder)


def quantize_openvino(model, folder):
    import openvino as ov
    graph = nncf_int8(pinned(model, os.path.join(folder, "pinned.onnx")), samples(model), model.name.startswith(TRANSFORMERS))
    path = os.path.join(folder, "openvino.xml")
    ov.save_model(graph, path, compress_to_fp16=False)
    return path
