#!/usr/bin/env python3
"""The page of --report in a headless browser: opens without errors, shows every layer, reacts.

    python test/report/page.py [--shots=FOLDER]      # screenshots of every page too

Models: the example, and resnet50 and bert_base of ../shared/models where they are. Closes with
`N passed, N failed`.
"""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
import numpy as np
import onnx
from onnx import TensorProto, helper

import browser
from nnopt import ROOT, tool

SHARED = os.path.join(ROOT, "..", "shared", "models")
shots = next((a.partition("=")[2] for a in sys.argv[1:] if a.startswith("--shots=")), None)
passed, failed = 0, 0


def expect(what, holds, found=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print("ok   " if holds else "FAIL ", what, "" if holds else found)


def models(folder):
    """(name, path, flags): skeletons are filled with weights first."""
    # Names come from files: they must stay text.
    nodes = [helper.make_node(op, [f"v{i}"], [f"v{i + 1}"], f"<img src=x onerror=console.error({i})> {op}")
             for i, op in enumerate(("Relu", "Softmax", "Exp"))]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4, 8]) for n in ("v0", "v3")]
    path = os.path.join(folder, "names.onnx")
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:]), ir_version=8,
                                opset_imports=[helper.make_opsetid("", 17)]), path)
    yield "names", path, []
    fashion = os.path.join(ROOT, "examples", "models", "fashion")
    yield "fashion", fashion + ".onnx", ["--report-profile"]
    data = os.path.join(folder, "data.npz")
    np.savez(data, image=np.load(fashion + ".npz")["image"], labels=np.load(fashion + "-expected.npz")["labels"])
    yield "budget", fashion + ".onnx", ["--budget=drop=0%", f"--calib={data}", f"--eval={data}"]
    for name, flags in (("resnet50", ["--report-profile"]), ("bert_base", ["--report-dim=sequence=128"]),
                        ("moe_decoder", [])):
        if not os.path.exists(os.path.join(SHARED, "skeletons", name + ".onnx")):
            print("     ", name, "left out: no", SHARED)
            continue
        subprocess.run([sys.executable, os.path.join(SHARED, "fill.py"), name, folder], check=True, capture_output=True)
        yield name, os.path.join(folder, name + ".onnx"), flags


