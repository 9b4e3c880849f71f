#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kills or stops a process of a run at a random moment, again and again, on the fake QEMU.

    kills.py PROVIUM QEMU [--rounds N | --seconds N] [--seed N] [--role ROLE] [--verbose]

A run is that of sweep.py and a file with resets between tests, side by side. The victim is the supervisor, a file's
process, a fixture's builder or a QEMU. SIGKILL and SIGSEGV: the verdict names the signal; where the victim is no VM of a
test, the reports may be those of a whole run instead, because it was done, or made anew. No process or file is left, and
the next run passes. SIGSTOP for a while, of one process or of all: the run passes."""
import argparse
import collections
import ctypes
import os
import random
import shutil
import signal
import sys
import tempfile
import time

import sweep

TESTS = dict(sweep.TESTS, **{'t/reset.lua': ('t1', 't2', 't3')})
PAUSE = 0.3  # seconds


def processes(top):
    """(pid, role) of a run's processes, the supervisor first."""
    found, at = [(top, 'supervisor')], 0
    while at < len(found):
        pid, role = found[at]
        at += 1
        try:
            children = open('/proc/%d/task/%d/children' % (pid, pid)).read().split()
            for child in map(int, children):
                name = open('/proc/%d/comm' % child).read().strip()
                if name.startswith('qemu'):
                    vm = role == 'file' and b'guest=vm' in open('/proc/%d/cmdline' % child, 'rb').read()
                    found.append((child, 'vm' if vm else 'qemu'))
                elif name.startswith('provium'):
                    found.append((child, 'file' if role == 'supervisor' else 'builder'))
        except OSError:
            pass
    return found


def pause(victims):
    """Stops them for a while. A process that has ended meanwhile is passed over."""
    held = []
    for pid, _ in victims:
        try:
            held.append(os.pidfd_open(pid))
            signal.pidfd_send_signal(held[-1], signal.SIGSTOP)
        except OSError:
            pass
    time.sleep(PAUSE)
    for fd in held:
        try:
            signal.pidfd_send_signal(fd, signal.SIGCONT)
        except OSError:
            pass
        os.close(fd)


def state_of(pid):
    return open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()[0]


def parent_of(pid):
    try:
        return int(open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()[1])
    except OSError:
        return None


PF_EXITING = 4  # include/linux/sched.h


def is_ending(pid):
    """It has ended, is about to (a signal that was taken is pending no more), or SIGKILL has been sent to it."""
    fields = open('/proc/%d/stat' % pid).read().rsplit(')', 1)[1].split()
    if fields[0] == 'Z' or int(fields[6]) & PF_EXITING:
        return True
    pending = [line.split()[1] for line in open('/proc/%d/status' % pid) if line.startswith(('SigPnd', 'ShdPnd'))]
    return any(int(mask, 16) & 1 << signal.SIGKILL - 1 for mask in pending)


def strike(run, what, only):
    """Does WHAT to a process of a role at random (only: of that one); returns the role, None: there is none."""
    if run.poll() is not None:
        return None
    all_of = processes(run.pid)
    roles = sorted({r for _, r in all_of if only in (None, r)})
    if not roles:
        return None
    role = random.choice(roles)
    victim = random.choice([p for p in all_of if p[1] == role])
    if what == 'pause all':
        pause(all_of)
        return 'all'
    if what == 'SIGSTOP':
        pause([victim])
        return role
    parent = parent_of(victim[0]) if role == 'vm' else None
    try:
        if parent:  # else it could end the VM at the same time
            os.kill(parent, signal.SIGSTOP)
            while state_of(parent) not in 'TZ':
                time.sleep(0.001)
        if role == 'vm' and is_ending(victim[0]):
            return None
        os.kill(victim[0], signal.Signals[what])
    except (OSError, IndexError):
        return None
    finally:
        if parent_of(parent or 0):
            os.kill(parent, signal.SIGCONT)
    return role


def judge(here, what, role, code, out):
    if code is None:
        return 'did not end'
    if role == 'supervisor' and what in ('SIGKILL', 'SIGSEGV'):
        return None if code in (0, -signal.Signals[what]) else 'exit code %d' % code
    # One that dies while it is resumed from the cache is no VM of the test yet: the entry is resumed again, and a note says so.
    if code == 0 and role == 'vm' and what in ('SIGKILL', 'SIGSEGV') and not ('is resumed again' in out and what in out):
        return 'a VM was killed, and the run passes'
    if code == 0:
        return sweep.whole_reports(here, TESTS)
    if role is None or what not in ('SIGKILL', 'SIGSEGV'):
        return 'exit code %d, and nothing was killed' % code
    if code != 1:
        return 'exit code %d' % code
    return None if what in out else 'the verdict does not name ' + what


