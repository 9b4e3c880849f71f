/* SPDX-License-Identifier: MIT */
/*
 * One static binary: as PID 1 (rdinit=/provium-wrapper) it is guest init, whose child is the agent.
 *
 *     provium-agent --fd N     one session on an inherited socket, for tests on the host
 *     provium-agent --mux N    sessions behind one stream (wire/mux.h) on an inherited socket, likewise
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot.h"
#include "serve.h"
#include "util.h"

int main(int argc, char **argv, char **envp)
{
    static const char usage[] =
        "usage: provium-agent --fd N | --mux N\n(as a guest's first process it needs no options)\n";

    if (getpid() == 1 && argc > 0 && strcmp(argv[0], PV_GUEST_INIT_PATH) == 0)
        ag_guest_init_main(argv, envp);
    bool mux = argc == 3 && strcmp(argv[1], "--mux") == 0;

    if (mux || (argc == 3 && strcmp(argv[1], "--fd") == 0)) {
        char *end;
        long fd = strtol(argv[2], &end, 10);

        if (*argv[2] && !*end && fd >= 0 && fd < 65536) {
            if (mux)
                ag_serve_mux_fd((int)fd);
            ag_serve_fd((int)fd);
        }
    }
    ag_write_all(2, usage, sizeof(usage) - 1);
    return 2;
}
