"""Random cases of the operators of ai.onnx.ml."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from draw import Skip, is_float, single, type_of
from operators import recipe
from trees import forest

TRANSFORMS = [None, "NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"]
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
LETTERS = ["a", "b", "c", "dd", "é", ""]


def halves(d, rows, columns, kind):
    """Values that thresholds meet exactly, some missing."""
    x = (d.data.integers(-6, 7, (rows, columns)) / 2).astype(kind)
    if d.awkward and is_float(kind):
        x[d.data.random(x.shape) < 0.2] = np.nan
    return x


def numbers(d, count, low=-2, high=2):
    return [float(np.float32(v)) for v in d.data.uniform(low, high, count)]


def labels(d, count, ints="classlabels_ints"):
    """Names of classes, as texts or integers."""
    if d.chance(0.5):
        return {"classlabels_strings": d.sample(LETTERS, count)}, 8
    return {ints: d.sample(range(-3, 10), count)}, 7


def class_results(code):
    return [helper.make_tensor_type_proto(code, None), helper.make_tensor_type_proto(TensorProto.FLOAT, None)]


@recipe("TreeEnsembleRegressor", "TreeEnsembleClassifier")
def ensemble(d, schema, opset):
    kind, rows, features, count = mostly_float(d, schema), d.choice([1, 2, 9]), d.choice([1, 4]), d.choice([1, 2, 3])
    x, modes = halves(d, rows, features, kind), MODES if d.chance(0.4) else MODES[:1]
    classifier = schema.name.endswith("Classifier")
    prefix, ids = "class" if classifier else "target", list(range(count)) if d.chance(0.5) else None
    named = forest(d.data, d.randint(1, 5), d.randint(0, 4), features, count, prefix, modes, ids)
    if d.chance(0.3):
        named.pop("nodes_missing_value_tracks_true")
    if ids and d.chance(0.4):
        named["base_values"] = numbers(d, count)
    if schema.since_version >= 3 and kind == np.float64:
        for name in ("nodes_values", f"{prefix}_weights", "base_values"):
            if name in named:
                named[name + "_as_tensor"] = numpy_helper.from_array(np.array(named.pop(name), np.float64))
    if not classifier:
        return single(d, schema, opset, [x], n_targets=count,
                      aggregate_function=d.choice([None, "SUM", "AVERAGE", "MIN", "MAX"]),
                      post_transform=d.choice([None, "NONE"] if count == 1 else TRANSFORMS), **named)
    if count < 2:
        raise Skip
    names, code = labels(d, count, "classlabels_int64s")
    return single(d, schema, opset, [x], 2, results=class_results(code), post_transform=d.choice(TRANSFORMS), **names,
                  **named)


@recipe("TreeEnsemble")
def ensemble_of_leaves(d, schema, opset):
    """Trees that grow from their roots: each side of a node is a leaf or a node that comes later."""
    kind, features, targets = d.type(schema), d.choice([1, 4]), d.choice([1, 2, 3])
    node = {k: [] for k in ("featureids", "splits", "modes", "truenodeids", "trueleafs", "falsenodeids", "falseleafs",
                            "missing_value_tracks_true")}
    leaf, members, roots = {"targetids": [], "weights": []}, [], []

    def grow(depth):
        at = len(node["modes"])
        mode = d.choice([0, 0, 1, 2, 3, 4, 5, 6])
        for k in node:
            node[k].append(0)
        node["modes"][at], node["featureids"][at] = mode, d.randrange(features)
        node["splits"][at] = 0.0 if mode == 6 else d.randint(-4, 4) / 2
        node["missing_value_tracks_true"][at] = d.choice([0, 1])
        if mode == 6:
            # (The reference takes 0 for the end of a set.)
            members.extend([v / 2 for v in d.sample([*range(-6, 0), *range(1, 7)], d.randint(1, 3))] + [float("nan")])
        for side in ("true", "false"):
            is_leaf = depth == 0 or d.chance(0.3)
            node[f"{side}leafs"][at] = int(is_leaf)
            if is_leaf:
                node[f"{side}nodeids"][at] = len(leaf["weights"])
                leaf["targetids"].append(d.randrange(targets))
                leaf["weights"].append(d.uniform(-1, 1))
            else:
                node[f"{side}nodeids"][at] = grow(depth - 1)
        return at

    for _ in range(d.randint(1, 4)):
        roots.append(grow(d.randint(0, 3)))
    named = {f"nodes_{k}": v for k, v in node.items()}
    named.update({f"leaf_{k}": v for k, v in leaf.items()}, tree_roots=roots)
    for name in ("nodes_splits", "leaf_weights"):
        named[name] = numpy_helper.from_array(np.array(named[name], kind))
    named["nodes_modes"] = numpy_helper.from_array(np.array(named["nodes_modes"], np.uint8))
    if members:
        named["membership_values"] = numpy_helper.from_array(np.array(members, kind))
    return single(d, schema, opset, [halves(d, d.choice([1, 2, 9]), features, kind)], n_targets=targets,
                  # What MIN and MAX make of a target that has no leaf is left open.
                  aggregate_function=d.choice([None, 0, 1, 2, 3] if targets == 1 else [None, 0, 1]),
                  post_transform=d.choice([0, 1, 2, 3]) if targets > 1 and d.chance(0.1) else None, **named)


def mostly_float(d, schema):
    """No peer has kernels for all types."""
    return np.float32 if d.chance(0.6) else d.type(schema)


@recipe("LinearRegressor", "LinearClassifier")
def linear(d, schema, opset):
    kind, features, rows, count = mostly_float(d, schema), d.choice([1, 4, 9]), d.choice([1, 2, 5]), d.choice([1, 2, 3])
    x = d.ordinary([rows, features], kind)
    if schema.name == "LinearRegressor":
        return single(d, schema, opset, [x], coefficients=numbers(d, count * features), targets=count,
                      intercepts=numbers(d, count) if d.chance(0.6) else None, post_transform=d.choice(TRANSFORMS[:2]))
    count = max(count, 2)
    names, code = labels(d, count)
    return single(d, schema, opset, [x], 2, results=class_results(code), coefficients=numbers(d, count * features),
                  intercepts=numbers(d, count), post_transform=d.choice(TRANSFORMS),
                  multi_class=d.choice([None, 0, 1]), **names)


@recipe("SVMRegressor", "SVMClassifier")
def support_vectors(d, schema, opset):
    kind, features, rows = mostly_float(d, schema), d.choice([1, 4]), d.choice([1, 2, 5])
    x = d.ordinary([rows, features], kind, -2, 2)
    named = {"kernel_type": d.choice(["LINEAR", "POLY", "RBF", "SIGMOID"]), "kernel_params": [0.3, 0.5, 2.0]}
    if schema.name == "SVMRegressor":
        n = d.randint(1, 6)
        return single(d, schema, opset, [x], loose=10, n_supports=n, coefficients=numbers(d, n),
                      support_vectors=numbers(d, n * features),
                      rho=numbers(d, 1), one_class=d.choice([None, 0, 1]), post_transform=d.choice([None, "NONE"]),
                      **named)
    count = d.choice([2, 3])
    names, code = labels(d, count)
    per = [d.randint(1, 3) for _ in range(count)]
    if d.chance(0.3):
        pairs = count * (count - 1) // 2
        named.update(prob_a=numbers(d, pairs, -2, -0.5), prob_b=numbers(d, pairs))
    return single(d, schema, opset, [x], 2, loose=10, results=class_results(code), vectors_per_class=per,
                  coefficients=numbers(d, (count - 1) * sum(per)), support_vectors=numbers(d, sum(per) * features),
                  rho=numbers(d, count * (count - 1) // 2), post_transform=d.choice([None, "NONE"]), **names, **named)


# --------------------------------------------------------------------- features
@recipe("Scaler", "Normalizer", "Binarizer")
def feature(d, schema, opset):
    kind, n, c = d.type(schema), d.choice([1, 2, 5]), d.choice([1, 3, 8])
    x = d.ordinary([n, c], kind)
    if schema.name == "Scaler":
        count = d.choice([1, c])
        return single(d, schema, opset, [x], offset=numbers(d, count), scale=numbers(d, count))
    return single(d, schema, opset, [x], norm=d.choice([None, "MAX", "L1", "L2"]),
                  threshold=d.choice([None, 0.0, 0.5, 1.0]))


@recipe("Imputer")
def imputer(d, schema, opset):
    kind, n, c = d.choice([np.float32, np.int64]), d.choice([1, 2, 5]), d.choice([1, 3])
    count = d.choice([1, c])
    if kind == np.int64:
        return single(d, schema, opset, [d.values([n, c], kind, 0, 3)],
                      imputed_value_int64s=[d.randint(-5, 5) for _ in range(count)],
                      replaced_value_int64=d.choice([None, 2]))
    x, missing = d.values([n, c], kind, 0, 3).round(), d.choice([None, 2.0, float("nan")])
    if missing != missing:
        x[d.data.random(x.shape) < 0.4] = np.nan
    return single(d, schema, opset, [x], imputed_value_floats=numbers(d, count), replaced_value_float=missing)


@recipe("FeatureVectorizer")
def feature_vectorizer(d, schema, opset):
    kind, n, widths = d.type(schema), d.choice([1, 3]), [d.randint(1, 4) for _ in range(d.randint(1, 3))]
    return single(d, schema, opset, [d.ordinary([n, w], kind) for w in widths], inputdimensions=widths)


@recipe("ArrayFeatureExtractor")
def feature_extractor(d, schema, opset):
    shape = [max(1, s) for s in d.shape(1, 3)]
    index = d.values([1, d.randint(1, 4)] if d.chance(0.5) else [d.randint(1, 4)], np.int64, 0, shape[-1] - 1)
    return single(d, schema, opset, [d.values(shape, d.type(schema, strings=True)), index])


# --------------------------------------------------------------------- encoders
def keys_and_values(d, kind, count):
    """Distinct elements of a type."""
    if kind == "strings":
        return d.sample(LETTERS, count)
    return d.sample([float(v) for v in range(-3, 6)] if kind == "floats" else list(range(-3, 6)), count)


def encoded(d, kind, shape):
    if kind == "strings":
        return d.words(shape, LETTERS)
    return d.values(shape, np.int64, -4, 6).astype(np.float32 if kind == "floats" else np.int64)


@recipe("LabelEncoder")
def label_encoder(d, schema, opset):
    shape, count = d.shape(1, 2), d.randint(1, 4)
    if schema.since_version == 1:
        words = d.chance(0.5)
        x = d.words(shape, LETTERS) if words else d.values(shape, np.int64, -1, 5)
        return single(d, schema, opset, [x], classes_strings=d.sample(LETTERS, count),
                      default_int64=d.choice([None, 7]),
                      default_string=d.choice([None, "?"]))
    kinds = ["strings", "int64s", "floats"]
    source, target = d.choice(kinds), d.choice(kinds)
    if schema.since_version >= 4 and d.chance(0.3):
        pool = [np.int64, np.float32, np.float64, np.int32, np.int16]
        source, target = d.choice(pool), d.choice(pool)
        keys = np.array(d.sample(range(-3, 6), count), source)
        return single(d, schema, opset, [d.values(shape, np.int64, -4, 6).astype(source)],
                      keys_tensor=numpy_helper.from_array(keys),
                      values_tensor=numpy_helper.from_array(d.values([count], target)),
                      default_tensor=numpy_helper.from_array(d.values([1], target)))
    default = {"strings": ("default_string", "?"), "int64s": ("default_int64", -9),
               "floats": ("default_float", 0.25)}[target]
    named = {f"keys_{source}": keys_and_values(d, source, count), f"values_{target}": keys_and_values(d, target, count)}
    if d.chance(0.6):
        named[default[0]] = default[1]
    return single(d, schema, opset, [encoded(d, source, shape)], **named)


@recipe("CategoryMapper")
def category_mapper(d, schema, opset):
    count, source = d.randint(1, 4), d.choice(["strings", "int64s"])
    return single(d, schema, opset, [encoded(d, source, d.shape(1, 2))], cats_strings=d.sample(LETTERS, count),
                  cats_int64s=d.sample(range(-3, 6), count), default_int64=d.choice([None, 8]),
                  default_string=d.choice([None, "?"]))


@recipe("OneHotEncoder")
def one_hot_encoder(d, schema, opset):
    source, shape = d.choice(["strings", "int64s", "floats"]), d.shape(1, 2)
    categories = keys_and_values(d, "strings" if source == "strings" else "int64s", d.randint(1, 4))
    x = encoded(d, source, shape)
    zeros = d.choice([None, 1, 0]) if np.isin(x, categories).all() else d.choice([None, 1])  # with 0, others are errors
    return single(d, schema, opset, [x], **{"cats_strings" if source == "strings" else "cats_int64s": categories},
                  zeros=zeros)


# --------------------------------------------------------------------- maps
@recipe("DictVectorizer")
def dict_vectorizer(d, schema, opset):
    words = d.chance(0.5)
    vocabulary = keys_and_values(d, "strings" if words else "int64s", d.randint(1, 4))
    keys = keys_and_values(d, "strings" if words else "int64s", d.randint(1, 4))
    return single(d, schema, opset, [dict(zip(keys, numbers(d, len(keys))))],
                  **{"string_vocabulary" if words else "int64_vocabulary": vocabulary})


@recipe("CastMap")
def cast_map(d, schema, opset):
    keys = d.sample(range(0, 6), d.randint(1, 4))
    words = d.chance(0.3)
    value = dict(zip(keys, ["1", "2", "-3", "4"] if words else [float(d.randint(-5, 5)) for _ in keys]))
    sparse = d.chance(0.5)
    return single(d, schema, opset, [value], cast_to=d.choice([None, "TO_FLOAT", "TO_INT64", "TO_STRING"]),
                  map_form="SPARSE" if sparse else d.choice([None, "DENSE"]), max_map=6 if sparse else None)


@recipe("ZipMap")
def zip_map(d, schema, opset):
    count, rows = d.randint(1, 4), d.randint(1, 3)
    names, code = labels(d, count, "classlabels_int64s")
    element = helper.make_map_type_proto(code, type_of(np.float32(0)))
    return single(d, schema, opset, [d.ordinary([rows, count], np.float32)],
                  results=[helper.make_sequence_type_proto(element)], **names)
