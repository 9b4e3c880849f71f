/* SPDX-License-Identifier: MIT */
#include "util/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/clock.h"

bool pv_log_on;
static int64_t start;

void pv_log_init(void)
{
    const char *v = getenv("PROVIUM_DEBUG");

    pv_log_on = v && *v && *v != '0';
    start = pv_now();
}

void pv_log_write(const char *who, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    int n;

    n = snprintf(line, sizeof(line), "[%8.3f] %d %s: ", (double)(pv_now() - start) / 1e9, (int)getpid(), who);
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%s\n", line);
}
