#!/usr/bin/env python3
"""Quantized PP-OCR (detection, orientation and recognition) on rendered text: what is read stays the same.

    ocr.py [--lines=N] [--only=det,cls,rec] [--text=words|letters] [--json=FILE] [--from=FILE,...] [--write-docs]

Lines of words (of this repository's LICENSE, with numbers; or of random letters and digits, of which some look the same in some
fonts) in DejaVu fonts, with noise, cut out where the text ends and padded with zeros, as PaddleOCR does it. --quantize=int8 is
calibrated with 64 of them and chooses its layers by 256 others (32 pages of lines in detection): the cosine of the outputs may drop by
0.001; the orientation of a line, half of which are upside down, may not change. N further lines (N / 8 pages) are then read by
the float model in onnxruntime, by what was compiled, by --quantize=int8 without a budget and by onnxruntime's quantize_static with the
same data; lines are compared by what is read (greedy CTC, as indices).

Lines that the float model does not read the same itself when noise of one level of 255 is added to their pixels say nothing: they are
neither used for the choice nor counted. A model passes when the cosine of its outputs is at least 0.999 and none of the
lines that are left is read differently. --write-docs writes the table in
docs/quantization.md. Needs Pillow and the fonts; ends with `N passed, N failed`.
"""
import collections
import datetime
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
import onnxruntime

import quantized
import tables
from compare import cpu_name
from corpus import SHARED
from nnopt import Session, compile, reference_session
from pays import least_times

FONTS = "/usr/share/fonts/truetype/dejavu"
LICENSE = os.path.join(HERE, "..", "..", "LICENSE")
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
LEAST_COSINE = 0.999
VOCABULARY = []  # words; empty: letters by chance
CALIBRATION, EVALUATION = 64, 256  # lines
BEGIN, END = "<!-- ocr.py: table -->", "<!-- ocr.py: end -->"
TITLES = {"det": "detection", "cls": "orientation", "rec": "recognition"}


def draw_line(rng, text, height, most):
    """Dark text on a bright background, cut out where it ends, as detection does: [height, width, 3] in 0..255, width <= most."""
    from PIL import Image, ImageDraw, ImageFont
    name = rng.choice(["DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf"])
    font = ImageFont.truetype(os.path.join(FONTS, name), int(height * rng.uniform(0.5, 0.65)))
    width = min(most, 8 + int(font.getlength(text)))
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


def lines(rng, count, width=320, turn=lambda i: False):
    """For recognition: [count, 3, 48, width] in -1..1; zeros behind a line, as PaddleOCR pads its batches."""
    x = np.zeros((count, 3, 48, width), np.float32)
    for i in range(count):
        drawn = draw_line(rng, words(rng, 2), 48, width) / 127.5 - 1
        x[i, :, :, :drawn.shape[1]] = (drawn[::-1, ::-1] if turn(i) else drawn).transpose(2, 0, 1)
    return x


def turned(rng, count):
    """For orientation: lines, every second one upside down."""
    return lines(rng, count, 192, turn=lambda i: i % 2 == 1)


