#!/usr/bin/env python3
"""Shows what the compiled fashion.onnx answers: show_fashion.py OUT.npz EXPECTED.npz RUN.json

Exits with 1 when the answers differ from those of the network as it was trained (fashion-expected.npz).
"""
import json
import sys

import numpy as np

from make_fashion import CLASSES


def main():
    got = np.load(sys.argv[1])["logits"]
    expected = np.load(sys.argv[2])
    with open(sys.argv[3]) as stream:
        latency = json.load(stream)["latency_ms"]
    scores = np.exp(got - got.max(1, keepdims=True))
    scores /= scores.sum(1, keepdims=True)
    print("\n     image   the model says        it is")
    for i, (score, label) in enumerate(zip(scores, expected["labels"])):
        best = score.argmax()
        print(f"     {i:5d}   {CLASSES[best]:<11s} {100 * score[best]:5.1f} %   {CLASSES[label]}"
              + ("" if best == label else "   (wrong)"))
    error = np.abs(got - expected["logits"]).max() / np.abs(expected["logits"]).max()
    print(f"\n     {len(got)} images in {latency['median']:.3f} ms (median; best {latency['min']:.3f} ms); "
          f"largest difference from the network as trained: {error:.1e} of the scale\n")
    return 0 if error < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
