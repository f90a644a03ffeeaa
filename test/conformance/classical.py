#!/usr/bin/env python3
"""Operators of ai.onnx.ml, on strings and on sequences, against onnxruntime.

    classical.py [--only=tree,svm] [--jobs=N]

Each case is a small model with random attributes and data, compiled with fixed and with symbolic sizes, by default
and with --opt=0. Ends with `N passed, N failed`.
"""
import argparse
import itertools
import multiprocessing
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import isolated
from nnopt import BUILD, Session, compile, difference, reference_session
from trees import forest

F32, F64, I64, STR = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING


class Case:
    """A model with data: `inputs` are arrays by name, `nodes` all it has."""

    def __init__(self, name, nodes, inputs, outputs, opset=18, ml=3, tolerance=1e-5, constants=None):
        self.name, self.nodes, self.inputs, self.outputs = name, nodes, inputs, outputs
        self.opset, self.ml, self.tolerance, self.constants = opset, ml, tolerance, constants or {}

    def model(self, dynamic):
        infos = []
        for name, value in self.inputs.items():
            if isinstance(value, dict):
                key, item = next(iter(value.items()))
                element = helper.make_tensor_type_proto(STR if isinstance(item, str) else F32, [])
                infos.append(helper.make_value_info(name, helper.make_map_type_proto(STR if isinstance(key, str) else I64, element)))
                continue
            kind = STR if value.dtype == object else helper.np_dtype_to_tensor_dtype(value.dtype)
            shape = [f"{name}{i}" if dynamic and i == 0 else d for i, d in enumerate(value.shape)]
            infos.append(helper.make_tensor_value_info(name, kind, shape))
        outputs = [helper.make_empty_tensor_value_info(o) for o in self.outputs]
        initializers = [numpy_helper.from_array(v, k) for k, v in self.constants.items()]
        graph = helper.make_graph(self.nodes, "case", infos, outputs, initializers)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("ai.onnx.ml", self.ml)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def ml(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, op + "_0", domain="ai.onnx.ml", **attributes)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, f"{op}_{outputs[0]}", **attributes)


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def words(*list):
    array = np.empty(len(list), object)
    array[:] = list
    return array


# --------------------------------------------------------------------- trees
def tree_data(rng, rows, features):
    x = (rng.integers(-6, 7, (rows, features)) / 2).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


def trees(rng):
    all_modes = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
    for i, (aggregate, transform) in enumerate(itertools.product(("SUM", "AVERAGE", "MIN", "MAX"), ("NONE", "LOGISTIC"))):
        # onnxruntime applies no LOGISTIC where there is one target (its scores are those of NONE), though ONNX does not
        # make an exception of it: there it is no reference.
        targets = 1 + i % 3 if transform == "NONE" else 2 + i // 2 % 2
        # Nor does it add the base value of a target that no tree gives a score, though ONNX adds it to the aggregate:
        # with base values each leaf has all targets.
        a = forest(rng, 7, 3, 4, targets, "target", all_modes if i % 2 else ("BRANCH_LEQ",),
                   ids=list(range(targets)) if i % 2 else None)
        if i % 2:
            a["base_values"] = [float(v) for v in floats(rng, targets)]
        yield Case(f"tree regressor {aggregate} {transform} {targets}",
                   [ml("TreeEnsembleRegressor", ["x"], ["y"], n_targets=targets, aggregate_function=aggregate,
                       post_transform=transform, **a)], {"x": tree_data(rng, 9, 4)}, ["y"])
    for transform in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
        a = forest(rng, 5, 3, 4, 3, "class")
        yield Case(f"tree classifier 3 {transform}",
                   [ml("TreeEnsembleClassifier", ["x"], ["label", "p"], classlabels_int64s=[7, 8, 9],
                       post_transform=transform, **a)], {"x": tree_data(rng, 9, 4)}, ["label", "p"])
        for negative in (False, True):
            a = forest(rng, 5, 3, 4, 2, "class", ids=[0])
            if negative:
                a["class_weights"] = [w - 0.5 for w in a["class_weights"]]
            yield Case(f"tree classifier binary {transform} {'mixed' if negative else 'positive'}",
                       [ml("TreeEnsembleClassifier", ["x"], ["label", "p"], classlabels_strings=["no", "yes"],
                           post_transform=transform, **a)], {"x": tree_data(rng, 9, 4)}, ["label", "p"])
    # (onnxruntime takes the second of two classes wherever its weight is positive; ours is the top class.)
    a = forest(rng, 300, 6, 20, 1, "target")
    yield Case("tree regressor big", [ml("TreeEnsembleRegressor", ["x"], ["y"], n_targets=1, **a)],
               {"x": floats(rng, 500, 20)}, ["y"], tolerance=1e-4)


