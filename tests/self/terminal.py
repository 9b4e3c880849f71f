#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The screen of a user's terminal during and after a run, by a small emulator of a pseudo terminal.

A process between this one and provium plays the shell: it leads the session, hands the terminal over, and tells
when the job stopped or ended. No VM is started. PROVIUM is the program under test.
"""
import errno
import fcntl
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

PROVIUM = os.environ["PROVIUM"]
failures = 0


def check(good, name, *more):
    global failures
    print(("ok - " if good else "not ok - ") + name, flush=True)
    if not good:
        failures += 1
        for m in more:
            print("    " + str(m).replace("\n", "\n    "), flush=True)


class Screen:
    """Lines that were ever shown; the last `rows` of them can still be reached by the cursor."""

    def __init__(self, rows, cols):
        self.rows, self.cols = rows, cols
        self.lines, self.y, self.x = [""], 0, 0
        self.rest = b""
        self.unknown = []
        self.widest = 0

    def top(self):
        return max(0, len(self.lines) - self.rows)

    def put(self, c):
        if self.x >= self.cols:
            self.newline()
            self.x = 0
        line = self.lines[self.y].ljust(self.x)
        self.lines[self.y] = line[:self.x] + c + line[self.x + 1:]
        self.x += 1
        self.widest = max(self.widest, self.x)

    def newline(self):
        self.y += 1
        if self.y == len(self.lines):
            self.lines.append("")

    def escape(self, args, end):
        n = int(args or 1) if args.isdigit() or not args else 0
        if end == "m":
            return
        if end == "A" and n:
            self.y = max(self.top(), self.y - n)
        elif end == "J" and args in ("", "0"):
            self.lines[self.y] = self.lines[self.y][:self.x]
            del self.lines[self.y + 1:]
        elif end == "K" and args in ("", "0"):
            self.lines[self.y] = self.lines[self.y][:self.x]
        else:
            self.unknown.append("\\e[" + args + end)

    def feed(self, data):
        data = self.rest + data
        # a sequence or a character that was cut waits for its rest
        cut = re.search(rb"(\x1b(\[[0-9;?]*)?|[\xc0-\xff][\x80-\xbf]{0,2})$", data)
        if cut and not (cut[0][:1] != b"\x1b" and valid(cut[0])):
            self.rest, data = cut[0], data[:cut.start()]
        else:
            self.rest = b""
        text = data.decode("utf-8", "replace")
        i = 0
        while i < len(text):
            c = text[i]
            i += 1
            if c == "\x1b":
                m = re.match(r"\[([0-9;?]*)([@-~])", text[i:])
                if m:
                    self.escape(m[1], m[2])
                    i += m.end()
                else:
                    self.unknown.append("\\e" + text[i:i + 1])
            elif c == "\n":
                self.newline()
            elif c == "\r":
                self.x = 0
            elif c == "\t":
                self.x = self.x // 8 * 8 + 8
            elif c >= " ":
                self.put(c)
            else:
                self.unknown.append(repr(c))

    def text(self):
        return "\n".join(l.rstrip() for l in self.lines)


def valid(b):
    try:
        b.decode()
        return True
    except UnicodeDecodeError:
        return False


def shell(tty, argv, env, background, say, hear):
    """The leader of the session. Says: 'P<pid>', 'S' stopped, 'E<status>'. Hears: 'f' to the foreground."""
    os.setsid()
    fcntl.ioctl(tty, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(tty, fd)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        if not background:
            os.tcsetpgrp(0, os.getpid())
        for s in (signal.SIGTTOU, signal.SIGHUP, signal.SIGINT):
            signal.signal(s, signal.SIG_DFL)
        os.execvpe(argv[0], argv, env)
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass
    os.write(say, b"P%d\n" % pid)
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        try:
            os.tcsetpgrp(0, os.getpgrp())
        except OSError:  # hung up
            pass
        if not os.WIFSTOPPED(status):
            os.write(say, b"E%d\n" % os.waitstatus_to_exitcode(status))
            os._exit(0)
        os.write(1, b"$ fg\n")
        os.write(say, b"S\n")
        os.read(hear, 1)
        os.tcsetpgrp(0, pid)
        os.killpg(pid, signal.SIGCONT)


class Run:
    def __init__(self, *args, rows=24, cols=100, env=None, background=False):
        self.master, tty = os.openpty()
        self.tty = tty
        self.size(rows, cols)
        self.screen = Screen(rows, cols)
        self.before = termios.tcgetattr(tty)
        said, say = os.pipe()
        hear, self.tell = os.pipe()
        self.said = said
        self.shell = os.fork()
        if self.shell == 0:
            try:
                os.close(self.master)
                for fd in (said, self.tell):
                    os.close(fd)
                e = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CLICOLOR_FORCE")}
                shell(tty, [PROVIUM, "test", "-p", "1", *args], {**e, "TERM": "xterm", **(env or {})}, background, say, hear)
            finally:
                os._exit(99)
        os.close(say)
        os.close(hear)
        self.raw = b""
        self.code = None
        self.stopped = 0
        self.buf = b""
        self.pid = None
        self.until(lambda: self.pid, "the start")

    def size(self, rows, cols):
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def hear(self):
        self.buf += os.read(self.said, 4096)
        while b"\n" in self.buf:
            line, self.buf = self.buf.split(b"\n", 1)
            if line[:1] == b"P":
                self.pid = int(line[1:])
            elif line[:1] == b"S":
                self.stopped += 1
            elif line[:1] == b"E":
                self.code = int(line[1:])

    def step(self, seconds, reading=True):
        fds = [self.said] if self.code is None else []
        ready, _, _ = select.select(fds + ([self.master] if reading else []), [], [], seconds)
        if self.master in ready:
            data = os.read(self.master, 65536)
            self.raw += data
            self.screen.feed(data)
        if self.said in ready:
            self.hear()
        return bool(ready)

    def until(self, done, what, seconds=20, reading=True):
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                check(False, "waited for " + what, self.screen.text())
                return False
            self.step(0.05, reading)
        return True

    def shows(self, text, seconds=20):
        return self.until(lambda: text in self.screen.text(), "'" + text + "'", seconds)

    def end(self, seconds=20, reading=True):
        self.until(lambda: self.code is not None, "the end", seconds, reading)
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
        while reading and self.step(0.1):
            pass
        after = termios.tcgetattr(self.tty)
        os.close(self.tty)
        os.close(self.master)
        os.waitpid(self.shell, 0)
        return after == self.before


def plain(text):
    return re.sub(r"\d+\.\d s?\b|\b\d+\.\ds", "T", text).rstrip("\n")


def piped(*args):
    r = subprocess.run([PROVIUM, "test", "-p", "1", *args], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)
    return r.returncode, r.stdout.decode()


def write(name, text):
    with open(name, "w") as f:
        f.write(text)


def live_is_gone(run, name):
    text = run.screen.text()
    check("files: " not in text and "[=" not in text, name + ": no live line is left", text)


def no_modes(run, name):
    check(not run.screen.unknown, name + ": nothing but colours, up and erase was sent", run.screen.unknown)


def test_end():
    code, want = piped("a.lua", "b.lua", "c.lua")
    run = Run("a.lua", "b.lua", "c.lua")
    live = run.shows('in test "one": sleeping for 0.5 s')
    bar = "0/3 files: 0 passed" in run.screen.text()
    same = run.end()
    check(live and bar, "end: live lines were there")
    check(run.code == code == 1, "end: exit code", run.code, code)
    check(plain(run.screen.text()) == plain(want), "end: the screen is what a pipe gets", run.screen.text(), want)
    check(same, "end: the terminal's modes are as before")
    no_modes(run, "end")
    check("\x1b[31m" in run.raw.decode(), "end: colours")
    # the whole run takes about a second
    check(run.raw.count(b"\x1b[J") < 25, "end: drawn ten times a second at most", run.raw.count(b"\x1b[J"))


def test_many_lines():
    """More permanent text than the terminal has lines, in one that has few."""
    write("many.lua", "".join('test("t%d", function() end)\n' % i for i in range(60)) + 'provium.sleep(0.3)\n')
    code, want = piped("many.lua", "b.lua")
    for rows, cols in ((5, 100), (3, 40), (2, 100), (1, 20), (50, 10)):
        name = "%dx%d" % (cols, rows)
        run = Run("many.lua", "b.lua", rows=rows, cols=cols)
        same = run.end()
        if cols == 100:
            check(plain(run.screen.text()) == plain(want), name + ": the screen is what a pipe gets",
                  run.screen.text()[-600:])
        else:  # permanent lines wrap
            live_is_gone(run, name)
        check(same and run.code == 0, name + ": modes, exit code", run.code)
        no_modes(run, name)


def test_signals():
    for name, how, want in (("Ctrl-C", None, 130), ("SIGTERM", signal.SIGTERM, 143), ("SIGHUP", signal.SIGHUP, 129),
                            ("SIGKILL", signal.SIGKILL, -9)):
        run = Run("b.lua", "spin.lua")
        run.shows('in test "spins"')
        if how:
            os.kill(run.pid, how)
        else:
            os.write(run.master, b"\x03")
        same = run.end()
        check(run.code == want, name + ": exit code %d" % want, run.code)
        check(same, name + ": the terminal's modes are as before")
        no_modes(run, name)
        text = run.screen.text()
        check("b.lua ... ok" in text, name + ": what was printed stays", text)
        if how == signal.SIGKILL:
            check(run.screen.x == 0 and run.screen.y == len(run.screen.lines) - 1,
                  name + ": the cursor is on a line of its own", text, run.screen.x, run.screen.y)
        else:
            live_is_gone(run, name)
            check("FAIL: 1 passed, 0 failed, 1 not run to the end (stopped by SIG" in text, name + ": the last line", text)


def test_keys():
    """Enter and SIGUSR1, also while the file is stuck in Lua; the lines around stay whole."""
    code, want = piped("b.lua", "stuck.lua", "a.lua")
    run = Run("b.lua", "stuck.lua", "a.lua")
    run.shows('in test "stuck"')
    os.write(run.master, b"\n")
    run.shows("stuck.lua: runs for ")
    os.write(run.master, b"typed ahead\n\n")
    run.until(lambda: run.screen.text().count("stuck.lua: runs for ") >= 2, "a second status")
    os.kill(run.pid, signal.SIGUSR1)
    run.until(lambda: run.screen.text().count("--- status after ") >= 3, "a third status")
    run.end()
    text = run.screen.text()
    check(text.count('    in test "stuck" for ') >= 3, "keys: the status names the test", text)
    bare = re.sub(r"--- status after (.|\n)*?\n---\n", "", text)
    check(plain(bare) == plain(want), "keys: nothing else on the screen was touched", text)
    no_modes(run, "keys")


def test_plain_usr1():
    p = subprocess.Popen([PROVIUM, "test", "stuck.lua"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    time.sleep(0.8)
    p.send_signal(signal.SIGUSR1)
    out = p.communicate(timeout=30)[0].decode()
    check("stuck.lua: runs for " in out and 'in test "stuck" for ' in out, "SIGUSR1 in a pipe: the status", out)
    check("\x1b" not in out, "SIGUSR1 in a pipe: no escape sequences", out)
    check(p.returncode == 0, "SIGUSR1 in a pipe: the run goes on", p.returncode)


def test_usr1_at_any_time():
    """From the first line to the end: none is the one that ends the run."""
    for _ in range(10):
        with open("usr1", "w+b") as f:
            p = subprocess.Popen([PROVIUM, "test", "b.lua"], stdout=f, stdin=subprocess.DEVNULL)
            while p.poll() is None:
                if os.fstat(f.fileno()).st_size:
                    p.send_signal(signal.SIGUSR1)
            f.seek(0)
            out = f.read()
        if p.returncode != 0 or not out.endswith(b"OK: 1 passed, 0 failed\n"):
            break
    check(p.returncode == 0 and out.endswith(b"OK: 1 passed, 0 failed\n"), "SIGUSR1 at any time", p.returncode, out[-600:])


def test_side_by_side():
    """Several files at once: a line each while they run, and what each has to say in one piece."""
    for i in range(4):
        write("p%d.lua" % i, """for i = 1, 8 do
    io.write("from p%d ") io.flush() provium.sleep(0.05) print("line " .. i)
    test("t" .. i, function() provium.sleep(0.02) end)
