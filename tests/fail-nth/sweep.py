#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Lets each call of a function fail, one in each run of the program on a fake QEMU.

    sweep.py PROVIUM QEMU PRELOAD [--full] [--seconds N] [--jobs N] [FUNCTION[:N]...]

A run loads a configuration, builds an initramfs, boots, runs commands, saves, clones, restores, builds and resumes a
fixture, and writes all reports. Whatever fails: it ends in time, nothing crashes, an exit code of 0 comes with the
reports of a whole run, another one with a message, no process or file is left, and the next run with the same cache
passes. --full: every call of every function; else calls at random within N seconds (default 15). FUNCTION:N shows one."""
import argparse
import collections
import ctypes
import errno
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 90  # seconds of a run; the timeouts within it end it long before

# Functions, and the errors with which they can fail. A call that a signal interrupts is repeated: the run passes.
ERRORS = {
    'socketpair': ['EMFILE'], 'memfd_create': ['EMFILE'], 'epoll_create1': ['EMFILE'], 'eventfd': ['EMFILE'],
    'epoll_ctl': ['ENOSPC'], 'epoll_wait': ['EINTR'], 'poll': ['EINTR', 'ENOMEM'], 'dup2': ['EMFILE'],
    'dup3': ['EMFILE'], 'pipe2': ['EMFILE'], 'signalfd': ['EMFILE'], 'fork': ['EAGAIN'], 'waitpid': ['EINTR'],
    'ftruncate': ['ENOSPC'], 'fallocate': ['ENOSPC', 'EINTR'], 'lseek': ['EIO'], 'read': ['EIO', 'EINTR'],
    'pread': ['EIO', 'EINTR'], 'write': ['ENOSPC', 'EINTR'], 'pwrite': ['ENOSPC', 'EINTR'],
    'recv': ['EINTR', 'ENOMEM'], 'recvmsg': ['EINTR', 'ENOMEM'], 'send': ['EINTR', 'ENOBUFS'],
    'sendmsg': ['EINTR', 'ENOBUFS'], 'mkdir': ['ENOSPC'], 'mkdirat': ['ENOSPC'], 'rename': ['ENOSPC'],
    'renameat': ['ENOSPC'], 'linkat': ['ENOSPC'], 'fstat': ['EIO'], 'fsync': ['EIO'], 'fflush': ['ENOSPC'],
    'fclose': ['ENOSPC'], 'flock': ['EINTR', 'ENOLCK'], 'open': ['EMFILE', 'ENFILE'], 'openat': ['EMFILE'],
    'fcntl': ['EMFILE'], 'mmap': ['ENOMEM'], 'pidfd_open': ['EMFILE'], 'landlock_create_ruleset': ['EMFILE'],
    'landlock_add_rule': ['EMFILE'], 'landlock_restrict_self': ['E2BIG'], 'malloc': ['ENOMEM'],
    'calloc': ['ENOMEM'], 'realloc': ['ENOMEM'],
    'nofile': ['EMFILE'],  # no function: the run may open N descriptors
}
NOFILE = range(16, 513, 4)
# The first ones of a short run. They were wrong once: the new directory of a run, /dev/null of a new process, the project
# file, toml++ where it may not throw, the path of a report, the trailer of the initramfs.
FIXED = [('fstat', 9, 'EIO'), ('open', 15, 'EMFILE'), ('malloc', 34, 'ENOMEM'), ('malloc', 15, 'ENOMEM'),
         ('malloc', 16, 'ENOMEM'), ('malloc', 210, 'ENOMEM'), ('calloc', 51, 'ENOMEM')]
TESTS = {'t/fake.lua': ('calls', 'snapshot', 'fixture', 'end')}  # of life.lua
ALLOCATION = ('malloc', 'calloc', 'realloc')
CRASH = re.compile(r'SIG[A-Z]{3,4}|crashed|Assertion|stack smashing|double free|corrupted|free\(\)|malloc\(\)')


def kernel():
    """An ELF with a PVH note, as far as the program looks into it."""
    note = struct.pack('<III4sI', 4, 4, 18, b'Xen\0', 0x1000000)
    head = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', 2, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack('<IIQQQQQQ', 1, 5, 0, 0, 0, 16384, 16384, 0)
    notes = struct.pack('<IIQQQQQQ', 4, 4, 176, 0, 0, len(note), len(note), 0)
    banner = b'Linux version 6.1.0-test (someone@somewhere) #1\0'
    return (head + load + notes + note).ljust(16384 - len(banner), b'\x90') + banner


def start(options, here, files, env=None, preexec=None, timeout='60'):
    """Starts `provium test` of the files in the run's directory."""
    argv = [options.provium, 'test', '-p', str(len(files)), '--config', 'provium.toml', '--json', 'r.json', '--junit',
            'r.xml', '--html', 'r.html', '--timeout', timeout, *files]
    env = dict(os.environ, TMPDIR=here + '/tmp', XDG_CACHE_HOME=here + '/cache', **(env or {}))
    with open(here + '/out', 'wb') as out:
        return subprocess.Popen(argv, cwd=here, env=env, stdin=subprocess.DEVNULL, stdout=out,
                                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=preexec)


