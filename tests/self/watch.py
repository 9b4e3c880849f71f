#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`provium test --watch` from outside: what is run again after which change, on a pipe and on a pseudo terminal.

PROVIUM is the program under test. No VM is started, and a fixture's build fails at its script; with the argument `vm`
the paths are those of VMs and fixtures, in $GUEST.
"""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time

PROVIUM = os.environ["PROVIUM"]
WAIT = 400 if sys.argv[1:] == ["vm"] else 90  # seconds; reached only when something is wrong
failures = 0


def check(good, name, *more):
    global failures
    print(("ok - " if good else "not ok - ") + name, flush=True)
    if not good:
        failures += 1
        for m in more:
            print("    " + str(m).replace("\n", "\n    "), flush=True)


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def save(path, text):
    """As editors do: a new file takes the name."""
    write(path + ".swp~", text)
    os.rename(path + ".swp~", path)


class Watch:
    """A watching provium; its output so far is `text`, and `seen` is how much of it `expect` has passed."""

    def __init__(self, *args, tty=False, env=None):
        self.text, self.seen = "", 0
        out, slave = (pty.openpty() if tty else os.pipe())
        self.out, self.tty = out, tty
        cmd = [PROVIUM, "test", "--watch", "-p", "1", *args]
        full = dict(os.environ, **(env or {}))
        if tty:
            self.before = termios.tcgetattr(slave)
            self.slave = slave
            # A session of its own, whose terminal this is.
            cmd = [sys.executable, "-c", "import fcntl, os, sys, termios; os.setsid(); "
                   "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])", *cmd]
            self.p = subprocess.Popen(cmd, stdin=slave, stdout=slave, stderr=slave, env=full)
        else:
            self.p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=full)
            os.close(slave)

    def read(self, timeout):
        if not select.select([self.out], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.out, 65536)
        except OSError:
            data = b""
        self.text += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)

    def expect(self, pattern, name=None):
        """Waits for the pattern behind what was passed; the text up to its end, or None."""
        end = time.time() + WAIT
        while True:
            m = re.compile(pattern, re.S).search(self.text, self.seen)
            if m:
                got, self.seen = self.text[self.seen:m.end()], m.end()
                if name:
                    check(True, name)
                return got
            if time.time() > end or not self.read(max(0.0, end - time.time())):
                check(False, name or "expected " + pattern, self.text[self.seen:])
                return None

    def round(self):
        """The text up to the next line that says that it waits."""
        return self.expect(r"\nwatching [^\n]*\n") or ""

    def quiet(self, seconds, name):
        """No round begins in this time."""
        end = time.time() + seconds
        while time.time() < end and self.read(end - time.time()):
            pass
        check(self.seen == len(self.text), name, self.text[self.seen:])

    def key(self, k):
        os.write(self.out, k)

    def end(self, timeout=WAIT):
        """The exit status; negative: ended by that signal."""
        while self.p.poll() is None and timeout > 0:
            self.read(0.1)
            timeout -= 0.1
        if self.p.poll() is None:
            self.p.kill()
            return None
        return self.p.returncode


def group_of(name):
    """Processes whose command line has the text."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if name.encode() in f.read():
                    found.append(pid)
        except OSError:
            pass
    return found


