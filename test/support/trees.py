"""Random trees in the encoding of TreeEnsembleRegressor and TreeEnsembleClassifier."""
import numpy as np


def forest(rng, trees, depth, features, targets, prefix, modes=("BRANCH_LEQ",), ids=None):
    """Attributes of complete random trees."""
    a = {f"nodes_{k}": [] for k in ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids", "modes", "values",
                                    "missing_value_tracks_true")}
    leaf = {f"{prefix}_{k}": [] for k in ("treeids", "nodeids", "ids", "weights")}
    for t in range(trees):
        inner = 2 ** depth - 1
        for n in range(2 * inner + 1):
            is_leaf = n >= inner
            a["nodes_treeids"].append(t)
            a["nodes_nodeids"].append(n)
            a["nodes_featureids"].append(0 if is_leaf else int(rng.integers(features)))
            a["nodes_truenodeids"].append(0 if is_leaf else 2 * n + 1)
            a["nodes_falsenodeids"].append(0 if is_leaf else 2 * n + 2)
            a["nodes_modes"].append("LEAF" if is_leaf else str(rng.choice(modes)))
            a["nodes_values"].append(0.0 if is_leaf else float(np.float32(rng.integers(-4, 5) / 2)))
            a["nodes_missing_value_tracks_true"].append(int(rng.integers(2)))
            if is_leaf:
                for target in ids or [int(rng.integers(targets))]:
                    leaf[f"{prefix}_treeids"].append(t)
                    leaf[f"{prefix}_nodeids"].append(n)
                    leaf[f"{prefix}_ids"].append(target)
                    leaf[f"{prefix}_weights"].append(float(np.float32(rng.random())))
    return {**a, **leaf}