def ends(run):
    """The exit code; None: the run did not end."""
    try:
        return run.wait(LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        return None


def output(here):
    return open(here + '/out', errors='replace').read()


def keep_probe(options, here):
    """Keeps the probe of KVM of a run's cache for later runs."""
    os.mkdir(options.probe)
    for f in os.scandir(here + '/cache/provium'):
        if f.is_file() and f.name.startswith('accel'):
            shutil.copy(f.path, options.probe)


class Sweep:
    """One worker's runs, each in a directory of its own."""

    def __init__(self, options, base):
        self.options, self.base, self.count = options, base, 0
        os.mkdir(base)

    def make(self):
        self.count += 1
        here = os.path.join(self.base, str(self.count))
        for d in ('', 't', 't/fixtures', 'tmp', 'cache'):
            os.mkdir(os.path.join(here, d))
        if os.path.isdir(self.options.probe):
            shutil.copytree(self.options.probe, here + '/cache/provium')
        open(here + '/plan', 'wb').write(bytes(4096))
        open(here + '/fake-plan', 'wb').write(bytes(12))
        open(here + '/vmlinux', 'wb').write(kernel())
        open(here + '/initrd', 'wb').write(b'070701' + b'%08x' * 13 % (*(0,) * 11, 11, 0) + b'TRAILER!!!\0\0\0\0')
        with open(here + '/provium.toml', 'w') as f:
            f.write('[profile.fake]\nkernel = "vmlinux"\ninitrd = "initrd"\nqemu = "%s"\nqemu_args = ["-fake", "%s/fake-plan:none:0:none"]\n'
                    'confine = false\naccel = "tcg"\ntransport = "serial"\nboot_timeout = "20s"\n' % (self.options.qemu, here))
        shutil.copy(HERE + '/life.lua', here + '/t/fake.lua')
        shutil.copy(HERE + '/fixtures/prepared.lua', here + '/t/fixtures')
        return here

    def run(self, here, function, n, error):
        """Exit code (None: it did not end) and output."""
        env, limit = {}, None
        if function == 'nofile':
            limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))
        elif function:
            env.update(LD_PRELOAD=self.options.preload, FAIL_NTH='%s:%d:%d:%s/plan' % (function, n, error, here))
        code = ends(start(self.options, here, TESTS, env, limit))
        return code, output(here)

    def counts(self, here):
        raw = open(here + '/plan', 'rb').read()
        rows = [struct.unpack_from('28sI', raw, 4 + 32 * i) for i in range(len(ERRORS) - 1)]
        return struct.unpack_from('I', raw)[0], {name.rstrip(b'\0').decode(): calls for name, calls in rows}

    def case_twice(self, function, n, name):
        """A slow machine fails by its timeouts: such a case runs once more."""
        result = self.case(function, n, name)
        slow = ('did not end', 'fails without', 'a call was', 'no clear', 'the next run')
        return self.case(function, n, name) if result[3] and result[3].startswith(slow) else result

    def case(self, function, n, name):
        """Runs one; returns (failed at all, exit code, seconds, what is wrong or None, directory)."""
        here, begin = self.make(), time.monotonic()
        error = getattr(errno, name)
        code, out = self.run(here, function, n, error)
        seconds = time.monotonic() - begin
        failed = function == 'nofile' or self.counts(here)[0]
        fault = judge(here, function, error, failed, code, out)
        if not fault and code >= 0:
            fault = left(here, code)
        if not fault and (code < 0 or self.count % 8 == 0):
            if code > 0:
                shutil.rmtree(here + '/tmp')
                os.mkdir(here + '/tmp')
            code2, out2 = self.run(here, None, 0, 0)  # it removes what a killed run has left
            fault = left(here, 0) if code2 == 0 else 'the next run fails: ' + out2[-1500:]
        if fault:
            fault += '\n' + out[-3000:] + '\n' + trace(self.options, here)
        if not self.options.show:
            shutil.rmtree(here)
        return failed, code, seconds, fault


