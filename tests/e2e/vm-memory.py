#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""vm-memory.py PID MARK: as long as process PID lives, adds up the memory (QEMU's -m) of all VMs that carry MARK
in their environment, every 10 ms.  Prints the peak in MiB, and the number of samples."""
import os
import sys
import time

pid, mark = int(sys.argv[1]), sys.argv[2].encode()


def size(p):
    try:
        if not os.readlink(f"/proc/{p}/exe").split("/")[-1].startswith("qemu-system-"):
            return 0
        with open(f"/proc/{p}/environ", "rb") as f:
            if mark not in f.read().split(b"\0"):
                return 0
        with open(f"/proc/{p}/cmdline", "rb") as f:
            args = f.read().split(b"\0")
        text = args[args.index(b"-m") + 1].decode().removeprefix("size=")
        return int(text[:-1]) * 1024 if text.endswith("G") else int(text.rstrip("M"))
    except (OSError, ValueError):
        return 0


def alive(p):
    try:
        with open(f"/proc/{p}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


most = looks = 0
while alive(pid):
    now = sum(size(p) for p in os.listdir("/proc") if p.isdigit())
    most, looks = max(most, now), looks + 1
    time.sleep(0.01)
print(most, looks)
