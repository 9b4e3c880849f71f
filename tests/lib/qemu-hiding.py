#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A QEMU that offers less: with a file `no-seccomp` beside it, it refuses -sandbox as one built without seccomp does, and
its monitor's replies lack the words that the file `hide` beside it has, one a line."""
import array
import os
import socket
import sys

QMP = 3
here = os.path.dirname(os.path.abspath(__file__))


def words():
    try:
        with open(os.path.join(here, "hide"), "rb") as f:
            return f.read().split()
    except FileNotFoundError:
        return []


def pump(client, qemu, hidden):
    """Copies both directions until one ends; a hidden word becomes as many 'z', so that no message changes length."""
    ends = {client: qemu, qemu: client}
    import selectors
    sel = selectors.DefaultSelector()
    for s in ends:
        sel.register(s, selectors.EVENT_READ)
    while True:
        for key, _ in sel.select():
            data, anc, _, _ = key.fileobj.recvmsg(1 << 20, socket.CMSG_SPACE(16))
            if not data:
                return
            if key.fileobj is qemu:
                for w in hidden:
                    data = data.replace(w, b"z" * len(w))
            fds = [c for c in anc if c[1] == socket.SCM_RIGHTS]
            n = ends[key.fileobj].sendmsg([data], fds)
            ends[key.fileobj].sendall(data[n:])
            for c in fds:
                for fd in array.array("i", c[2]):
                    os.close(fd)


args = sys.argv[1:]
if os.path.exists(os.path.join(here, "no-seccomp")) and "-sandbox" in args:
    sys.exit("qemu-system-x86_64: -sandbox on: -sandbox support is not enabled in this QEMU binary")
hidden = words()
if hidden and "--version" not in args:
    ours, theirs = socket.socketpair()
    # QEMU is the process that was started; the one that pumps ends with its monitor.
    if os.fork() == 0:
        client = socket.socket(fileno=os.dup(QMP))
        theirs.close()
        os.closerange(3, ours.fileno())
        pump(client, ours, hidden)
        os._exit(0)
    ours.close()
    os.dup2(theirs.fileno(), QMP, inheritable=True)
    theirs.close()
os.execvp("qemu-system-x86_64", ["qemu-system-x86_64"] + args)