def test_files():
    write("t/a.test.lua", "local lib = require('lib')\ntest('a', function() assert_eq(lib.n, 1) end)\n")
    write("t/b.test.lua", "test('b', function() end)\n")
    write("t/c.test.lua", "local f = io.open('data.txt')\ntest('c', function() assert(f, 'no data') end)\n")
    write("t/lib.lua", "return { n = 1 }\n")
    w = Watch("t")
    first = w.round()
    check("t/a" not in first and "a.test.lua ... ok" in first and "c.test.lua ... FAIL " in first,
          "the first round runs all", first)
    check("Ctrl-C ends" in first, "there are no keys without a terminal", first)

    write("t/b.test.lua", "test('b', function() end)\n-- changed\n")
    got = w.round()
    check("t/b.test.lua changed: running b.test.lua" in got and "OK: 1 passed" in got, "a test file itself", got)

    save("t/lib.lua", "return { n = 2 }\n")
    got = w.round()
    check("t/lib.lua changed: running a.test.lua" in got and "FAIL: 0 passed" in got, "a required module, saved by rename", got)

    write("t/lib.lua", "return { n = \n")
    got = w.round()
    check("a.test.lua" in got and "unexpected symbol" in got and "b.test.lua" not in got, "a syntax error", got)
    write("t/lib.lua", "return { n = 1 }\n")
    got = w.round()
    check("t/lib.lua changed: running a.test.lua" in got and "OK: 1 passed" in got, "the error is repaired", got)

    write("data.txt", "x")
    got = w.round()
    check("data.txt changed: running c.test.lua" in got and "OK: 1 passed" in got, "a file that was looked for", got)

    write("t/d.test.lua", "test('d', function() end)\n")
    got = w.round()
    check("new: running d.test.lua" in got and "OK: 1 passed" in got, "a new test file", got)
    os.mkdir("t/sub")
    write("t/sub/e.test.lua", "test('e', function() end)\n")
    got = w.round()
    check("running sub/e.test.lua" in got, "a new one in a new directory", got)

    os.remove("t/d.test.lua")
    w.expect(r"t/d\.test\.lua is gone\n", "a deleted file is named")
    w.quiet(1, "and nothing is run for it")

    os.utime("data.txt")
    w.round()
    write("unrelated.txt", "x")
    write("t/notes.txt", "x")
    w.quiet(1.5, "a file that nobody reads is no reason")

    write("provium.toml", "[profile.x\n")
    w.expect(r"provium\.toml:1[^\n]*\n", "a broken provium.toml is told")
    w.expect(r"\nwatching [^\n]*\n")
    write("provium.toml", "# a comment\n")
    got = w.round()
    check("provium.toml changed: running all 4 files" in got, "provium.toml: all files", got)
    check("\033" not in w.text, "no escape sequence goes to a pipe")

    os.kill(w.p.pid, signal.SIGTERM)
    check(w.end() == 128 + signal.SIGTERM, "SIGTERM ends it", w.p.returncode)


def test_change_during_a_round():
    write("t/slow.test.lua", "local n = require('lib').n\nlocal f = io.open('begun', 'a') f:write('x') f:close()\n"
          "test('slow', function() os.execute('sleep 3') assert_eq(n, 7) end)\n")
    write("t/lib.lua", "return { n = 6 }\n")
    w = Watch("t/slow.test.lua")
    end = time.time() + WAIT
    while not os.path.exists("begun") and time.time() < end:
        w.read(0.05)
    save("t/lib.lua", "return { n = 7 }\n")
    w.expect(r"t/lib\.lua changed: running slow\.test\.lua|t/lib\.lua changed: running t/slow\.test\.lua",
             "a change during a round makes another one")
    got = w.round()
    check("OK: 1 passed" in got, "which sees it", got)
    w.quiet(1.5, "and then it waits, though the file writes what it appends to")
    os.kill(w.p.pid, signal.SIGINT)
    check(w.end() == 128 + signal.SIGINT, "SIGINT while it waits", w.p.returncode)


def test_fixture_script():
    os.makedirs("t/fixtures")
    write("t/fixtures/base.lua", "error('first words')\n")
    write("t/f.test.lua", "local vm = provium.fixture('base')\n")
    w = Watch("t/f.test.lua")
    check("first words" in w.round(), "a fixture that cannot be built")
    save("t/fixtures/base.lua", "local m = require('helper')\n")
    got = w.round()
    check("t/fixtures/base.lua changed: running" in got and "helper" in got, "its script", got)
    write("t/fixtures/helper.lua", "error('second words')\n")
    got = w.round()
    check("t/fixtures/helper.lua changed: running" in got and "second words" in got, "a module of its script", got)
    os.kill(w.p.pid, signal.SIGHUP)
    check(w.end() == 128 + signal.SIGHUP, "SIGHUP ends it", w.p.returncode)


def test_own_changes():
    write("t/own.test.lua", "local f = io.open('own.txt')\ntest('own', function() os.execute('date +%N >own.txt') end)\n")
    w = Watch("t/own.test.lua")
    w.expect(r"note: [^\n]*own\.txt changes whenever t?/?own\.test\.lua runs", "a file that changes its own input stops")
    w.round()
    w.quiet(1.5, "running again")
    os.kill(w.p.pid, signal.SIGTERM)
    w.end()


