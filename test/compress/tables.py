"""What the scripts share that measure trained models, one after the other, and write tables of the results."""
import argparse
import json
import os
import time
import traceback

from corpus import SHARED
from nnopt import ROOT


def write_part(page, begin, end, text):
    """Puts `text`, which has both marks, in place of all from the mark `begin` to the mark `end` behind it on a page of docs/."""
    path = os.path.join(ROOT, "docs", page)
    with open(path) as f:
        old = f.read()
    first = old.index(begin)
    new = old[:first] + text + old[old.index(end, first) + len(end):]
    with open(path, "w") as f:
        f.write(new)


def main(doc, only, add_arguments, cases, measure, holds, write_docs):
    """Runs a script; its exit status.

    `only`: names of the models by default. `add_arguments(parser)`: options of the script's own. `cases(options)`: keyword
    arguments of `measure`, a dict with `model` and what names a case besides. `measure(**case)`: the result, a dict; a
    case that raises has the members of the case and `failure`. `holds(result)`: whether it is as good as it should be;
    not asked of failures. `write_docs(results, options)`: for --write-docs.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(only))
    add_arguments(parser)
    parser.add_argument("--json")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--from", dest="earlier", help="what earlier runs wrote by --json, in place of running")
    options = parser.parse_args()
    if not os.path.isdir(os.path.join(SHARED, "trained")):
        print("skipped: the model corpus is not there (see NNOPT_SHARED)")
        print("0 passed, 0 failed")
        return 0
    is_good = lambda result: "failure" not in result and holds(result)
    results = [r for path in (options.earlier or "").split(",") if path for r in json.load(open(path))]
    for case in [] if options.earlier else cases(options):
        start = time.time()
        try:
            result = measure(**case)
        except Exception as e:
            result = {**case, "failure": str(e)}
            print(traceback.format_exc(), flush=True)
        print(f"{'ok   ' if is_good(result) else 'FAIL '} {result} ({time.time() - start:.0f} s)", flush=True)
        results.append(result)
        if options.json:
            with open(options.json, "w") as f:
                json.dump(results, f, indent=1)
    if options.write_docs:
        write_docs(results, options)
    failed = sum(not is_good(r) for r in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0
