#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest floods its console at the speed of a socket, on the fake QEMU.

    flood.py PROVIUM QEMU [--mib N]

The whole of it, by hand: --mib 8192. The file passes; its process, the supervisor and the logs stay small."""
import argparse
import json
import os
import shutil
import sys
import tempfile
import time

import sweep

LIMIT = 96 << 10  # KiB of a process, and of the logs


def peak(pid):
    """VmHWM in KiB; 0: it has ended."""
    try:
        rows = open('/proc/%d/status' % pid).read().split('VmHWM:')
        return int(rows[1].split()[0]) if len(rows) > 1 else 0
    except OSError:
        return 0


def children(pid):
    try:
        return [int(p) for p in open('/proc/%d/task/%d/children' % (pid, pid)).read().split()]
    except OSError:
        return []


def kept(top):
    """KiB of the files below a directory; some go meanwhile."""
    total = 0
    for d, _, files in os.walk(top):
        for f in files:
            try:
                total += os.lstat(d + '/' + f).st_blocks // 2
            except OSError:
                pass
    return total


def main():
    p = argparse.ArgumentParser()
    p.add_argument('provium')
    p.add_argument('qemu')
    p.add_argument('--mib', type=int, default=128)
    options = p.parse_args()
    options.provium, options.qemu = os.path.abspath(options.provium), os.path.abspath(options.qemu)
    top = tempfile.mkdtemp(prefix='pv-flood.')
    options.probe = top + '/probe'
    os.environ['MIB'] = str(options.mib)
    sweep.LIMIT = 3600
    peaks = {'supervisor': 0, 'file': 0}
    disk = 0
    try:
        here = sweep.Sweep(options, top + '/runs').make()
        shutil.copy(sweep.HERE + '/flood.lua', here + '/t')
        run = sweep.start(options, here, ['t/flood.lua'], timeout='1h')
        while run.poll() is None:
            peaks['supervisor'] = max(peaks['supervisor'], peak(run.pid))
            for child in children(run.pid):
                peaks['file'] = max(peaks['file'], peak(child))
            disk = max(disk, kept(here + '/tmp'))
            time.sleep(0.1)
        rows = [json.loads(line) for line in open(here + '/r.json')]
        file = [r for r in rows if r['type'] == 'file'][0]
        print(''.join('%s: %s, %s\n' % (t['name'], t['outcome'], t['message'] or '') for t in file['tests']), end='')
        print('\n'.join(line.strip() for line in sweep.output(here).splitlines() if ' a second' in line))
        print('peaks: supervisor %(supervisor)d KiB, file %(file)d KiB' % peaks, 'logs %d KiB' % disk)
        bad = run.returncode != 0 or file['verdict'] != 'ok' or len(file['tests']) != 2
        bad = bad or [f for f in file['findings'] if 'of console output waited' not in f['headline']]  # of a host without a CPU for the reader
        if bad:
            print(sweep.output(here)[-2000:])
        bad = bad or peaks['supervisor'] > LIMIT or peaks['file'] > LIMIT or disk > LIMIT
        fault = sweep.left(here, run.returncode)
        if fault:
            print(fault)
        print('not ok' if bad or fault else 'ok')
        sys.exit(1 if bad or fault else 0)
    finally:
        shutil.rmtree(top)


if __name__ == '__main__':
    main()
