/* SPDX-License-Identifier: MIT */
#include "util/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/clock.h"

bool pv_log_on;
static int64_t start_ns;

void pv_log_init(void)
{
    const char *v = getenv("PROVIUM_DEBUG");

    pv_log_on = v && *v && *v != '0';
    start_ns = pv_now();
}

void pv_log_write(const char *actor, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    int n;

    n = snprintf(line, sizeof(line), "[%8.3f] %d %s: ", (double)(pv_now() - start_ns) / 1e9, (int)getpid(),
                 actor);
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s\n", line);
}
