#!/usr/bin/env python3
"""Writes docs/performance.md from what compare.py measured.

    compare.py --rounds=4 --seconds=0.5 --json=f32.json
    compare.py --rounds=4 --precision=bf16 --models=resnet50,vit_base,bert_base,gpt2 --json=bf16.json
    compare.py --rounds=4 --precision=int8 --models=resnet50,mobilenet_v2,vit_base,bert_base --json=int8.json
    performance_page.py f32.json bf16.json int8.json

Runs of one precision on one CPU are one section: rows of a later file take the place of earlier ones. Sections of the page that
no file is about stay as they are.
"""
import json
import os
import statistics
import sys

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "performance.md")
PEERS = ["onnxruntime", "openvino"]
TITLES = {"f32": "32-bit float", "bf16": "bf16", "int8": "8-bit integers"}
ABOUT = {"f32": "Weights are random but for PP-OCR and silero.",
         "bf16": "`--precision=bf16` beside openvino's inference precision bf16, and onnxruntime's f32. *error* is |a - b| / |b| "
                 "of the first output against onnxruntime's f32.",
         "int8": "The same calibration data for all: `--quantize=int8`, onnxruntime's `quantize_static` (QDQ), nncf for openvino. "
                 "*error* is |a - b| / |b| of the first output against onnxruntime's f32; weights are random."}


def times(row):
    return f"{row['min_ms']:.3g} / {row['median_ms']:.3g}"


def cases(run):
    """(model, threads) -> side -> row"""
    found = {}
    for row in run["results"]:
        found.setdefault((row["model"], row["threads"]), {})[row["side"]] = row
    return found


def latencies(run):
    with_error = run["precision"] != "f32"
    cells = lambda row: [times(row), f"{row['peak_bytes'] / 1e6:.0f}"] + ([f"{row['error']:.4f}"] if with_error else [])
    titles = lambda side: [side, "MB"] + (["error"] if with_error else [])
    peers = [p for p in PEERS if p in run]
    head = ["model", "threads", *titles("nnopt"), *(t for p in peers for t in [*titles(p), "ratio"])]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    best = {}
    for (model, threads), sides in cases(run).items():
        row = [model, str(threads), *cells(sides["nnopt"])]
        for p in peers:
            row += [*cells(sides[p]), f"{sides[p]['ratio_to_nnopt']:.2f}"] if p in sides else [""] * (len(titles(p)) + 1)
        lines.append("| " + " | ".join(row) + " |")
        ratios = [sides[p]["ratio_to_nnopt"] for p in peers if p in sides]
        if ratios:
            best.setdefault(threads, []).append(min(ratios))
    means = ", ".join(f"{statistics.geometric_mean(r):.2f} ({t} thread{'s' if t > 1 else ''}; lowest {min(r):.2f})"
                      for t, r in sorted(best.items()))
    return lines + ["", f"The best peer's time over ours, as geometric mean over the models: {means}."]


def rooflines(run):
    lines = ["| model | threads | of the bound | slowest kernels: share of the time, of their bound |", "|---|---|---|---|"]
    machine = {}
    for (model, threads), sides in cases(run).items():
        roofline = sides["nnopt"]["roofline"]
        machine[threads] = roofline
        kernels = ", ".join(f"`{k['kernel']}`" + (f" x{k['calls']}" if k["calls"] > 1 else "") +
                            f" {k['of_time']:.0%} {k['of_bound']:.0%}" for k in roofline["kernels"])
        lines.append(f"| {model} | {threads} | {roofline['share']:.0%} | {kernels} |")
    bounds = "; ".join(f"{t} thread{'s' if t > 1 else ''}: {r['gflops']:.0f} GFLOP/s, {r['gbytes']:.0f} GB/s"
                       for t, r in sorted(machine.items()))
    return ["The bound of a kernel is the longer one of its operations at the rate of f32 multiply-adds and its bytes at the rate "
            f"of main memory ({bounds}, measured by `nnopt-run --profile`); that of a model is their sum. Operations are those "
            "that are executed: Winograd's algorithms have fewer than the model states. Kernels whose data a cache holds go over "
            "100 %.", "", *lines]


def compiling(run):
    lines = ["The same run: seconds and peak memory of `nnopt-compile` on all cores, and the size of the artifact.", "",
             "| model | seconds | memory, MB | artifact, MB |", "|---|---|---|---|"]
    seen = set()
    for (model, _), sides in cases(run).items():
        ours = sides["nnopt"]
        if model not in seen:
            lines.append(f"| {model} | {ours['compile_s']:.1f} | {ours['compile_bytes'] / 1e6:.0f} | {ours['artifact_bytes'] / 1e6:.1f} |")
        seen.add(model)
    return lines


def title(run):
    return f"## {TITLES[run['precision']]}, {run['cpu'].split('@')[0].strip()}"


def merged(runs):
    """title -> run"""
    sections = {}
    for run in runs:
        before = sections.setdefault(title(run), run)
        if before is not run:
            new = {(row["model"], row["threads"]) for row in run["results"]}
            rows = [row for row in before["results"] if (row["model"], row["threads"]) not in new]
            commits = list(dict.fromkeys([*before["commit"].split(" and "), run["commit"]]))
            sections[title(run)] = {**before, **run, "results": rows + run["results"], "commit": " and ".join(commits)}
    return sections


def written():
    """title -> lines, of the page as it is"""
    sections, current = {}, None
    with open(PAGE) as f:
        for line in f.read().splitlines():
            if line.startswith("## "):
                current = sections.setdefault(line, [])
            elif current is not None:
                current.append(line)
    return {title: "\n".join(lines).strip("\n").split("\n") for title, lines in sections.items()}


def section(run):
    lines = [f"{ABOUT[run['precision']]} {run['cores']} cores of an {run['cpu']} ({run['flags']}; a virtual machine shared with "
             f"others), {run['date']}, commit {run['commit']}, " + ", ".join(f"{p} {run[p]}" for p in PEERS if p in run) + ".", "",
             *latencies(run)]
    if run["precision"] == "f32":
        lines += ["", "### Distance to the bounds of the machine", "", *rooflines(run), "", "### Compiling", "", *compiling(run)]
    return lines


def main():
    runs = []
    for path in sys.argv[1:]:
        with open(path) as f:
            runs.append(json.load(f))
    if not runs or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    lines = ["# Performance", "", "Measured by `test/bench/compare.py`, which prints these tables for any machine, and written by "
             "`test/bench/performance_page.py`. Batch 1; dimensions are pinned to those of the example inputs of the model corpus. "
             "Every side runs in a process of its own through the same Python loop, in turns.", "",
             "Milliseconds, minimum / median; *ratio* is the peer's minimum over ours: above 1 nnopt is faster. *MB* is the peak of "
             "the process, loading included, above a Python process with the inputs. A peer without figures refuses the model."]
    sections = written() | {name: section(run) for name, run in merged(runs).items()}
    for name in sorted(sections, key=lambda name: [name.startswith(f"## {t}") for t in TITLES.values()], reverse=True):
        lines += ["", name, "", *sections[name]]
    with open(PAGE, "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
