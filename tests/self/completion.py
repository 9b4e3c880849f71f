#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Completion in real shells: types into an interactive bash, zsh and fish, presses Tab, and looks at the line.  Shells that
are not there are left out, bash is required."""
import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time

provium = os.path.abspath(os.environ['PROVIUM'])
failed = 0


def check(good, name, *more):
    global failed
    print(('ok' if good else 'not ok') + ' - ' + name, *([] if good else more))
    failed |= not good


class Shell:
    def __init__(self, argv, env, dir, first):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(dir)
            os.execvpe(argv[0], argv, env)
        self.seen = b''
        self.until(first)

    def read(self, seconds):
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:
                raise SystemExit('the shell ended: ' + repr(self.seen))

    def until(self, *texts, seconds=60):
        """Reads until all texts came, in any order; False when the time is over."""
        end = time.time() + seconds
        while time.time() < end:
            if all(t in self.seen for t in texts):
                return True
            self.read(0.2)
        return False

    def type(self, text):
        self.seen = b''
        os.write(self.fd, text)

    def completes(self, line, *words, name=None):
        """A line and Tab twice; all words must be shown."""
        self.type(line + b'\t\t')
        good = self.until(*words, seconds=30)
        check(good, '%s: %r' % (name, line.decode()), repr(self.seen))
        self.type(b'\x15\n')  # kill the line
        self.until(b'ready> ')

    def end(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def project(dir):
    for path, text in {
            'provium.toml': '[profile.mine]\nkernel = "/nonexistent"\n[profile.minor]\nkernel = "/nonexistent"\n',
            'tests/net.test.lua': 'test("a", {tags = {"network", "slowly"}}, function() end)\n',
            'tests/fixtures/prepared.lua': '', 'notes.txt': ''}.items():
        os.makedirs(os.path.dirname(os.path.join(dir, path)), exist_ok=True)
        open(os.path.join(dir, path), 'w').write(text)


def rows(shell, name):
    def row(*args):
        shell.completes(*args, name=name)
    row(b'provium te', b'test ')
    row(b'provium doc', b'doctor')
    row(b'provium test --jun', b'--junit')
    row(b'provium test --sh', b'--shard', b'--shuffle')
    row(b'provium test --accel k', b'kvm')
    row(b'provium test --tag n', b'network')
    row(b'provium shell min', b'mine', b'minor')
    row(b'provium shell --fixture pre', b'prepared')
    row(b'provium fixture re', b'rebuild')
    row(b'provium fixture build pre', b'prepared')
    row(b'provium help test', b'testing-a-module', b'testing-an-init-system')
    row(b'provium test tests/ne', b'net.test.lua')
    row(b'provium test --config prov', b'provium.toml')


with tempfile.TemporaryDirectory() as top:
    dir = top + '/p'
    project(dir)
    os.makedirs(top + '/bin')
    os.symlink(provium, top + '/bin/provium')
    env = {'PATH': top + '/bin:' + os.environ['PATH'], 'HOME': top, 'TERM': 'dumb', 'XDG_CACHE_HOME': top + '/cache',
           'XDG_CONFIG_HOME': top + '/config', 'LC_ALL': 'C.UTF-8', 'PS1': 'ready> '}

    for shell in ('bash', 'zsh', 'fish'):
        script = subprocess.run([provium, 'completion', shell], capture_output=True, text=True, check=True).stdout
        open('%s/script.%s' % (top, shell), 'w').write(script)
        if shutil.which(shell):
            done = subprocess.run([shell, '-n', '%s/script.%s' % (top, shell)], capture_output=True, text=True)
            check(done.returncode == 0, shell + ': the script is valid', done.stderr)

    bash = Shell(['bash', '--norc', '-i'], env, dir, b'ready> ')
    bash.type(b'source %s/script.bash; bind "set bell-style none"; echo so""urced\n' % top.encode())
    bash.until(b'sourced')
    rows(bash, 'bash')
    bash.completes(b'provium test --accel=t', b'tcg', name='bash')
    bash.completes(b'provium run --prof', b'--profile', name='bash')
    bash.end()

    if shutil.which('zsh'):
        open(top + '/.zshrc', 'w').write('PS1="ready> "\nautoload -Uz compinit; compinit -u\nsource %s/script.zsh\n' % top)
        zsh = Shell(['zsh', '-i'], dict(env, ZDOTDIR=top), dir, b'ready> ')
        rows(zsh, 'zsh')
        zsh.end()
    if shutil.which('fish'):
        # fish says what it would complete without a terminal
        for line, word in (('provium te', 'test'), ('provium test --sh', '--shuffle'), ('provium test --accel k', 'kvm'),
                           ('provium test --tag n', 'network'), ('provium shell mi', 'minor'),
                           ('provium fixture re', 'rebuild'), ('provium fixture build pre', 'prepared'),
                           ('provium help testing', 'testing-a-module'), ('provium test tests/ne', 'tests/net.test.lua')):
            got = subprocess.run(['fish', '-c', 'source %s/script.fish; complete -C "%s"' % (top, line)], env=env, cwd=dir,
                                 capture_output=True, text=True).stdout
            check(word in [w.split('\t')[0].strip() for w in got.split('\n')], 'fish: ' + line, repr(got))
    for shell in ('zsh', 'fish'):
        if not shutil.which(shell):
            print('# %s is not here' % shell)

    bad = subprocess.run([provium, 'completion', 'tcsh'], capture_output=True, text=True)
    check(bad.returncode == 2 and "'tcsh' is not known; expected bash, zsh or fish" in bad.stderr, 'an unknown shell', bad.stderr)
    bad = subprocess.run([provium, 'completion'], capture_output=True, text=True)
    check(bad.returncode == 2 and 'expected a shell' in bad.stderr, 'no shell', bad.stderr)
sys.exit(1 if failed else 0)
