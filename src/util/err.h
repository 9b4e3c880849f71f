/* SPDX-License-Identifier: MIT */
/*
 * The one error shape of the host side.
 *
 * A function that can fail takes a `struct pv_err *err` as its last argument and returns -1 or NULL
 * with *err set exactly once, or succeeds and leaves *err untouched.  The error is a plain value: it
 * owns nothing, so it crosses fork pipes and Lua's longjmp and cannot leak.  err may be NULL when the
 * caller does not care why.
 *
 *     if (fd < 0)
 *         return pv_err_sys(err, errno, "cannot open kernel '%s'", path);
 *     ...
 *     if (pv_vm_start(vm, err) < 0)
 *         return pv_err_wrap(err, "cannot boot '%s'", name);
 */
#ifndef PV_UTIL_ERR_H
#define PV_UTIL_ERR_H

#include <stdarg.h>

/* What kind of failure it is: this alone decides how a test ends and which exit code is used. */
enum pv_err_class {
    PV_E_NONE,
    PV_E_USAGE,      /* the caller's or the user's mistake: option, configuration, wrong state */
    PV_E_MISSING,    /* something that must be on the host is not there */
    PV_E_TIMEOUT,    /* a deadline passed */
    PV_E_GUEST_DIED, /* QEMU ended, the kernel panicked, the agent is gone */
    PV_E_GUEST,      /* the guest answered, and the answer is a failure (errno and such) */
    PV_E_PROTOCOL,   /* a peer sent what it must not send */
    PV_E_HOST,       /* a system call on the host failed */
    PV_E_CLASS_COUNT
};

/* Of class guest-died: what it is that ended. */
enum pv_err_died {
    PV_DIED_AGENT, /* a process of the agent, the guest lives; or the guest gave up before there was one */
    PV_DIED_QEMU,  /* the machine */
    PV_DIED_PANIC  /* the machine, by a panic of its kernel */
};

enum { PV_ERR_TEXT = 8192 };

struct pv_err {
    enum pv_err_class cls;
    enum pv_err_died died;
    int errnum;       /* errno where there is one, else 0 */
    const char *file; /* where it was set, for -v */
    int line;
    char text[PV_ERR_TEXT]; /* always terminated; cut when too long */
};

#define PV_ERR_INIT \
    { \
        .cls = PV_E_NONE, .died = PV_DIED_AGENT, .errnum = 0, .file = "", .line = 0, .text = "" \
    }

/* All of these return -1, so that `return pv_err_set(...)` reads well. */
int pv_err_set_at(struct pv_err *err, enum pv_err_class cls, int errnum, const char *file, int line,
                  const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Says what ended, after one of class guest-died was set. */
int pv_err_died(struct pv_err *err, enum pv_err_died died);

/* Puts "TEXT: " before what *err says; class and errno stay. */
int pv_err_wrap(struct pv_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds text behind what *err says (a console tail, a hint). */
int pv_err_append(struct pv_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "usage", "timeout", ... */
const char *pv_err_class_name(enum pv_err_class cls);

#define pv_err_set(err, cls, ...) pv_err_set_at((err), (cls), 0, __FILE__, __LINE__, __VA_ARGS__)

/* Class host; ": strerror(errnum)" is added to the text. */
#define pv_err_sys(err, errnum, ...) \
    pv_err_set_at((err), PV_E_HOST, (errnum), __FILE__, __LINE__, __VA_ARGS__)

#endif
