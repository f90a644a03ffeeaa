"""The models that the tests run, and their inputs.

Real models come from the folder $NNOPT_SHARED/models (default: `shared` beside this source tree); its
README describes them. Without it, data.py makes small stand-ins.
"""
import importlib.util
import json
import os

import numpy as np
import onnx

from nnopt import BUILD, ROOT

SHARED = os.path.join(os.environ.get("NNOPT_SHARED", os.path.join(os.path.dirname(ROOT), "shared")), "models")
CACHE = os.path.join(BUILD, "models")


def _load_module(path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw_page(rng, shape):
    """A bright page with lines of dark glyphs, as text detection expects: on noise it finds nothing, and its
    output is a sigmoid near 0 where rounding errors have no scale."""
    page = np.full(shape, 2.2, np.float32)
    for image in page:
        for top in range(16, shape[2] - 24, 40):
            for left in range(16, shape[3] - 24, 14):
                glyph = np.kron(rng.random((5, 4)) < 0.55, np.ones((4, 3)))
                image[:, top:top + 20, left:left + 12] -= np.float32(4.2) * glyph.astype(np.float32)
    return page


# Inputs of the complete models: name -> (recipe of fill.py or "page", shape, type), and the shapes of a second
# run.
COMPLETE = {
    "ch_PP-OCRv4_det_infer": ({"x": ("page", [1, 3, 640, 640], "float32")}, {"x": [2, 3, 320, 416]}),
    "ch_PP-OCRv4_rec_infer": ({"x": ("normal 0 1", [1, 3, 48, 320], "float32")}, {"x": [2, 3, 48, 200]}),
    "ch_ppocr_mobile_v2.0_cls_infer": ({"x": ("normal 0 1", [1, 3, 48, 192], "float32")}, {"x": [3, 3, 48, 192]}),
    "silero_vad_v5": ({"input": ("normal 0 0.3", [1, 512], "float32"), "state": ("normal 0 0.3", [2, 1, 128], "float32"),
                       "sr": ("const 16000", [], "int64")}, {"input": [3, 512], "state": [2, 3, 128]}),
    "silero_vad_op18_ifless": ({"input": ("normal 0 0.3", [1, 512], "float32"), "sr": ("const 16000", [], "int64"),
                                "state": ("normal 0 0.3", [2, 1, 128], "float32")},
                               {"input": [3, 512], "state": [2, 3, 128]}),
}


class Model:
    """A model: where it is, its inputs, and its metric where it is trained."""

    def __init__(self, name, kind):
        self.name, self.kind = name, kind
        self.path = None

    def prepare(self):
        """Makes the files: fills a skeleton with weights in the cache folder."""
        if self.kind == "skeleton":
            os.makedirs(CACHE, exist_ok=True)
            self.path = os.path.join(CACHE, self.name + ".onnx")
            example = os.path.join(CACHE, self.name + ".npz")
            if not os.path.exists(example):
                fill = _load_module(os.path.join(SHARED, "fill.py"))
                fill.fill(self.name, os.path.join(SHARED, "skeletons"), CACHE, 0, {})
            self.example = dict(np.load(example))
        elif self.kind == "complete":
            self.path = os.path.join(SHARED, self.name + ".onnx")
            self.example = self._drawn({})
        elif self.kind == "trained":
            self.path = os.path.join(SHARED, "trained", self.name + ".onnx")
            self.example = self._from_data(4, 64)
        else:
            import data
            self.path, self.example, self.second = data.make(self.name, CACHE)
        self.proto = onnx.load(self.path, load_external_data=False)

    def discard(self):
        """Removes what prepare() has made, but for small files."""
        if self.kind == "skeleton":
            weights = os.path.join(CACHE, self.name + ".weights")
            if os.path.exists(weights) and os.path.getsize(weights) > 30e6:
                for ending in (".weights", ".npz", ".onnx"):
                    os.remove(os.path.join(CACHE, self.name + ending))

    # ---- inputs
    def pins(self, feeds=None):
        """--dim flags that fix all named dimensions at the sizes of these inputs, else of the example's."""
        feeds, flags = feeds or self.example, {}
        for value in self.proto.graph.input:
            for dim, size in zip(value.type.tensor_type.shape.dim, np.shape(feeds.get(value.name, ()))):
                if dim.dim_param:
                    flags[dim.dim_param] = f"--dim={dim.dim_param}={size}"
        return list(flags.values())

    def second_inputs(self):
        """Inputs of other sizes, or None for a model whose sizes are fixed."""
        if self.kind == "trained":
            return self._from_data(3, 37)
        if self.kind == "complete":
            return self._drawn(COMPLETE[self.name][1])
        if self.kind == "made":
            return self.second
        recipes = {r["name"]: r for r in self._recipes()}
        symbols = self._second_symbols(recipes)
        if not symbols:
            return None
        fill = _load_module(os.path.join(SHARED, "fill.py"))
        feeds = {}
        for value in self.proto.graph.input:
            if value.name in recipes:
                shape = [symbols.get(d.dim_param, d.dim_value) for d in value.type.tensor_type.shape.dim]
                recipe = recipes[value.name]
                feeds[value.name] = fill.draw(fill.rng_for(2, self.name, value.name), recipe["gen"], tuple(shape),
                                              recipe["dtype"])
        return feeds

    def prompt_inputs(self, tokens):
        """Inputs of a decoder's first run: a prompt of that many tokens, and empty caches."""
        fill = _load_module(os.path.join(SHARED, "fill.py"))
        sizes = {"batch": 1, "sequence": tokens, "past_sequence": 0, "total_sequence": tokens}
        recipes = {r["name"]: r for r in self._recipes()}
        feeds = {}
        for value in self.proto.graph.input:
            if recipe := recipes.get(value.name):
                shape = tuple(sizes[d.dim_param] if d.dim_param else d.dim_value for d in value.type.tensor_type.shape.dim)
                gen = "range 0" if recipe["gen"].startswith("range") else recipe["gen"]
                feeds[value.name] = fill.draw(fill.rng_for(1, self.name, value.name), gen, shape, recipe["dtype"]).reshape(shape)
        return feeds

    def _recipes(self):
        return json.loads({p.key: p.value for p in self.proto.metadata_props}["example_inputs"])

    def _second_symbols(self, recipes):
        """Another value for each symbolic dimension, keeping total = past + new."""
        first = {}
        for value in self.proto.graph.input:
            for d, size in zip(value.type.tensor_type.shape.dim, recipes.get(value.name, {}).get("shape", [])):
                if d.dim_param:
                    first[d.dim_param] = size
        second = {}
        for name, size in first.items():
            if name == "batch":
                second[name] = size + 1
            elif name in ("height", "width"):
                second[name] = size + (32 if name == "height" else 64)
            else:
                second[name] = size + 3 if size < 8 else size - 5
        if "total_sequence" in second:
            second["total_sequence"] = second["sequence"] + second["past_sequence"]
        return second

    def _drawn(self, shapes):
        fill = _load_module(os.path.join(SHARED, "fill.py"))
        feeds = {}
        for name, (recipe, shape, dtype) in COMPLETE[self.name][0].items():
            shape = tuple(shapes.get(name, shape))
            rng = fill.rng_for(1, self.name, name)
            # fill.draw makes vectors of scalars.
            feeds[name] = draw_page(rng, shape) if recipe == "page" else fill.draw(rng, recipe, shape, dtype).reshape(shape)
        return feeds

    def _from_data(self, batch, length):
        """The first samples of the evaluation data."""
        task = self.task()
        inputs = onnx.load(os.path.join(SHARED, "trained", self.name + ".onnx"), load_external_data=False).graph.input
        if inputs[0].name == "image":
            return {"image": task.images(self.data())[0][:batch]}
        if inputs[0].name == "noisy":
            return {"noisy": task.noisy_images(self.data())[0][:batch]}
        feeds = {"ids": task.tokens(self.data())[0][:batch, :length]}
        rng = np.random.default_rng(length)
        for value in inputs[1:]:
            dims = value.type.tensor_type.shape.dim
            feeds[value.name] = rng.standard_normal((batch, dims[1].dim_value, length // 4, dims[3].dim_value),
                                                    dtype=np.float32)
        return feeds

    # ---- metric
    def task(self):
        return _load_module(os.path.join(SHARED, "trained", "eval.py"))

    def data(self):
        return os.path.join(SHARED, "trained", "data")


SMALL = ["squeezenet1_1", "mobilenetv3_small", "preact_bn_pad", "gru_speech", "lstm_tagger", "ch_ppocr_mobile_v2.0_cls_infer",
         "silero_vad_v5", "silero_vad_op18_ifless", "resnet20", "unet", "vit", "gru_rows", "lm_cache", "lstm_lm", "moe_lm"]
DEFAULT = SMALL + ["resnet50", "mobilenet_v2", "bert_base", "gpt2", "llama_small", "ch_PP-OCRv4_rec_infer", "mamba2_small"]


def models(which):
    """The models of a set ("small", "default", "full"), smallest files first."""
    if not os.path.isdir(SHARED):
        import data
        return [Model(name, "made") for name in data.NAMES]
    found = []
    for folder, kind in (("", "complete"), ("trained", "trained"), ("skeletons", "skeleton")):
        for file in os.listdir(os.path.join(SHARED, folder)):
            if file.endswith(".onnx"):
                found.append(Model(file[:-5], kind))
    chosen = {"small": SMALL, "default": DEFAULT, "full": [m.name for m in found]}[which]
    return sorted((m for m in found if m.name in chosen), key=lambda m: (m.kind != "complete", m.kind != "trained", m.name))
