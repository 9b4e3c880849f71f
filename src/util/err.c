/* SPDX-License-Identifier: MIT */
#include "util/err.h"

#include <stdio.h>
#include <string.h>

static const char *const class_names[] = {
    [PV_E_NONE] = "none",
    [PV_E_USAGE] = "usage",
    [PV_E_MISSING] = "missing",
    [PV_E_TIMEOUT] = "timeout",
    [PV_E_GUEST_DIED] = "guest-died",
    [PV_E_GUEST] = "guest",
    [PV_E_PROTOCOL] = "protocol",
    [PV_E_HOST] = "host",
};
_Static_assert(sizeof(class_names) / sizeof(class_names[0]) == PV_E_CLASS_COUNT, "name every class");

const char *pv_err_class_name(enum pv_err_class cls)
{
    return class_names[cls];
}

int pv_err_set_at(struct pv_err *err, enum pv_err_class cls, int errnum, const char *file, int line,
                  const char *fmt, ...)
{
    va_list ap;
    size_t len;

    if (!err)
        return -1;
    err->cls = cls;
    err->died = PV_DIED_AGENT;
    err->vm = 0;
    err->console = 0;
    err->errnum = errnum;
    err->file = file;
    err->line = line;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    len = strlen(err->text);
    if (errnum != 0) {
        /* Tests of a guest know the name of the errno that they expect. */
        const char *name = cls == PV_E_GUEST ? strerrorname_np(errnum) : NULL;

        snprintf(err->text + len, sizeof(err->text) - len, name ? ": %s (%s)" : ": %s", strerror(errnum),
                 name);
    }
    return -1;
}

int pv_err_died(struct pv_err *err, enum pv_err_died died, unsigned vm)
{
    if (err) {
        err->died = died;
        err->vm = vm;
    }
    return -1;
}

int pv_err_wrap(struct pv_err *err, const char *fmt, ...)
{
    char prefix[1024];
    size_t plen, tlen, lost;
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof(prefix) - 3, fmt, ap);
    va_end(ap);
    plen = strlen(prefix);
    memcpy(prefix + plen, ": ", 3);
    plen += 2;
    lost = tlen = strlen(err->text);
    if (tlen > sizeof(err->text) - 1 - plen)
        tlen = sizeof(err->text) - 1 - plen;
    lost -= tlen;
    err->console -= lost < err->console ? (unsigned)lost : err->console;
    memmove(err->text + plen, err->text, tlen);
    memcpy(err->text, prefix, plen);
    err->text[plen + tlen] = '\0';
    return -1;
}

/* Returns the number of bytes that were added. */
static unsigned text_append(struct pv_err *err, const char *fmt, va_list ap)
{
    size_t len = strlen(err->text);

    vsnprintf(err->text + len, sizeof(err->text) - len, fmt, ap);
    return (unsigned)strlen(err->text + len);
}

int pv_err_append(struct pv_err *err, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    text_append(err, fmt, ap);
    va_end(ap);
    err->console = 0; /* not at the end any more */
    return -1;
}

int pv_err_console(struct pv_err *err, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return -1;
    va_start(ap, fmt);
    err->console = text_append(err, fmt, ap);
    va_end(ap);
    return -1;
}

void pv_err_drop_console(struct pv_err *err)
{
    err->text[strlen(err->text) - err->console] = '\0';
    err->console = 0;
}
