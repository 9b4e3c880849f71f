/* SPDX-License-Identifier: MIT */
#include "console.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "util.h"

static void console_line(const struct ag_boot *b, const char *mark, const char *text)
{
    char line[4096 + 64];
    struct stat st;
    int n = snprintf(line, sizeof(line), "%s%s\n", mark, text);
    bool err_is_console = fstat(2, &st) == 0 && S_ISCHR(st.st_mode);
    int fd = b->dev_fd < 0 ? -1 : openat(b->dev_fd, "console", O_WRONLY | O_NOCTTY | O_CLOEXEC);

    if (n < 0)
        return;
    size_t len = (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1;
    if (fd >= 0) {
        ag_write_all(fd, line, len);
        tcdrain(fd);
        close(fd);
    }
    /* stderr too, unless it is the console. */
    if (fd < 0 || !err_is_console) {
        ag_write_all(2, line, len);
        tcdrain(2);
    }
}

void ag_say(const struct ag_boot *b, const char *fmt, ...)
{
    char text[4096];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    console_line(b, "provium: ", text);
}

void ag_fatal(const struct ag_boot *b, const char *fmt, ...)
{
    char text[4096];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    console_line(b, PV_FATAL_MARK, text);
    reboot(RB_AUTOBOOT);
    for (;;) /* the kernel panics when PID 1 exits */
        pause();
}