# --------------------------------------------------------------------- linear models
def linear(rng):
    for transform in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
        yield Case(f"linear regressor {transform}",
                   [ml("LinearRegressor", ["x"], ["y"], targets=2, coefficients=floats(rng, 8).tolist(),
                       intercepts=floats(rng, 2).tolist(), post_transform=transform)], {"x": floats(rng, 5, 4)}, ["y"])
        yield Case(f"linear classifier 3 {transform}",
                   [ml("LinearClassifier", ["x"], ["label", "p"], classlabels_strings=["a", "b", "c"],
                       coefficients=floats(rng, 12).tolist(), intercepts=floats(rng, 3).tolist(),
                       post_transform=transform)], {"x": floats(rng, 5, 4)}, ["label", "p"])
        yield Case(f"linear classifier 2 {transform}",
                   [ml("LinearClassifier", ["x"], ["label", "p"], classlabels_ints=[3, 4],
                       coefficients=floats(rng, 8).tolist(), intercepts=floats(rng, 2).tolist(),
                       post_transform=transform)], {"x": floats(rng, 5, 4)}, ["label", "p"])
    for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        yield Case(f"svm regressor {kernel}",
                   [ml("SVMRegressor", ["x"], ["y"], kernel_type=kernel, kernel_params=[0.3, 0.5, 2.0], n_supports=6,
                       coefficients=floats(rng, 6).tolist(), support_vectors=floats(rng, 24).tolist(), rho=[0.25])],
                   {"x": floats(rng, 5, 4)}, ["y"], tolerance=1e-4)
        for classes, labels in (([2, 3], {"classlabels_ints": [5, 6]}), ([2, 3, 1], {"classlabels_strings": ["a", "b", "c"]})):
            n, total = len(classes), sum(classes)
            yield Case(f"svm classifier {n} {kernel}",
                       [ml("SVMClassifier", ["x"], ["label", "p"], kernel_type=kernel, kernel_params=[0.3, 0.5, 2.0],
                           vectors_per_class=classes, coefficients=floats(rng, (n - 1) * total).tolist(),
                           support_vectors=floats(rng, 4 * total).tolist(), rho=floats(rng, n * (n - 1) // 2).tolist(),
                           **labels)], {"x": floats(rng, 7, 4)}, ["label", "p"], tolerance=1e-4)
    for classes in ([2, 3], [2, 3, 1], [1, 2, 1, 3]):
        n, total = len(classes), sum(classes)
        yield Case(f"svm classifier {n} probabilities",
                   [ml("SVMClassifier", ["x"], ["label", "p"], kernel_type="RBF", kernel_params=[0.3, 0.0, 3.0],
                       vectors_per_class=classes, coefficients=floats(rng, (n - 1) * total).tolist(),
                       support_vectors=floats(rng, 4 * total).tolist(), rho=floats(rng, n * (n - 1) // 2).tolist(),
                       prob_a=(-1 - rng.random(n * (n - 1) // 2)).tolist(), prob_b=floats(rng, n * (n - 1) // 2).tolist(),
                       classlabels_ints=list(range(n)))], {"x": floats(rng, 7, 4)}, ["label", "p"], tolerance=1e-4)
    yield Case("svm regressor one class",
               [ml("SVMRegressor", ["x"], ["y"], kernel_type="RBF", kernel_params=[0.3, 0.0, 3.0], n_supports=6, one_class=1,
                   coefficients=floats(rng, 6).tolist(), support_vectors=floats(rng, 24).tolist(), rho=[-0.1])],
               {"x": floats(rng, 6, 4)}, ["y"])
    yield Case("svm regressor linear",
               [ml("SVMRegressor", ["x"], ["y"], kernel_type="LINEAR", kernel_params=[0.0, 0.0, 3.0],
                   coefficients=floats(rng, 4).tolist(), rho=[0.5])],
               {"x": floats(rng, 6, 4)}, ["y"])


# --------------------------------------------------------------------- features
def features(rng):
    x = floats(rng, 4, 3)
    yield Case("scaler", [ml("Scaler", ["x"], ["y"], offset=[1.0, 2.0, 3.0], scale=[0.5, 2.0, 4.0])], {"x": x}, ["y"])
    yield Case("scaler one", [ml("Scaler", ["x"], ["y"], offset=[1.0], scale=[0.5])],
               {"x": rng.integers(-5, 5, (4, 3))}, ["y"])
    for norm in ("MAX", "L1", "L2"):
        yield Case(f"normalizer {norm}", [ml("Normalizer", ["x"], ["y"], norm=norm)], {"x": x}, ["y"])
    gaps = x.copy()
    gaps[1, 1] = np.nan
    yield Case("imputer nan", [ml("Imputer", ["x"], ["y"], imputed_value_floats=[1.0, 2.0, 3.0],
                                  replaced_value_float=float("nan"))], {"x": gaps}, ["y"])
    yield Case("imputer int", [ml("Imputer", ["x"], ["y"], imputed_value_int64s=[9], replaced_value_int64=2)],
               {"x": rng.integers(0, 4, (4, 3))}, ["y"])
    yield Case("binarizer", [ml("Binarizer", ["x"], ["y"], threshold=0.2)], {"x": x}, ["y"])
    yield Case("vectorizer", [ml("FeatureVectorizer", ["x", "z"], ["y"], inputdimensions=[3, 2])],
               {"x": x, "z": floats(rng, 4, 2)}, ["y"])
    yield Case("extractor", [ml("ArrayFeatureExtractor", ["x", "i"], ["y"])],
               {"x": x, "i": np.array([2, 0], np.int64)}, ["y"])
    yield Case("extractor strings", [ml("ArrayFeatureExtractor", ["x", "i"], ["y"])],
               {"x": words("a", "b", "c"), "i": np.array([[2, 0]], np.int64)}, ["y"])


# --------------------------------------------------------------------- encoders
def encoders(rng):
    text = words("a", "c", "", "zz")
    yield Case("labels string int", [ml("LabelEncoder", ["x"], ["y"], keys_strings=["a", "b", "c"], values_int64s=[5, 6, 7],
                                        default_int64=-3)], {"x": text}, ["y"], ml=2)
    yield Case("labels string float", [ml("LabelEncoder", ["x"], ["y"], keys_strings=["a", "b", "c"],
                                          values_floats=[0.5, 1.5, 2.5], default_float=-1.0)], {"x": text}, ["y"], ml=2)
    yield Case("labels int string", [ml("LabelEncoder", ["x"], ["y"], keys_int64s=[3, 1, 2], values_strings=["x", "y", "z"],
                                        default_string="?")], {"x": np.array([1, 2, 3, 4], np.int64)}, ["y"], ml=2)
    yield Case("labels float float", [ml("LabelEncoder", ["x"], ["y"], keys_floats=[3.0, 1.0, float("nan")],
                                         values_floats=[30.0, 10.0, 99.0])],
               {"x": np.array([1, 2, 3, np.nan], np.float32)}, ["y"], ml=4)
    yield Case("labels string string", [ml("LabelEncoder", ["x"], ["y"], keys_strings=["a", "c"], values_strings=["A", "C"])],
               {"x": text}, ["y"], ml=2)
    yield Case("labels int float", [ml("LabelEncoder", ["x"], ["y"], keys_int64s=[3, 1], values_floats=[30.0, 10.0])],
               {"x": np.array([[1, 2], [3, 4]], np.int64)}, ["y"], ml=2)
    yield Case("labels 1", [ml("LabelEncoder", ["x"], ["y"], classes_strings=["a", "b", "c"])], {"x": text}, ["y"], ml=1)
    yield Case("categories", [ml("CategoryMapper", ["x"], ["y"], cats_strings=["a", "c"], cats_int64s=[5, 6])],
               {"x": text}, ["y"])
    yield Case("categories back", [ml("CategoryMapper", ["x"], ["y"], cats_strings=["a", "c"], cats_int64s=[5, 6])],
               {"x": np.array([6, 5, 1], np.int64)}, ["y"])
    yield Case("one hot strings", [ml("OneHotEncoder", ["x"], ["y"], cats_strings=["c", "a"])], {"x": text}, ["y"])
    yield Case("one hot ints", [ml("OneHotEncoder", ["x"], ["y"], cats_int64s=[4, 2, 9])],
               {"x": np.array([[2, 4], [1, 9]], np.int64)}, ["y"])
    yield Case("dict strings", [ml("DictVectorizer", ["x"], ["y"], string_vocabulary=["u", "v", "w"])],
               {"x": {"w": 2.0, "u": 1.0, "q": 5.0}}, ["y"])
    yield Case("dict ints", [ml("DictVectorizer", ["x"], ["y"], int64_vocabulary=[7, 3])], {"x": {3: 1.5, 9: 2.5}}, ["y"])
    yield Case("cast map", [ml("CastMap", ["x"], ["y"], cast_to="TO_INT64")], {"x": {5: 2.0, 1: 3.0}}, ["y"])
    yield Case("cast map sparse", [ml("CastMap", ["x"], ["y"], map_form="SPARSE", max_map=4)], {"x": {3: 2.0, 1: 3.0}}, ["y"])
    yield Case("zip map", [ml("ZipMap", ["x"], ["y"], classlabels_strings=["u", "v", "w"])], {"x": floats(rng, 2, 3)}, ["y"])
    yield Case("zip map ints", [ml("ZipMap", ["x"], ["y"], classlabels_int64s=[5, 1])], {"x": floats(rng, 3, 2)}, ["y"])


# --------------------------------------------------------------------- strings
def strings(rng):
    a = np.array([["aa", "b", ""], ["déjà", "e", "ff"]], object)
    yield Case("string equal", [node("Equal", ["x", "z"], ["y"])], {"x": a, "z": words("aa", "e", "ff")}, ["y"], opset=19)
    yield Case("string transpose", [node("Transpose", ["x"], ["y"], perm=[1, 0])], {"x": a}, ["y"])
    yield Case("string reshape", [node("Reshape", ["x", "s"], ["y"])], {"x": a}, ["y"],
               constants={"s": np.array([3, -1], np.int64)})
    yield Case("string concat axis", [node("Concat", ["x", "z", "x"], ["y"], axis=0)],
               {"x": a, "z": np.array([["1", "2", "3"]], object)}, ["y"])
    yield Case("string gather", [node("Gather", ["x", "i"], ["y"], axis=1)],
               {"x": a, "i": np.array([[2, -1], [0, 1]], np.int64)}, ["y"])
    yield Case("string slice", [node("Slice", ["x", "s", "e", "a", "t"], ["y"])], {"x": a}, ["y"],
               constants={"s": np.array([2], np.int64), "e": np.array([-9], np.int64), "a": np.array([1], np.int64),
                          "t": np.array([-1], np.int64)})
    yield Case("string where", [node("Where", ["c", "x", "z"], ["y"])],
               {"c": np.array([[True, False, True]]), "x": a, "z": np.array([["1", "2", "3"]], object)}, ["y"])
    yield Case("string expand", [node("Expand", ["x", "s"], ["y"])], {"x": words("p", "q")}, ["y"],
               constants={"s": np.array([3, 2], np.int64)})
    yield Case("string tile", [node("Tile", ["x", "s"], ["y"])], {"x": words("p", "q")}, ["y"],
               constants={"s": np.array([3], np.int64)})
    yield Case("string split", [node("Split", ["x"], ["y", "z"], axis=1, num_outputs=2)], {"x": a}, ["y", "z"])
    yield Case("string unsqueeze", [node("Unsqueeze", ["x", "s"], ["u"]), node("Squeeze", ["u", "s"], ["y"])], {"x": a}, ["y"],
               constants={"s": np.array([0], np.int64)})
    yield Case("string cast", [node("Cast", ["x"], ["f"], to=F32), node("Cast", ["x"], ["d"], to=F64),
                               node("Cast", ["i"], ["n"], to=I64), node("Cast", ["n"], ["s"], to=STR)],
               {"x": words("1.5", "-2e3", "INF", "nan"), "i": words("12", "-7")}, ["f", "d", "n", "s"])
    yield Case("string normalizer", [node("StringNormalizer", ["x"], ["y"], case_change_action="UPPER",
                                          stopwords=["b"], locale="C", is_case_sensitive=1)],
               {"x": words("abc", "b", "d")}, ["y"])
    yield Case("string tfidf", [node("TfIdfVectorizer", ["x"], ["y"], mode="TFIDF", min_gram_length=1, max_gram_length=2,
                                     max_skip_count=1, ngram_counts=[0, 2], ngram_indexes=[2, 0, 1],
                                     pool_strings=["a", "b", "a", "b"], weights=[2.0, 3.0, 4.0])],
               {"x": np.array([["a", "b", "a", "c", "b"], ["c", "c", "b", "b", "a"]], object)}, ["y"])
    for mode in ("TF", "IDF"):
        yield Case(f"tfidf {mode}", [node("TfIdfVectorizer", ["x"], ["y"], mode=mode, min_gram_length=2, max_gram_length=3,
                                          max_skip_count=3, ngram_counts=[0, 2, 6], ngram_indexes=[0, 1, 2, 3, 4],
                                          pool_int64s=[1, 2, 1, 2, 2, 3, 1, 2, 3], weights=[1.0, 2.0, 3.0, 4.0, 5.0])],
                   {"x": rng.integers(1, 4, (3, 9))}, ["y"])


# --------------------------------------------------------------------- sequences
def sequences(rng):
    x, z = floats(rng, 4, 3), floats(rng, 2, 3)
    one = np.array(1, np.int64)
    yield Case("sequence of constants folds",
               [node("SequenceConstruct", ["x", "z"], ["s"]), node("SequenceInsert", ["s", "x", "one"], ["t"]),
                node("SequenceErase", ["t", "one"], ["u"]), node("SequenceAt", ["u", "one"], ["a"]),
                node("SequenceLength", ["t"], ["n"]), node("ConcatFromSequence", ["t"], ["c"], axis=0)],
               {"x": x, "z": z}, ["a", "n", "c"], constants={"one": one})
    yield Case("sequence at data", [node("SequenceConstruct", ["x", "z"], ["s"]), node("SequenceAt", ["s", "p"], ["a"])],
               {"x": x, "z": z, "p": np.array(-1, np.int64)}, ["a"])
    yield Case("sequence out", [node("SequenceConstruct", ["x", "z"], ["s"]), node("SequenceErase", ["s", "p"], ["y"])],
               {"x": x, "z": z, "p": np.array(0, np.int64)}, ["y"])
    yield Case("sequence split concat",
               [node("SplitToSequence", ["x", "k"], ["s"], axis=0), node("ConcatFromSequence", ["s"], ["y"], axis=1),
                node("SequenceLength", ["s"], ["n"])], {"x": x, "k": np.array([2, 2], np.int64)}, ["y", "n"])
    yield Case("sequence new axis", [node("SequenceConstruct", ["x", "x"], ["s"]), node("SequenceInsert", ["s", "x", "p"], ["t"]),
                                     node("ConcatFromSequence", ["t"], ["y"], axis=-1, new_axis=1)],
               {"x": x, "p": np.array(0, np.int64)}, ["y"])
    yield Case("sequence of strings", [node("SplitToSequence", ["x"], ["s"], keepdims=0), node("SequenceAt", ["s", "p"], ["y"])],
               {"x": np.array([["a", "b"], ["c", "d"]], object), "p": np.array(1, np.int64)}, ["y"])
    body = helper.make_graph(
        [node("Identity", ["c"], ["c2"]), node("SequenceInsert", ["s", "x"], ["s2"]),
         node("SequenceInsert", ["t", "i"], ["t2"])],
        "body", [helper.make_tensor_value_info("i", I64, []), helper.make_tensor_value_info("c", TensorProto.BOOL, []),
                 helper.make_tensor_sequence_value_info("s", F32, None), helper.make_tensor_sequence_value_info("t", I64, None)],
        [helper.make_tensor_value_info("c2", TensorProto.BOOL, []), helper.make_tensor_sequence_value_info("s2", F32, None),
         helper.make_tensor_sequence_value_info("t2", I64, None)])
    yield Case("sequences in a loop",
               [node("SequenceEmpty", [], ["s0"]), node("SequenceEmpty", [], ["t0"], dtype=I64),
                node("Loop", ["m", "", "s0", "t0"], ["s1", "t1"], body=body), node("ConcatFromSequence", ["s1"], ["y"], axis=0),
                node("ConcatFromSequence", ["t1"], ["z"], axis=0, new_axis=1)],
               {"x": x, "m": np.array(3, np.int64)}, ["y", "z"])


# --------------------------------------------------------------------- running
def cases():
    for seed, group in enumerate((trees, linear, features, encoders, strings, sequences)):
        yield from group(np.random.default_rng(seed))


def differs(got, want, tolerance):
    if isinstance(want, (list, dict)):
        if type(got) is not type(want) or len(got) != len(want):
            return True
        pairs = [(got[k], want[k]) for k in want] if isinstance(want, dict) else zip(got, want)
        return any(differs(g, w, tolerance) for g, w in pairs)
    if isinstance(want, (float, int)):
        return abs(got - want) > tolerance
    if want.dtype == object:
        return got.dtype != object or got.shape != want.shape or got.tolist() != want.tolist()
    return not difference(got, want) <= tolerance


def run_case(case):
    with tempfile.TemporaryDirectory(dir=os.path.join(BUILD, "conformance")) as folder:
        path, artifact = os.path.join(folder, "m.onnx"), os.path.join(folder, "m.so")
        onnx.save(case.model(False), path)
        want = reference_session(path).run(None, case.inputs)
        for dynamic, level in itertools.product((False, True), (2, 0)):
            where = f"{'dynamic' if dynamic else 'static'} --opt={level}"
            onnx.save(case.model(dynamic), path)
            try:
                compile(path, artifact, [f"--opt={level}"], timeout=60)
                with Session(artifact, 2) as session:
                    got = session.run(None, case.inputs)
            except RuntimeError as e:
                return f"{where}: " + str(e)[:500]
            for name, g, w in zip(case.outputs, got, want):
                if differs(g, w, case.tolerance):
                    return f"{where}: output {name} is\n{g}\nnot\n{w}"
    return None


def guarded(index):
    """run_case in a child, since a kernel may crash."""
    outcome, result = isolated.call(run_case, chosen[index], timeout=600)
    return chosen[index].name, result if outcome == "done" else f"{outcome} {result}"


def main():
    global chosen
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="beginnings of names, separated by commas")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    os.makedirs(os.path.join(BUILD, "conformance"), exist_ok=True)
    chosen = [c for c in cases() if not options.only or c.name.startswith(tuple(options.only.split(",")))]
    failed = 0
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for name, problem in pool.imap(guarded, range(len(chosen))):
            if problem:
                failed += 1
                print(f"FAIL  {name}: {problem}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