def pages(rng, count):
    """For detection: [count, 3, 320, 320], normalized as ImageNet is."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    result = []
    for _ in range(count):
        page = np.full((320, 320, 3), 245, np.float32)
        for top in range(8, 290, int(rng.integers(36, 60))):
            drawn = draw_line(rng, words(rng, 4), 28, 300)
            page[top:top + 28, 8:8 + drawn.shape[1]] = drawn
        result.append((page / 255 - mean) / deviation)
    return np.stack(result).transpose(0, 3, 1, 2).astype(np.float32)


def read(probabilities):
    """Greedy CTC: repeated indices once, blanks (0) left out."""
    best = probabilities.argmax(-1)
    return [tuple(row[np.flatnonzero((row != 0) & (np.diff(row, prepend=0) != 0))]) for row in best]


def cosine(a, b):
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def reading(part, y):
    """What is read from the outputs of each line."""
    return read(y) if part == "rec" else list(y.argmax(-1))


def is_settled(reference, part, images):
    """Of each line, whether the float model reads it the same with noise of one level of 255 on its pixels, four times."""
    texts = reading(part, reference.run(None, {"x": images})[0])
    settled, rng = np.ones(len(images), bool), np.random.default_rng(1)
    for _ in range(4):
        noisy = images + (images != 0) * rng.normal(0, 1 / 127.5, images.shape).astype(np.float32)
        settled &= [a == b for a, b in zip(texts, reading(part, reference.run(None, {"x": noisy})[0]))]
    return settled


def compared(part, want, got):
    """{"cosine": of the outputs, "differ": how many lines are read differently}"""
    result = {"cosine": cosine(want.astype(np.float64), got.astype(np.float64))}
    if part != "det":
        result["differ"] = int(sum(a != b for a, b in zip(reading(part, want), reading(part, got))))
    return result


# What draws the inputs, the model, and how it is compressed.
PARTS = {"det": (pages, "ch_PP-OCRv4_det_infer", "--quantize=int8 --budget=drop=0.001"),
         "cls": (turned, "ch_ppocr_mobile_v2.0_cls_infer", "--quantize=int8 --metric=top1 --budget=drop=0"),
         "rec": (lines, "ch_PP-OCRv4_rec_infer", "--quantize=int8 --budget=drop=0.001")}


def run(model, count, text):
    """What each reads: rows of {"name", "cosine", "differ", "options", "ms"}; `ms` of a line or page, one thread."""
    part, rng = model, np.random.default_rng(0)
    VOCABULARY[:] = sorted(set(re.findall(r"[A-Za-z]{3,9}", open(LICENSE).read()))) if text == "words" else []
    draw, name, budget = PARTS[part]
    path = os.path.join(SHARED, name + ".onnx")
    share = 8 if part == "det" else 1
    reference = reference_session(path)
    calibration, held, images = (draw(rng, n // share) for n in (CALIBRATION, EVALUATION, count))
    drawn = len(images)
    if part != "det":
        held, images = (x[is_settled(reference, part, x)] for x in (held, images))
    want = reference.run(None, {"x": images})[0]
    result = {"model": part, "count": len(images), "unsettled": drawn - len(images), "budget": budget, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        files = [f"--calib={folder}/calib.npz", f"--recipe-out={folder}/r.json", "--quiet"]
        np.savez(f"{folder}/calib.npz", x=calibration)
        np.savez(f"{folder}/eval.npz", x=held, **({"labels": reference.run(None, {"x": held})[0].argmax(-1)} if part == "cls" else {}))
        made = {"float": [], "int8": ["--quantize=int8", *files], budget: [*budget.split(), f"--eval={folder}/eval.npz", *files]}
        for i, (what, flags) in enumerate(made.items()):
            compile(path, f"{folder}/{i}.so", ["--quiet", *flags], timeout=3600)
            row = {"name": what, "options": {}}
            if flags and os.path.exists(f"{folder}/r.json"):
                row["options"] = collections.Counter(step["option"] for step in json.load(open(f"{folder}/r.json"))["steps"])
                os.remove(f"{folder}/r.json")
            with Session(f"{folder}/{i}.so", 1) as session:
                row.update(compared(part, want, session.run(None, {"x": images})[0]))
            print(row, flush=True)
            result["rows"].append(row)
        for row, ms in zip(result["rows"], least_times([f"{folder}/{i}.so" for i in range(len(made))], {"x": images[:1]})):
            row["ms"] = ms
        newer = os.path.join(folder, "opset13.onnx")  # which their quantizer needs
        onnx.save(onnx.version_converter.convert_version(onnx.load(path), 13), newer)
        theirs = reference_session(quantized.static_qdq(newer, [{"x": x[None]} for x in calibration], folder))
        result["rows"].append({"name": "onnxruntime", "options": {}, **compared(part, want, theirs.run(None, {"x": images})[0])})
    return result


def holds(r):
    row = next(row for row in r["rows"] if row["name"] == r["budget"])
    return row["cosine"] >= LEAST_COSINE and not row.get("differ")


def left_out(results):
    some = [f"{r['unsettled']} of {r['unsettled'] + r['count']} in {TITLES[r['model']]}" for r in results if r.get("unsettled")]
    noise = "read differently by the float model itself when noise of one level of 255 is added to their pixels"
    return f"Left out are the lines that are {noise}: {', '.join(some)}." if some else f"No line is {noise}."


def table(results):
    lines = [BEGIN, "", f"Written by `test/compress/ocr.py --write-docs` ({datetime.date.today()}, {cpu_name()}, onnxruntime",
             f"{onnxruntime.__version__}): PP-OCR on rendered lines of words (pages in detection) that neither calibration ({CALIBRATION} lines) nor the",
             f"choice of layers ({EVALUATION}) has seen, against the float model. The choice is that of a budget: the cosine may drop by 0.001; no orientation",
             "may change. " + left_out(results),
             "Milliseconds of one thread for one line or page; `--quantize=int8` alone takes all layers that change the outputs by less than 10 %.", "",
             "| | | cosine | read differently | ms | layers |", "|---|---|---|---|---|---|"]
    for r in results:
        if "failure" in r:
            lines.append(f"| {TITLES[r['model']]} | {r['failure'].splitlines()[0]} | | | | |")
            continue
        for i, row in enumerate(r["rows"]):
            flags = {"float": "float", "int8": "`--quantize=int8`", "onnxruntime": "onnxruntime, static int8"}.get(row["name"], f"`{row['name']}`")
            lines.append(f"| {'' if i else TITLES[r['model']]} | {flags} | {row['cosine']:.5f} | "
                         + (f"{row['differ']} of {r['count']}" if "differ" in row else "") + " | "
                         + (f"{row['ms']:.2f}" if "ms" in row else "") + " | "
                         + ", ".join(f"{n} {option}" for option, n in row["options"].items()) + " |")
    return "\n".join([*lines, "", END])


def write_docs(results, options):
    tables.write_part("quantization.md", BEGIN, END, table(results))


def main():
    missing = None if os.path.isdir(FONTS) else f"there are no fonts in {FONTS}"
    try:
        import PIL  # noqa: F401
    except ImportError:
        missing = "Pillow is not installed"
    if missing:
        print(f"skipped: {missing}")
        print("0 passed, 0 failed")
        return 0

    def add_arguments(parser):
        parser.add_argument("--lines", type=int, default=128)
        parser.add_argument("--text", choices=["words", "letters"], default="words")

    return tables.main(__doc__, PARTS, add_arguments,
                       lambda options: [{"model": part, "count": options.lines, "text": options.text} for part in options.only.split(",")],
                       run, holds, write_docs)


if __name__ == "__main__":
    sys.exit(main())