def trace(options, here):
    """The place of the call, with the names of its functions."""
    try:
        frames = re.findall(re.escape(os.path.basename(options.provium)) + r'\(\+(0x[0-9a-f]+)\)', open(here + '/plan.trace').read())
    except OSError:
        return ''
    return subprocess.run(['addr2line', '-fspe', options.provium] + frames, capture_output=True, text=True).stdout


def whole_reports(here, want=TESTS):
    """The part that is missing in the reports of a run that passed."""
    try:
        rows = [json.loads(line) for line in open(here + '/r.json')]
        files = [r for r in rows if r['type'] == 'file']
        tests = {f['file']: [(t['name'], t['outcome']) for t in f['tests']] for f in files}
        assert rows[-1]['type'] == 'end' and rows[-1]['exit_code'] == 0, 'r.json has no end'
        assert all(f['verdict'] == 'ok' for f in files), 'r.json has another verdict'
        assert tests == {f: [(t, 'ok') for t in names] for f, names in want.items()}, 'r.json: ' + str(tests)
        cases = xml.parse(here + '/r.xml').getroot().findall('.//testcase')
        assert len(cases) == sum(map(len, want.values())), 'r.xml is not whole'
        assert open(here + '/r.html').read().rstrip().endswith('</html>'), 'r.html is not whole'
    except (OSError, ValueError, KeyError, IndexError, AssertionError, xml.ParseError) as e:
        return 'exit code 0, but %s: %s' % (type(e).__name__, e)
    return None


def judge(here, function, error, failed, code, out):
    memory = function in ALLOCATION  # a process without memory aborts and says so; it is no crash
    if code is None:
        return 'did not end'
    if code < 0 and not (memory and code == -signal.SIGABRT and 'out of memory' in out):
        return 'ended by signal %d' % -code
    if CRASH.search(out.replace('SIGABRT', '') if memory else out):
        return 'crashed'
    if code > 2:
        return 'exit code %d' % code
    if code == 0:
        return whole_reports(here)
    if not failed:
        return 'fails without a failed call'
    if error == errno.EINTR:
        return 'a call was interrupted, and the run fails'
    if code > 0 and os.strerror(error) not in out and not re.search('memory|open files|SIGABRT', out):
        return 'no clear error'
    return None


def children():
    """Processes that were left; this process adopts them all."""
    return [int(p) for p in open('/proc/self/task/%d/children' % os.getpid()).read().split()]


def left(here, code):
    deadline = time.monotonic() + 5
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            break
        if time.monotonic() > deadline:
            names = [open('/proc/%d/comm' % p).read().strip() for p in children()]
            for p in children():
                os.kill(p, signal.SIGKILL)
                os.waitpid(p, 0)
            return 'processes are left: ' + ' '.join(names)
        time.sleep(0.005)
    runs = [here + '/tmp/' + d for d in os.listdir(here + '/tmp')]  # one with the logs of a failed file may stay
    files = [d for d in runs if code == 0 or not os.path.exists(d + '/kept')]
    files += [d + '/' + f for r in runs for d, _, fs in os.walk(r) for f in fs if f != 'kept' and not f.endswith('.log')]
    return 'files are left: ' + ' '.join(files) if files else None


def worker(options, number, tasks, results):
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    try:
        sweep = Sweep(options, '%s/%d' % (options.base, number))
        for task in iter(tasks.get, None):
            results.put((task, sweep.case_twice(*task)))
    finally:
        results.put(None)


