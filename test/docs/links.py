#!/usr/bin/env python3
"""Links between the documents of this repository, and paths they mention, lead somewhere.

Checks relative links of all Markdown files (with their #anchors), and code spans that look like a path from
the root (`lib/...`, `tools/...`). Ends with `N passed, N failed`.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("cmake", "dialects", "docs", "examples", "include", "lib", "passes", "python", "runtime", "test", "tools")
# Examples of passes that do not exist.
EXAMPLES = re.compile(r"merge-relus|<")


def anchors(text):
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}


def main():
    files = [os.path.relpath(os.path.join(d, f), ROOT) for folder in FOLDERS
             for d, _, names in os.walk(os.path.join(ROOT, folder)) for f in names if f.endswith(".md")]
    files += [f for f in os.listdir(ROOT) if f.endswith(".md")]
    checked, problems = 0, []
    for file in sorted(set(files)):
        with open(os.path.join(ROOT, file), encoding="utf-8") as stream:
            text = stream.read()
        prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            absolute = os.path.join(ROOT, os.path.dirname(file), path) if path else os.path.join(ROOT, file)
            checked += 1
            if not os.path.exists(absolute):
                problems.append(f"{file}: link to {target}: no such file")
            elif anchor and absolute.endswith(".md"):
                with open(absolute, encoding="utf-8") as stream:
                    if anchor not in anchors(stream.read()):
                        problems.append(f"{file}: link to {target}: no such heading")
        for span in re.findall(r"`([^`\n]+)`", prose):
            path = span.split()[0] if span.split() else ""
            if not path.startswith(tuple(f + "/" for f in FOLDERS)) or EXAMPLES.search(span):
                continue
            checked += 1
            # `lib/codegen/cpu/Lowering` stands for .h and .cpp.
            if not any(os.path.exists(os.path.join(ROOT, path.rstrip("/,") + end)) for end in ("", ".h", ".cpp")):
                problems.append(f"{file}: {path}: no such file")
    for problem in problems:
        print("FAIL", problem)
    print(f"{checked - len(problems)} passed, {len(problems)} failed")
    return 1 if problems or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
