#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""verdicts.py REPORT...: prints the verdicts of JSON reports, one a line, without parts that differ between runs."""
import json
import re
import sys


def line(text):
    """The first line, without process numbers, amounts of memory and the like."""
    text = (text or "").split("\n")[0]
    text = re.sub(r"\bpid \d+", "pid N", text)
    text = re.sub(r"Killed process \d+ (\([^)]*\)).*", r"Killed process N \1...", text)
    text = re.sub(r"invoked oom-killer: .*", "invoked oom-killer: ...", text)
    return re.sub(r"0x[0-9a-f]{6,}", "0x...", text)


def verdict(what, outcome, cls, message):
    out = f"{what}: {outcome}"
    if cls:
        out += f" ({cls})"
    return out + (f": {line(message)}" if message else "")


for path in sys.argv[1:]:
    for row in map(json.loads, open(path, encoding="utf-8")):
        if row["type"] == "end":
            print(f"exit code {row['exit_code']}" + (f", stopped by {row['stopped_by']}" if row["stopped_by"] else ""))
        if row["type"] != "file":
            continue
        print(verdict(row["file"], row["verdict"], row["class"], row["message"]))
        for t in row["tests"]:
            print(verdict("  test " + t["name"], t["outcome"], t["class"], t["message"]))
        for i, f in enumerate(row["findings"]):
            if i == 12:
                print(f"  ... {len(row['findings']) - 12} more")
                break
            where = "outside of tests" if f["test"] is None else row["tests"][f["test"]]["name"]
            print(f"  {f['vm']}, {where}: {f['class']}{', fails' if f['fails'] else ''}: {line(f['headline'])}")