def test_terminal():
    write("t/a.test.lua", "test('a', function() end)\n")
    write("t/lib.lua", "return {}\n")
    mark = "WATCHMARK%d" % os.getpid()
    w = Watch("t/a.test.lua", tty=True, env={"TERM": "xterm", "WATCH_MARK": mark})
    check("Enter runs all, q quits" in w.round(), "the keys are told")
    w.key(b"\r")
    got = w.round()
    check("\033[H\033[2J" in got and "running t/a.test.lua" in got, "Enter runs again, on a clear screen", got)
    write("t/a.test.lua", "test('a', function() os.execute('sleep 60') end)\n")
    w.expect(r"changed: running t/a\.test\.lua")
    w.expect(r"a\.test\.lua")
    time.sleep(1)
    w.key(b"\x03")
    start = time.time()
    check(w.end() == 128 + signal.SIGINT, "Ctrl-C during a round", w.p.returncode, w.text[-2000:])
    check(time.time() - start < 30, "at once", time.time() - start)
    check(not group_of(mark), "no process is left", group_of(mark))
    check(not [n for n in os.listdir(os.environ["TMPDIR"]) if n.startswith("provium-")], "nor a directory",
          os.listdir(os.environ["TMPDIR"]))
    check(termios.tcgetattr(w.slave) == w.before, "the terminal is as it was")

    write("t/a.test.lua", "test('a', function() end)\n")
    w = Watch("t/a.test.lua", tty=True, env={"TERM": "xterm"})
    w.round()
    w.key(b"x")
    w.quiet(1, "another key does nothing")
    w.key(b"q")
    check(w.end() == 0, "q quits", w.p.returncode, w.text)
    check(termios.tcgetattr(w.slave) == w.before, "the terminal is as it was")


def test_refusals():
    for option, why in (("--list", "it runs nothing"), ("--debug", "keys"), ("--keep", "Enter"),
                        ("--shard=1/2", "one run"), ("--rerun-failed", "when it changes"),
                        ("--json=x", "one run"), ("--junit=x", "one run"), ("--html=x", "one run"), ("--tap", "one run")):
        p = subprocess.run([PROVIUM, "test", "--watch", option, "t"], stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=WAIT)
        name = option.split("=")[0]
        check(p.returncode == 2 and f"--watch excludes {name}: " in p.stderr and why in p.stderr,
              f"{name} is refused", p.returncode, p.stderr)
    p = subprocess.run([PROVIUM, "test", "--watch", "nowhere"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=WAIT)
    check(p.returncode == 2 and "nowhere" in p.stderr, "a path that does not exist", p.returncode, p.stderr)


def test_vms():
    guest = os.environ["GUEST"]
    if not os.path.exists(guest + "/vmlinuz"):
        print("there is no default guest: make setup")
        sys.exit(77)
    for name in ("vmlinuz", "userland.cpio"):
        shutil.copy(f"{guest}/{name}", name)
    write("provium.toml", f'[profile.own]\nkernel = "vmlinuz"\ninitrd = "userland.cpio"\nmodules = "{guest}/modules"\n'
          "boot_timeout = \"290s\"\n")
    os.makedirs("t/fixtures")
    os.mkdir("tree")
    write("tree/one", "1")
    write("word.txt", "first")
    write("t/vm.test.lua", "local vm = provium.create('own')\nvm:boot{files = {['/tree'] = 'tree'}}\n"
          "print('tree has ' .. vm:exec('ls /tree | wc -l').stdout)\n")
    write("t/fixtures/base.lua", "local vm = provium.create('own')\nvm:boot()\n"
          "vm:write_file('/word', io.open('word.txt'):read('a'))\n")
    write("t/fix.test.lua", "local vm = provium.fixture('base')\nprint('word is ' .. vm:read_file('/word'))\n")
    w = Watch("-v", "t")
    got = w.round()
    check("tree has 1" in got and "word is first" in got, "both run", got)
    write("tree/two", "2")
    got = w.round()
    check("tree changed: running vm.test.lua\n" in got and "tree has 2" in got, "an injected tree", got)
    os.utime("t/fix.test.lua")
    got = w.round()
    check("t/fix.test.lua changed" in got and "word is first" in got, "the fixture comes from the cache", got)
    save("word.txt", "second")
    got = w.round()
    check("word.txt changed: running fix.test.lua\n" in got and "word is second" in got, "whose inputs are known", got)
    os.utime("vmlinuz")
    w.expect("vmlinuz changed: running all 2 files\n", "the kernel")
    os.kill(w.p.pid, signal.SIGTERM)
    check(w.end() == 128 + signal.SIGTERM, "SIGTERM in a round ends it", w.p.returncode)


def main():
    work = tempfile.mkdtemp(prefix="provium-watch.")
    os.environ.update(TMPDIR=work + "/tmp", XDG_CACHE_HOME=work + "/cache")
    try:
        os.mkdir(work + "/tmp")
        for t in (test_vms,) if sys.argv[1:] == ["vm"] else (
                test_files, test_change_during_a_round, test_fixture_script, test_own_changes, test_terminal,
                test_refusals):
            os.makedirs(f"{work}/{t.__name__}/t")
            os.chdir(f"{work}/{t.__name__}")
            write("provium.toml", "")
            t()
    finally:
        os.chdir("/")
        shutil.rmtree(work)
    sys.exit(1 if failures else 0)


main()
