/* SPDX-License-Identifier: MIT */
/* The agent's supervisor: forks a session process for each connection. */
#ifndef PV_AGENT_SERVE_H
#define PV_AGENT_SERVE_H

struct ag_boot;
struct ag_world;

struct ag_serve {
    int listen_fd;        /* on vsock; -1: none */
    int port_fd;          /* the virtio-serial port, in its place; -1: none */
    int proc_fd;          /* private procfs */
    int dev_fd;           /* private devtmpfs, or -1 */
    int exec_fd;          /* ends once init has been executed: no session before that */
    struct ag_boot *boot; /* for a switch of the root */
};

/*
 * The supervisor, in a child of guest init.  argv is where /proc/PID/cmdline points: it becomes
 * "@provium-agent", because systemd spares processes whose name begins with '@' when it kills all others.
 */
_Noreturn void ag_serve_main(const struct ag_serve *s, char **argv);

/*
 * The supervisor on a virtio-serial port (serve-serial.c): makes a session for each channel that the host
 * opens. SIGCHLD must be caught (ag_signals_catch_children).  If port_fd is a socket, exits at its end.
 */
_Noreturn void ag_serve_serial(int port_fd, struct ag_world *w);

/* `provium-agent --mux N`: the same on an inherited socket, for tests on the host. */
_Noreturn void ag_serve_mux_fd(int fd);

/* `provium-agent --fd N`: one session on an inherited socket, for tests on the host. */
_Noreturn void ag_serve_fd(int fd);

#endif
