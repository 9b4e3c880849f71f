/* SPDX-License-Identifier: MIT */
/* The agent's supervisor: accepts connections and forks a session process for each. */
#ifndef PV_AGENT_SERVE_H
#define PV_AGENT_SERVE_H

#include <stdbool.h>
#include <stdint.h>

struct ag_serve {
    int listen_fd; /* on vsock; -1: none */
    int port_fd;   /* the virtio-serial port, in its place; -1: none */
    int proc_fd;   /* private procfs */
    int dev_fd;    /* private devtmpfs, or -1 */
};

/* A listening, non-blocking AF_VSOCK socket on PV_AGENT_PORT; -1 with errno. */
int ag_listen(void);
/* For a socket that is to listen. */
void ag_socket_buffers(int fd);

/*
 * What the wrapper's child runs; never returns.  argv is where /proc/PID/cmdline points: it becomes
 * "@provium-agent" (systemd spares processes whose name begins with '@' when it kills the rest).
 */
_Noreturn void ag_serve_main(const struct ag_serve *s, char **argv);

/*
 * The same over the one stream of a virtio-serial port (serve-serial.c): sessions are made for the channels
 * that the host opens.  `w` as ag_serve_main has made it ready, SIGCHLD blocked and caught.  A port_fd that
 * is a socket ends the process at its end.
 */
struct ag_world;
_Noreturn void ag_serve_serial(int port_fd, struct ag_world *w);
/* True when a SIGCHLD has come since it was asked last. */
bool ag_children_ended(void);
/*
 * From a session that is about to make a worker: one end of a socket pair goes to the multiplexer, which
 * gives it to the first who connects to *port, and closes it when nobody has after 10 s.  The other end, or
 * -1 with errno.
 */
int ag_offer(const struct ag_world *w, uint32_t *port);

/* `provium-agent --mux N`: the supervisor on an inherited socket in place of the port, for tests on the host.
 */
_Noreturn void ag_serve_mux_fd(int fd);

/* `provium-agent --fd N`: one session on an inherited socket, for tests on the host. */
_Noreturn void ag_serve_fd(int fd);

#endif
