#!/usr/bin/env python3
"""Models in half precision on a GPU beside PyTorch, in one run: eager, and inductor (torch.compile).

    peers.py [--only=TEXT,...] [--no-peer] [--kernels=N] [--json=FILE]

resnet50 (batch 1 and 64), bert_base (128 tokens, batch 1 and 32), a step of gpt2 and of a mixture of experts behind 128 tokens.
Ours is the model as exported in half precision (test/support/half.py), with --precision=f16; PyTorch's is the same network with random weights (peer_nets.py).
All have inputs and outputs on the GPU, and a call waits for its result: median and minimum of milliseconds by the wall clock.
PyTorch runs once as it is (eager), and its eager and its compiled calls as CUDA graphs, as ours does. `kernels` is what ours needs
on the GPU by CUPTI. --kernels prints the slowest N, with the share of the bound that their operations (at 990 TFLOP/s, the data
sheet of H100 and H200) or bytes (at the speed of a copy) set.
"""
import argparse
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from common import architecture, in_parallel, kernel_times, latency, launches, nnopt, on_gpu
import numpy as np

FOLDER = os.path.join(nnopt.BUILD, "gpu")
# name -> model, and its named dimensions where they are not those of the example.
CASES = {"resnet50 b1": ("resnet50", 1), "resnet50 b64": ("resnet50", 64), "bert_base 1x128": ("bert_base", 1),
         "bert_base 32x128": ("bert_base", 32), "gpt2 decode": ("gpt2", 1), "moe decode": ("moe_decoder", 1)}


def build(name, batch, arch):
    """Compiles a model of the corpus in half precision for this batch; its path and inputs."""
    import corpus
    import onnx
    from half import half_feeds, to_half
    model = next(m for m in corpus.models("full") if m.name == name)
    model.prepare()
    feeds = {n: np.repeat(v, batch, axis=0) for n, v in model.example.items()} if batch > 1 else model.example
    os.makedirs(FOLDER, exist_ok=True)
    source, out = (os.path.join(FOLDER, f"{name}.{batch}.f16.{end}") for end in ("onnx", "so"))
    onnx.save(to_half(onnx.load(model.path)), source)
    nnopt.compile(source, out, ["--quiet", f"--gpu={arch}", "--precision=f16", *model.pins(feeds)])
    return out, half_feeds(feeds)


def graphed(call):
    """A call that replays `call` as a CUDA graph."""
    import torch
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def waiting(call):
    import torch

    def step():
        call()
        torch.cuda.synchronize()
    return step


def peers(name, batch):
    """{side: (median, minimum)} of PyTorch."""
    import torch
    from peer_nets import network
    net, inputs = network(name, batch)
    found = {}
    with torch.inference_mode():
        found["eager"] = latency(waiting(lambda: net(*inputs)))
        for side, call in (("eager graph", net), ("inductor graph", torch.compile(net, dynamic=False))):
            try:
                found[side] = latency(waiting(graphed(lambda: call(*inputs))))
            except Exception as error:  # of this side
                print(f"  {side}: {str(error).strip()[-300:]}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--kernels", type=int, default=0)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    arch, gpu = architecture()
    chosen = [c for c in CASES if any(text in c for text in arguments.only.split(","))]
    records = []
    for (case, made) in zip(chosen, [m for _, m in in_parallel(build, [(*CASES[c], arch) for c in chosen])]):
        try:
            if isinstance(made, Exception):
                raise made
            path, feeds = made
            with nnopt.Session(path, device="cuda") as session:
                on_gpu(session, feeds)
                ours = latency(session.step)
                rows, counted = kernel_times(session.step), launches(session)
            total = sum(us for _, _, us in rows)
            print(f"{case}: {ours[0]:.3f} ms (min {ours[1]:.3f}), kernels {total:.0f} us in {sum(n for _, n, _ in rows)} launches", flush=True)
            work = {}
            for kernel, flops, size in counted:
                entry = work.setdefault(kernel, [0, 0])
                entry[0] += flops
                entry[1] += size
            for kernel, count, us in rows[:arguments.kernels]:
                flops, size = work.get(kernel, (0, 0))
                print(f"    {us:8.1f} us {count:4d}x {flops / us / 1e6 if us else 0:7.1f} TFLOP/s {size / us / 1e3 if us else 0:7.0f} GB/s  {kernel}")
            record = {"case": case, "nnopt": ours, "kernels_us": total, "kernels": rows}
            if not arguments.no_peer:
                record |= peers(*CASES[case])
                print("  " + ", ".join(f"{side} {t[0]:.3f} (min {t[1]:.3f}): {t[1] / ours[1]:.2f}x" for side, t in record.items()
                                       if side.startswith(("eager", "inductor"))), flush=True)
            records.append(record)
        except Exception as error:  # of one case: the others go on
            print(f"{case}: FAILED {str(error).strip()[-500:]}", flush=True)
    print(gpu)
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump({"gpu": gpu, "records": records}, f, indent=1)


if __name__ == "__main__":
    main()
