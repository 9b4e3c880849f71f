/* SPDX-License-Identifier: MIT */
/* The agent's supervisor: accepts connections and forks a session process for each. */
#ifndef PV_AGENT_SERVE_H
#define PV_AGENT_SERVE_H

struct ag_serve {
    int listen_fd;
    int proc_fd; /* private procfs */
    int dev_fd;  /* private devtmpfs, or -1 */
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

/* `provium-agent --fd N`: one session on an inherited socket, for tests on the host. */
_Noreturn void ag_serve_fd(int fd);

#endif
