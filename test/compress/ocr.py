#!/usr/bin/env python3
"""Quantized PP-OCR (detection, orientation and recognition) on rendered text: what is read stays the same.

    ocr.py [--lines=N] [--only=det,cls,rec] [--error=2.5%] [--text=words|letters] [--peer]

Lines of words (of this repository's LICENSE, with numbers; or of random letters and digits, of which some look the same in some
fonts) in DejaVu fonts, with noise, are recognized by the float model in onnxruntime and by ours after
--quantize=int8,error=2.5%, which is calibrated with other lines: the characters (greedy CTC, as indices) must be equal, the orientation of
lines, half of them upside down, too, and pages of such lines in detection. A model passes when the cosine of its outputs is at
least 0.999 and no line is read differently. --peer: also onnxruntime's quantize_static with the same data. Needs Pillow and the fonts; ends with `N passed, N failed`.
"""
import argparse
import collections
import json
import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", folder) for folder in ("support", "models", "bench")]
import numpy as np
import onnx
import onnx.version_converter

import quantized
from corpus import SHARED
from nnopt import Session, compile, reference_session

FONTS = "/usr/share/fonts/truetype/dejavu"
LICENSE = os.path.join(HERE, "..", "..", "LICENSE")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
LEAST_COSINE = 0.999
VOCABULARY = []  # words; empty: letters by chance


def draw_line(rng, text, height, width):
    """Dark text on a bright background, [height, width, 3] in 0..255."""
    from PIL import Image, ImageDraw, ImageFont
    name = rng.choice(["DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf"])
    font = ImageFont.truetype(os.path.join(FONTS, name), int(height * rng.uniform(0.5, 0.65)))
    image = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(200, 256, 3)))
    ImageDraw.Draw(image).text((4, height * 0.15), text, font=font, fill=tuple(int(v) for v in rng.integers(0, 80, 3)))
    return np.clip(np.asarray(image, np.float32) + rng.normal(0, 5, (height, width, 3)), 0, 255)


def words(rng, count):
    def word():
        if not VOCABULARY:
            return "".join(rng.choice(list(LETTERS), rng.integers(2, 8)))
        if rng.random() < 0.2:
            return rng.choice(["%d", "%d.50", "%d%%"]) % rng.integers(1, 10000)
        text = rng.choice(VOCABULARY)
        return text.upper() if rng.random() < 0.2 else text
    return " ".join(word() for _ in range(count))


def lines(rng, count, width=320):
    """For recognition: [count, 3, 48, width] in -1..1."""
    drawn = [draw_line(rng, words(rng, 2), 48, width) for _ in range(count)]
    return (np.stack(drawn).transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32)


def turned(rng, count):
    """For orientation: lines, every second one upside down."""
    x = lines(rng, count, 192)
    x[1::2] = x[1::2, :, ::-1, ::-1]
    return x


def pages(rng, count):
    """For detection: [count, 3, 320, 320], normalized as ImageNet is."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    result = []
    for _ in range(count):
        page = np.full((320, 320, 3), 245, np.float32)
        for top in range(8, 290, int(rng.integers(36, 60))):
            width = int(rng.integers(120, 300))
            page[top:top + 28, 8:8 + width] = draw_line(rng, words(rng, 4), 28, width)
        result.append((page / 255 - mean) / deviation)
    return np.stack(result).transpose(0, 3, 1, 2).astype(np.float32)


def read(probabilities):
    """Greedy CTC: repeated indices once, blanks (0) left out."""
    best = probabilities.argmax(-1)
    return [tuple(row[np.flatnonzero((row != 0) & (np.diff(row, prepend=0) != 0))]) for row in best]


def cosine(a, b):
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def run(part, count, error, folder, peer):
    """What is wrong; empty when nothing is."""
    rng = np.random.default_rng(0)
    draw, name = {"det": (pages, "ch_PP-OCRv4_det_infer"), "cls": (turned, "ch_ppocr_mobile_v2.0_cls_infer"),
                  "rec": (lines, "ch_PP-OCRv4_rec_infer")}[part]
    model, artifact = os.path.join(SHARED, name + ".onnx"), os.path.join(folder, "model.so")
    np.savez(os.path.join(folder, "calib.npz"), x=draw(rng, 32))
    images = draw(rng, count if part != "det" else max(1, count // 8))
    compile(model, artifact, ["--quiet", f"--quantize=int8,error={error}", f"--calib={folder}/calib.npz",
                              f"--recipe-out={folder}/r.json"], timeout=1800)
    options = collections.Counter(step["option"] for step in json.load(open(f"{folder}/r.json"))["steps"])
    want = reference_session(model).run(None, {"x": images})[0]
    with Session(artifact, 1) as session:
        problem, text = compared(part, want, session.run(None, {"x": images})[0])
    print(f"{part}: {text}; {dict(options)}", flush=True)
    if peer:
        newer = os.path.join(folder, "opset13.onnx")  # which their quantizer needs
        onnx.save(onnx.version_converter.convert_version(onnx.load(model), 13), newer)
        theirs = quantized.static_qdq(newer, [{"x": x[None]} for x in np.load(f"{folder}/calib.npz")["x"]], folder)
        print(f"{part}: {compared(part, want, reference_session(theirs).run(None, {'x': images})[0])[1]}; onnxruntime", flush=True)
    return problem


def compared(part, want, got):
    """(what is wrong, or "", a line that says how similar outputs are)"""
    problems, similar = [], cosine(want.astype(np.float64), got.astype(np.float64))
    if not similar >= LEAST_COSINE:
        problems.append(f"cosine {similar:.5f}")
    text = f"cosine {similar:.5f}"
    if part != "det":
        results = [read(y) if part == "rec" else list(y.argmax(-1)) for y in (want, got)]
        other = sum(a != b for a, b in zip(*results))
        text += f", {other} of {len(want)} lines are read differently"
        if other:
            problems.append(f"{other} of {len(want)} lines are read differently")
    return ", ".join(problems), text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=64)
    parser.add_argument("--only", default="det,cls,rec")
    parser.add_argument("--error", default="2.5%")
    parser.add_argument("--text", choices=["words", "letters"], default="words")
    parser.add_argument("--peer", action="store_true")
    options = parser.parse_args()
    if options.text == "words":
        VOCABULARY[:] = sorted(set(re.findall(r"[A-Za-z]{3,9}", open(LICENSE).read())))
    missing = None if os.path.isdir(SHARED) else "the model corpus is not there (see NNOPT_SHARED)"
    try:
        import PIL  # noqa: F401
    except ImportError:
        missing = "Pillow is not installed"
    if not os.path.isdir(FONTS):
        missing = f"there are no fonts in {FONTS}"
    if missing:
        print(f"skipped: {missing}")
        print("0 passed, 0 failed")
        return 0
    failed = 0
    parts = options.only.split(",")
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            if problem := run(part, options.lines, options.error, folder, options.peer):
                print(f"FAIL  {part}: {problem}")
                failed += 1
    print(f"{len(parts) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