def left(here, code):
    """sweep.left, which knows of an ended run's files; a supervisor that was killed leaves them to the next run."""
    if code < 0:
        shutil.rmtree(here + '/kept', ignore_errors=True)
        os.rename(here + '/tmp', here + '/kept')
        os.mkdir(here + '/tmp')
        fault = sweep.left(here, 0)
        os.rmdir(here + '/tmp')
        os.rename(here + '/kept', here + '/tmp')
        return fault
    return sweep.left(here, code)


def next_run(options, here, code):
    if code > 0:
        shutil.rmtree(here + '/tmp')
        os.mkdir(here + '/tmp')
    code = sweep.ends(sweep.start(options, here, TESTS))
    if code != 0:
        return 'the next run fails: ' + sweep.output(here)[-2000:]
    return sweep.whole_reports(here, TESTS) or left(here, 0)


def one_round(options, runs, span):
    here = runs.make()
    shutil.copy(sweep.HERE + '/reset.lua', here + '/t')
    what = random.choice(['SIGKILL', 'SIGKILL', 'SIGSEGV', 'SIGSTOP', 'pause all'])
    moment = random.uniform(0, span)
    run = sweep.start(options, here, TESTS)
    time.sleep(moment)
    role = strike(run, what, options.role)
    code = sweep.ends(run)
    out = sweep.output(here)
    fault = judge(here, what, role, code, out)
    if not fault:
        fault = left(here, code)
    if not fault and (code != 0 or runs.count % 8 == 0):
        fault = next_run(options, here, code)
    if fault:
        fault = '%s of %s after %.3f s: %s\n%s' % (what, role, moment, fault, out[-3000:])
    shutil.rmtree(here)
    return what, role, code, fault


def undisturbed(options, runs):
    """Seconds of a run; the cache's probe of KVM is kept for later."""
    for _ in range(2):
        here = runs.make()
        shutil.copy(sweep.HERE + '/reset.lua', here + '/t')
        begin = time.monotonic()
        code = sweep.ends(sweep.start(options, here, TESTS))
        span = time.monotonic() - begin
        fault = sweep.whole_reports(here, TESTS) if code == 0 else 'exit code %s' % code
        assert not fault, '%s\n%s' % (fault, sweep.output(here))
        if not os.path.isdir(options.probe):
            sweep.keep_probe(options, here)
        shutil.rmtree(here)
    return span


def main():
    p = argparse.ArgumentParser()
    p.add_argument('provium')
    p.add_argument('qemu')
    p.add_argument('--rounds', type=int)
    p.add_argument('--seconds', type=float, default=15)
    p.add_argument('--seed', type=int, default=int(time.time()))
    p.add_argument('--role', help='the only kind of victim: supervisor, file, builder, vm or qemu')
    p.add_argument('--verbose', action='store_true')
    options = p.parse_args()
    options.provium, options.qemu = os.path.abspath(options.provium), os.path.abspath(options.qemu)
    random.seed(options.seed)
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    top = tempfile.mkdtemp(prefix='pv-kills.')
    options.probe = top + '/probe'
    table, bad, count = collections.Counter(), 0, 0
    try:
        runs = sweep.Sweep(options, top + '/runs')
        span = undisturbed(options, runs)
        deadline = time.monotonic() + options.seconds
        while count < options.rounds if options.rounds else time.monotonic() < deadline:
            what, role, code, fault = one_round(options, runs, span)
            count += 1
            table[what, str(role), code] += 1
            if options.verbose:
                print(count, what, role, code, flush=True)
            if fault:
                bad += 1
                print('not ok - round %d: %s' % (count, fault), flush=True)
    finally:
        shutil.rmtree(top)
    for row in sorted(table, key=str):
        print('%-10s %-10s exit code %-4s %5d' % (*row, table[row]))
    print('%d rounds, %d bad; a run takes %.2f s; seed %d' % (count, bad, span, options.seed))
    sys.exit(1 if bad or not count else 0)


if __name__ == '__main__':
    main()
