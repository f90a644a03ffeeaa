#!/usr/bin/env python3
"""Every tile of the kernels for tensor cores on a GPU, and the one that the estimate chooses (TensorTileChoice.cpp).

    tiles.py [--only=TEXT,...] [--type=f16|bf16] [--json=FILE]

Products and convolutions of resnet50 (batch 1 and 64) and bert_base (128 tokens), compiled with each tile and number of slices by the
attribute nn.kernel. Times are microseconds of a run by the wall clock, the minimum of 40: a launch and a wait of some microseconds,
the kernel, and the one that adds slices; a tile is ROWSxCOLUMNS/SLICES. `*` is what the
estimate takes. The last line says how much slower its choices are than the best, in the geometric mean.
"""
import argparse
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from common import architecture, in_parallel, latency, nnopt, on_gpu
import numpy as np

FOLDER = os.path.join(nnopt.BUILD, "gpu")
TILES = [(128, 256), (128, 128), (128, 64), (64, 128), (64, 64), (32, 64), (16, 64)]
SLICES = [1, 2, 3, 4, 6, 8, 12, 16]
# m, n, depth
PRODUCTS = [(4096, 4096, 4096), (8192, 8192, 8192), (128, 768, 768), (128, 2304, 768), (128, 3072, 768), (128, 768, 3072), (4096, 768, 768), (4096, 3072, 768), (4096, 768, 3072)]
# batch, size, in, out, kernel, stride
CONVOLUTIONS = [(1, 224, 3, 64, 7, 2), (1, 56, 64, 64, 3, 1), (1, 56, 64, 256, 1, 1), (1, 56, 256, 64, 1, 1), (1, 28, 128, 128, 3, 1),
                (1, 28, 512, 128, 1, 1), (1, 14, 256, 256, 3, 1), (1, 14, 1024, 256, 1, 1), (1, 14, 256, 1024, 1, 1),
                (1, 7, 512, 512, 3, 1), (1, 7, 512, 2048, 1, 1), (1, 7, 2048, 512, 1, 1), (64, 56, 64, 64, 3, 1), (64, 28, 128, 128, 3, 1),
                (64, 56, 64, 256, 1, 1), (64, 14, 1024, 256, 1, 1), (64, 14, 256, 1024, 1, 1), (64, 7, 512, 512, 3, 1)]
CASES = {"x".join(map(str, p)): p for p in PRODUCTS} | {"conv " + "x".join(map(str, c)): c for c in CONVOLUTIONS}


def can_slice(case, tile, slices):
    """Whether a slice has work for all stages, of 16-bit elements, and slices may pay: a GPU has about 132 multiprocessors."""
    sizes = CASES[case]
    m, n, depth = sizes if len(sizes) == 3 else (sizes[0] * (sizes[1] // sizes[5])**2, sizes[3], sizes[2] * sizes[4]**2)
    blocks = -(-m // tile[0]) * -(-n // tile[1])
    return slices == 1 or (slices * 4 * 64 <= depth and blocks * slices <= 600)


def build(case, kind, tile, slices, arch):
    """The artifact of a case with this tile; None for both: as the estimate wants. Returns the tile that it has, too."""
    sizes = CASES[case]
    flags = "" if tile is None else f"nn.kernel = {{rows = {tile[0]} : i64, columns = {tile[1]} : i64, slices = {slices} : i64}}, "
    if len(sizes) == 3:
        m, n, k = sizes
        a, b, y, op = (m, k), (n, k), (m, n), f"nn.matmul %x, %w {{{flags}transpose_b}}"
    else:
        batch, size, ci, co, taps, stride = sizes
        out = size // stride
        a, b, y = (batch, size, size, ci), (co, ci, taps, taps), (batch, out, out, co)
        op = (f"nn.conv %x, %w {{{flags}channels_last, group = 1 : i64, dilations = array<i64: 1, 1>, strides = array<i64: {stride}, {stride}>, "
              f"pads = array<i64: {taps // 2}, {taps // 2}, {taps // 2}, {taps // 2}>}}")
    x, w, r = (f"tensor<{'x'.join(map(str, s))}x{kind}>" for s in (a, b, y))
    text = (f'func.func @main(%x: {x} {{nn.name = "x"}}) -> ({r} {{nn.name = "y"}}) {{\n  %w = nn.constant dense<0.0123> : {w}\n'
            f"  %y = {op} : ({x}, {w}) -> {r}\n  return %y : {r}\n}}\n")
    os.makedirs(FOLDER, exist_ok=True)
    path = os.path.join(FOLDER, f"{case} {kind} {tile} {slices}".replace(" ", "_") + ".mlir")
    with open(path, "w") as f:
        f.write(text)
    nnopt.compile(path, path + ".so", ["--quiet", f"--gpu={arch}", "--passes="])
    with open(path + ".so", "rb") as f:
        found = re.search(rb"tensor_\w*?_(\d+)x(\d+)(?:_split(\d+))?\0", f.read())
    has = tuple(int(g or 1) for g in found.groups()) if found else None
    return (path + ".so", has) if tile is None or has == (*tile, slices) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--type", default="f16", choices=["f16", "bf16"])
    parser.add_argument("--json")
    arguments = parser.parse_args()
    arch, gpu = architecture()
    chosen = [c for c in CASES if any(text in c for text in arguments.only.split(","))]
    builds = [(c, arguments.type, t, s, arch) for c in chosen for t, s in [(None, None)] + [(t, s) for t in TILES for s in SLICES if can_slice(c, t, s)]]
    times, estimated = {c: {} for c in chosen}, {}
    for (case, _, tile, slices, _), made in in_parallel(build, builds):
        if isinstance(made, Exception):
            print(f"{case} {tile} {slices}: FAILED {str(made).strip()[-300:]}")
        elif made:
            path, has = made
            with nnopt.Session(path, device="cuda") as session:
                on_gpu(session, {i.name: np.random.default_rng(0).standard_normal(i.shape, np.float32).astype(i.dtype) for i in session.inputs})
                us = 1e3 * latency(session.step, seconds=0, least=40)[1]
            if tile is None:
                estimated[case] = ("{}x{}/{}".format(*has), us)
            else:
                times[case]["{}x{}/{}".format(*tile, slices)] = us
    ratios = []
    for case in chosen:
        ranked = sorted(times[case].items(), key=lambda row: row[1])
        (mine, us), best = estimated[case], ranked[0][1]
        ratios.append(us / best)
        print(f"{case:26s} {us / best:5.2f}x  *{mine} {us:.1f}  " + "  ".join(f"{t} {us:.1f}" for t, us in ranked[:12]), flush=True)
    print(f"{gpu}: choices are {np.exp(np.mean(np.log(ratios))):.2f}x the best")
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump({c: {"estimate": estimated[c], "times": times[c]} for c in chosen}, f, indent=1)


if __name__ == "__main__":
    main()