def check(name, page, data):
    def shot(what):
        if shots:
            page.screenshot(os.path.join(shots, f"{name}-{what}.png"))

    def rows(table):
        return page.run("return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].map((r) => +r.dataset.id)", table)

    def quiet(what):
        messages = page.messages()
        expect(f"{name}: no console messages {what}", not messages, messages)

    quiet("on opening")
    expect(f"{name}: overview", page.run("return document.querySelectorAll('.card').length") == 8
           and page.run("return document.querySelectorAll('svg.chart').length") >= 3)
    width = page.run("return [document.documentElement.scrollWidth, innerWidth]")
    expect(f"{name}: fits the window", width[0] <= width[1], width)
    shot("overview")

    # Layers: all of them, filtered, sorted.
    page.click('[data-page="layers"]')
    expect(f"{name}: every layer", rows("layers") == [l["id"] for l in data["layers"]], rows("layers"))
    kernels = page.run("return [...document.querySelectorAll('#layers td.kernel')].map((c) => c.textContent)")
    expect(f"{name}: every kernel", kernels == [l["kernel"] for l in data["layers"]])
    shot("layers")
    word = data["layers"][len(data["layers"]) // 2]["emitter"]
    page.type(".page:not([hidden]) .search", word)
    wanted = [l["id"] for l in data["layers"]
              if word in " ".join([l["op"], l["kernel"], l["emitter"], *l["nodes"]]).lower()]
    expect(f"{name}: layers by {word}", rows("layers") == wanted, rows("layers"))
    page.run("const box = document.querySelector('.page:not([hidden]) .search'); box.value = '';"
             "box.dispatchEvent(new Event('input'))")
    page.click("#layers th:nth-child(7)")
    byte_counts = [data["layers"][i]["bytes"] for i in rows("layers") if data["layers"][i]["bytes"] is not None]
    expect(f"{name}: layers by bytes", byte_counts == sorted(byte_counts, reverse=True), byte_counts)

    # What compression did: a row for each layer, a spot for each choice that was evaluated.
    if "compression" in data:
        page.click('[data-page="compression"]')
        compressed = data["compression"]
        expect(f"{name}: every compressed layer", rows("compressed-layers") == list(range(len(compressed["layers"]))))
        text = page.run("return document.querySelector('.page:not([hidden])').textContent")
        expect(f"{name}: what was chosen", all(l["site"] in text and l["chosen"] in text for l in compressed["layers"]), text)
        spots = page.run("return document.querySelectorAll('.page:not([hidden]) circle.spot').length")
        expect(f"{name}: every choice", spots == 2 * len(compressed["points"]) >= 4, spots)
        shot("compression")
        page.click('[data-page="layers"]')
    else:
        expect(f"{name}: no page for compression", not page.run("return document.querySelector('[data-page=\"compression\"]')"))

    # A layer leads to its node, which tells where it comes from.
    page.run("document.querySelector('#layers th').click()")
    number = next(l["id"] for l in data["layers"] if l.get("node") is not None and l["nodes"])
    page.run("document.querySelector(`#layers tr[data-id=\"${arguments[0]}\"]`).click()", number)
    page.wait("return document.querySelector('.pane[data-side=after] .item.selected')")
    text = page.run("return document.getElementById('details').textContent")
    origins = data["graphs"]["after"]["nodes"][data["layers"][number]["node"]]["origins"]
    expect(f"{name}: a layer's node and kernel", all(o in text for o in origins) and data["layers"][number]["kernel"] in text,
           text)

    # A click on a node of the imported graph.
    page.click('[data-show="before"]')
    page.wait("return document.querySelectorAll('.pane[data-side=before] .item').length > 2")
    item = page.run("""
        const pane = document.querySelector('.pane[data-side=before] svg').getBoundingClientRect();
        const inside = (r) => r.top > pane.top + 4 && r.bottom < pane.bottom - 4 && r.left > pane.left + 4 && r.right < pane.right - 4;
        return [...document.querySelectorAll('.pane[data-side=before] .item:not(.end)')]
          .find((e) => inside(e.getBoundingClientRect())).dataset.item""")
    page.click(f'.pane[data-side=before] [data-item="{item}"]')
    page.wait("return document.querySelector('.pane[data-side=before] .item.selected')")
    origin = page.run("return views.before.items[arguments[0]].node.origins", int(item))
    text = page.run("return document.getElementById('details').textContent")
    expect(f"{name}: a click shows the ONNX node", origin and all(o in text for o in origin), text)
    expect(f"{name}: and what became of it", "Is now" in text or "Is gone" in text, text)
    page.click('[data-show="both"]')
    shot("graph")

    # Moving, and everything at once: no freeze, only what is visible is drawn.
    before = page.run("return views.after.world.getAttribute('transform')")
    page.run("views.after.svg.dispatchEvent(new WheelEvent('wheel', {deltaY: 120, bubbles: true}))")
    page.wait(f"return views.after.world.getAttribute('transform') !== {json.dumps(before)}")
    scale = page.run("return views.after.scale")
    page.click(".pane[data-side=after] .pane-head button[title=Larger]")
    expect(f"{name}: pan and zoom", page.run("return views.after.scale") > scale)
    milliseconds = page.run("const start = performance.now(); for (const v of Object.values(views)) { v.fitAll(); v.draw(); }"
                            "return performance.now() - start")
    drawn = page.run("return views.before.nodeGroup.childElementCount")
    total = len(data["graphs"]["before"]["nodes"]) + sum(len(data["graphs"]["before"][k]) for k in ("inputs", "outputs"))
    expect(f"{name}: the whole graph ({total} nodes in {milliseconds:.0f} ms)", drawn == total and milliseconds < 10000, drawn)
    page.run("for (const v of Object.values(views)) { v.start(); v.draw(); }")
    if total > 500:
        expect(f"{name}: only what is visible", page.run("return views.before.nodeGroup.childElementCount") < total / 2)

    # Search.
    op = data["graphs"]["before"]["nodes"][0]["op"]
    page.type("#find", op)
    hits = page.run("return views.before.found.size")
    expect(f"{name}: search", hits >= sum(n["op"] == op for n in data["graphs"]["before"]["nodes"]) > 0, hits)
    page.type("#find", "\ue007")  # Enter
    expect(f"{name}: the first hit", page.run("return document.querySelector('.page.graph .bar .count').textContent").startswith("1 of "))

    # Remarks.
    page.click('[data-page="remarks"]')
    expect(f"{name}: remarks", len(rows("remarks")) == min(400, len(data["remarks"])), len(rows("remarks")))
    for kind in sorted({r["kind"] for r in data["remarks"]}):
        page.click(f'.chip[data-kind="{kind}"]')
        left = [i for i, r in enumerate(data["remarks"]) if r["kind"] != kind]
        expect(f"{name}: remarks but {kind}", rows("remarks") == left[:400], rows("remarks"))
        page.click(f'.chip[data-kind="{kind}"]')
    shot("remarks")

    page.click("#theme")
    page.click('[data-page="overview"]')
    colour = page.run("return getComputedStyle(document.body).backgroundColor")
    expect(f"{name}: dark", max(int(c) for c in colour[4:-1].split(",")) < 60, colour)
    shot("dark")
    expect(f"{name}: names stay text", page.run("return document.querySelectorAll('img').length") == 0)
    quiet("afterwards")


def main():
    if missing := browser.missing():
        print(f"not installed: {', '.join(missing)} (tools/setup.sh full)")
        print("0 passed, 1 failed")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        for name, path, flags in models(folder):
            target = os.path.join(folder, name)
            subprocess.run([tool("nnopt-compile"), path, "-o", target + ".so", f"--report={target}.html",
                            f"--report={target}.json", "--quiet", *flags], check=True)
            with open(target + ".json", encoding="utf-8") as stream:
                data = json.load(stream)
            with browser.Browser() as page:
                page.open(f"file://{target}.html")
                try:
                    check(name, page, data)
                except RuntimeError as error:
                    expect(f"{name}: to the end", False, error)
            os.remove(target + ".so")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


sys.exit(main())