end
fail("p%d")
""" % (i, i))
    names = ["p%d.lua" % i for i in range(4)]
    run = Run("-p", "4", *names)
    run.until(lambda: sum(l.startswith("  p") and "sleeping" in l for l in run.screen.lines) == 4, "four live lines", 5)
    run.end()
    for what, text in (("terminal", run.screen.text()), ("pipe", piped("-p", "4", *names)[1])):
        blocks = re.split(r"(?m)^  (?=p\d\.lua \.\.\.)", text.split("\nFAIL: 0 passed")[0])[1:]
        good = sorted(b[:2] for b in blocks) == ["p0", "p1", "p2", "p3"]
        for b in blocks:
            want = [b[:6] + " ... FAIL (T)"] + ["    · t%d ... ok" % i for i in range(1, 9)]
            want += ["    %s:5: %s" % (b[:6], b[:2]), '      > 5 | fail("%s")' % b[:2], "    --- output ---"]
            want += ["    from %s line %d" % (b[:2], i) for i in range(1, 9)]
            got = plain(re.sub(r"\d+\.\ds", "T", b)).split("\n")
            good = good and got[:-1] == want and got[-1].startswith("    rerun: ")
        check(good, "side by side, %s: every file in one piece" % what, text)


def test_resize():
    write("long.lua", 'test("' + "a long name " * 12 + '", function() provium.sleep(1.5) end)\n')
    code, want = piped("long.lua")
    run = Run("long.lua", cols=150)
    run.shows("a long name a long name")
    wide = run.screen.widest
    run.size(24, 60)
    run.screen.cols = 60
    run.screen.widest = 0
    run.until(lambda: run.screen.widest, "a redraw")
    narrow = run.screen.widest
    run.size(24, 150)
    run.screen.cols = 150
    run.end()
    check(wide > 100 and narrow <= 59, "resize: lines fit into the window", wide, narrow)
    check(run.code == 0 and "OK: 1 passed" in run.screen.text(), "resize: the end", run.screen.text())
    no_modes(run, "resize")


def test_job_control():
    write("slow.lua", 'test("slow", function() provium.sleep(2) end)\n')
    code, want = piped("b.lua", "slow.lua")
    run = Run("b.lua", "slow.lua")
    run.shows('in test "slow"')
    os.write(run.master, b"\x1a")
    run.until(lambda: run.stopped, "the stop")
    while run.step(0.2):
        pass
    text = run.screen.text()
    check("files: " not in text, "Ctrl-Z: the live lines are gone", text)
    os.write(run.tell, b"f")
    run.shows("files: ")
    same = run.end()
    text = run.screen.text()
    check(run.code == 0 and same, "fg: exit code, modes", run.code)
    check(plain(re.sub(r"(\^Z)?\$ fg\n", "", text)) == plain(want), "fg: the screen", text)
    run = Run("b.lua", "slow.lua", background=True)
    os.write(run.master, b"a command for the shell\n")
    run.end()
    check(run.code == 0, "background: ends by itself", run.code)
    check(b"files: " not in run.raw, "background: no live lines", run.screen.text())


def test_settings():
    run = Run("a.lua", env={"TERM": "dumb"})
    run.end()
    check(b"\x1b" not in run.raw and b"files: " not in run.raw, "TERM=dumb: plain lines", run.raw)
    run = Run("a.lua", env={"NO_COLOR": "1"})
    live = run.shows("files: ")
    run.end()
    check(live and not re.search(rb"\x1b\[[0-9;]*m", run.raw), "NO_COLOR: live lines, no colours", run.raw)
    run = Run("--color", "never", "a.lua", env={"CLICOLOR_FORCE": "1"})
    run.end()
    check(not re.search(rb"\x1b\[[0-9;]*m", run.raw), "--color never over CLICOLOR_FORCE", run.raw)
    for args, env, want in ((["--color", "always"], {"NO_COLOR": "1"}, True), ([], {"CLICOLOR_FORCE": "1"}, True),
                            ([], {"CLICOLOR_FORCE": "0"}, False), ([], {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False)):
        e = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "CLICOLOR_FORCE")}
        out = subprocess.run([PROVIUM, "test", *args, "b.lua"], stdout=subprocess.PIPE, env={**e, **env}, timeout=60).stdout
        check((b"\x1b[32m" in out) == want and b"\x1b[J" not in out, "pipe: colours with %s %s" % (args, env), out)
    r = subprocess.run([PROVIUM, "test", "--color", "blue", "b.lua"], stderr=subprocess.PIPE, timeout=60)
    check(r.returncode == 2 and b"auto, always or never" in r.stderr, "--color blue: an error", r.stderr)
    out = piped("-q", "a.lua", "b.lua", "c.lua")[1]
    check("b.lua" not in out and "c.lua" not in out and "a.lua ... FAIL" in out and "FAIL: 1 passed" in out,
          "-q: failures and the last line", out)
    r = subprocess.run([PROVIUM, "test", "-q", "-v", "b.lua"], stderr=subprocess.PIPE, timeout=60)
    check(r.returncode == 2, "-q -v: an error")


def test_stalled():
    """Nobody reads the terminal: deadlines and signals are kept all the same."""
    write("flood.lua", 'for i = 1, 3000 do test("a test with a rather long name to fill what is between " .. i, function() end) end\n')
    write("late.lua", "while true do end\n")
    write("later.lua", 'io.open("later", "w"):close() while true do end\n')
    run = Run("flood.lua", "late.lua", "later.lua", "--timeout", "1")
    run.until(lambda: os.path.exists("later"), "the file behind the one that takes too long", reading=False)
    os.kill(run.pid, signal.SIGINT)
    start = time.monotonic()
    same = run.end(reading=False)
    check(same and run.code == 130 and time.monotonic() - start < 9, "stalled: SIGINT", run.code, time.monotonic() - start)


def test_hangup():
    run = Run("b.lua", "spin.lua")
    run.shows('in test "spins"')
    os.close(run.tty)
    os.close(run.master)
    end = time.monotonic() + 15
    while run.code is None and time.monotonic() < end:
        if select.select([run.said], [], [], 0.1)[0]:
            run.hear()
    check(run.code is not None, "hang-up: it ends", run.code)
    if run.code is None:
        os.kill(run.pid, signal.SIGKILL)
    os.waitpid(run.shell, 0)


def left_running(mark):
    left = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                env = f.read()
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                cmd = f.read()
        except OSError as e:
            assert e.errno in (errno.ENOENT, errno.EACCES, errno.ESRCH)
            continue
        if mark in env.split(b"\0") and int(pid) != os.getpid():
            left.append(cmd)
    return left


def main():
    work = tempfile.mkdtemp(prefix="pv-terminal.")
    try:
        os.chdir(work)
        os.mkdir("tmp")
        os.environ["TMPDIR"] = work + "/tmp"
        os.environ["PROVIUM_TEST_MARK"] = work
        write("provium.toml", "")
        write("a.lua", 'test("one", function() provium.sleep(0.5) end)\ntest("two", function() provium.sleep(0.4) fail("no") end)\n')
        write("b.lua", "assert_eq(1, 1)\n")
        write("c.lua", 'print("said") skip("not here")\n')
        write("spin.lua", 'os.execute("sleep 731 >/dev/null &")\ntest("spins", function() while true do end end)\n')
        write("stuck.lua", 'test("stuck", function() local t = os.time() while os.time() < t + 3 do end end)\n')
        only = sys.argv[1:]
        for name, test in list(globals().items()):
            if name.startswith("test_") and (not only or name in only or name == "test_end"):
                start = time.monotonic()
                test()
                print("# %s: %.1f s" % (name, time.monotonic() - start))
        end = time.monotonic() + 3
        while (os.listdir("tmp") or left_running(b"PROVIUM_TEST_MARK=" + work.encode())) and time.monotonic() < end:
            time.sleep(0.1)
        left = os.listdir("tmp"), left_running(b"PROVIUM_TEST_MARK=" + work.encode())
        check(not left[0] and not left[1], "nothing is left", left)
    finally:
        os.chdir("/")
        shutil.rmtree(work)
    sys.exit(failures != 0)


main()