def calls(options):
    """How often each function is called in a run that nothing disturbs; the cache's probe of KVM is kept for later."""
    sweep = Sweep(options, options.base + '/count')
    here = sweep.make()
    code, out = sweep.run(here, None, 0, 0)
    assert code == 0, out
    keep_probe(options, here)
    here = sweep.make()
    code, out = sweep.run(here, 'none', 0, 0)
    assert code == 0 and whole_reports(here) is None, out
    return sweep.counts(here)[1]


def main():
    p = argparse.ArgumentParser()
    p.add_argument('provium')
    p.add_argument('qemu')
    p.add_argument('preload')
    p.add_argument('--full', action='store_true')
    p.add_argument('--verbose', action='store_true')
    p.add_argument('--seconds', type=float, default=15)
    p.add_argument('--stride', type=int, default=1)
    p.add_argument('--jobs', type=int, default=os.cpu_count())
    p.add_argument('--seed', type=int, default=int(time.time()))
    p.add_argument('functions', nargs='*')
    options = p.parse_intermixed_args()
    for key in ('provium', 'qemu', 'preload'):
        setattr(options, key, os.path.abspath(getattr(options, key)))
    options.show = any(':' in f for f in options.functions)
    top = tempfile.mkdtemp(prefix='pv-fail-nth.')
    options.base, options.probe = top, top + '/probe'
    try:
        sys.exit(sweep_all(options))
    finally:
        if not options.show:
            shutil.rmtree(top)


def cases_of(options, count):
    names = [f for f in ERRORS if not options.functions or f in options.functions]
    numbers = {f: range(1, count[f] + 1) if f != 'nofile' else NOFILE for f in names}
    cases = [(f, n, e) for f in names for e in ERRORS[f] for n in numbers[f][::options.stride]]
    for f in options.functions:
        if ':' in f:
            name, n = f.split(':')[:2]
            cases += [(name, int(n), e) for e in f.split(':')[2:] or ERRORS[name]]
    if not options.full and not options.show:  # each function as often as the others
        random.Random(options.seed).shuffle(cases)
        turn = collections.Counter()
        ranked = []
        for c in cases:
            turn[c[0]] += 1
            ranked.append((turn[c[0]], c))
        fixed = [c for c in FIXED if not options.functions or c[0] in options.functions]
        cases = fixed + [c for _, c in sorted(ranked, key=lambda r: r[0])]
    return cases


def sweep_all(options):
    count = calls(options)
    tasks, results = multiprocessing.Queue(1), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=worker, args=(options, i, tasks, results)) for i in range(options.jobs)]
    for w in workers:
        w.start()
    feeder = multiprocessing.Process(target=feed, args=(options, cases_of(options, count), tasks))
    feeder.start()
    table, bad, longest, left_workers = collections.defaultdict(collections.Counter), 0, 0, options.jobs
    while left_workers:
        item = results.get()
        if item is None:
            left_workers -= 1
            continue
        (function, n, name), (failed, code, seconds, fault) = item
        table[function]['runs'] += 1
        table[function]['failed' if failed else 'not reached'] += 1
        table[function]['code %s' % code] += 1
        longest = max(longest, seconds)
        if options.verbose and seconds > 15:
            print('slow: %s:%d:%s: %.1f s, code %s' % (function, n, name, seconds, code), flush=True)
        if fault:
            bad += 1
            table[function]['BAD'] += 1
            print('not ok - %s:%d:%s: %s' % (function, n, name, fault), flush=True)
    for f in table:
        print('%-24s %5d calls  %s' % (f, count.get(f, 0), dict(table[f])))
    print('%d runs, %d bad, the longest %.1f s; seed %d' % (sum(t['runs'] for t in table.values()), bad, longest, options.seed))
    return 1 if bad else 0


def feed(options, cases, tasks):
    deadline = time.monotonic() + options.seconds
    for c in cases:
        if not options.full and not options.show and time.monotonic() > deadline:
            break
        tasks.put(c)
    for _ in range(options.jobs):
        tasks.put(None)


if __name__ == '__main__':
    main()
