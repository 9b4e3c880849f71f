/* SPDX-License-Identifier: MIT */
/*
 * The error value of the host side.
 *
 * A function that can fail takes a `struct pv_err *err` as its last argument and returns -1 or NULL
 * with *err set exactly once, or succeeds and leaves *err untouched.  The value owns nothing, so it
 * crosses fork pipes and Lua's longjmp and cannot leak.  A caller that ignores the reason passes NULL.
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

/* The class of a failure; it alone decides the outcome of a test and the exit code. */
enum pv_err_class {
    PV_E_NONE,
    PV_E_USAGE,      /* a mistake of the test or the user: option, configuration, wrong state */
    PV_E_MISSING,    /* the host lacks a program, file or device */
    PV_E_TIMEOUT,    /* a deadline passed */
    PV_E_GUEST_DIED, /* QEMU ended, the guest's kernel panicked, or the agent ended */
    PV_E_GUEST,      /* the guest's reply is a failure (an errno) */
    PV_E_PROTOCOL,   /* a peer sent bytes that break the protocol */
    PV_E_HOST,       /* a system call on the host failed */
    PV_E_CLASS_COUNT
};

/* The cause of a PV_E_GUEST_DIED error. */
enum pv_err_died {
    PV_DIED_AGENT, /* an agent process ended and the guest lives, or the guest init failed before the agent */
    PV_DIED_QEMU,  /* QEMU ended */
    PV_DIED_PANIC, /* the guest's kernel panicked */
    PV_DIED_STUCK  /* the guest stood still and was ended */
};

enum { PV_ERR_TEXT = 8192 };

struct pv_err {
    enum pv_err_class cls;
    enum pv_err_died died;
    unsigned vm;      /* number of the guest that died, as pv_guest_number; 0: none */
    unsigned console; /* bytes at the end of the text that quote a guest's console, see pv_err_console */
    int errnum;       /* errno, or 0 */
    const char *file; /* origin: source file and line */
    int line;
    char text[PV_ERR_TEXT]; /* terminated; a longer text is truncated */
};

#define PV_ERR_INIT \
    { \
        .cls = PV_E_NONE, .died = PV_DIED_AGENT, .vm = 0, .console = 0, .errnum = 0, .file = "", .line = 0, \
        .text = "" \
    }

/* All setters return -1, for `return pv_err_set(...)`, and accept err == NULL. */
int pv_err_set_at(struct pv_err *err, enum pv_err_class cls, int errnum, const char *file, int line,
                  const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* Sets the cause of a PV_E_GUEST_DIED error that was set before (PV_DIED_AGENT by default), and the guest. */
int pv_err_died(struct pv_err *err, enum pv_err_died died, unsigned vm);

/* Prepends "TEXT: " to the text; class and errno stay. */
int pv_err_wrap(struct pv_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Appends to the text, such as a console tail or a hint. */
int pv_err_append(struct pv_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Appends as pv_err_append, and notes that the text ends with a guest's console, which reports leave out because
 * they show all consoles.
 */
int pv_err_console(struct pv_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes the console off the text's end. */
void pv_err_drop_console(struct pv_err *err);

/* "usage", "timeout", ... */
const char *pv_err_class_name(enum pv_err_class cls);

#define pv_err_set(err, cls, ...) pv_err_set_at((err), (cls), 0, __FILE__, __LINE__, __VA_ARGS__)

/* Class host; ": strerror(errnum)" is appended to the text. */
#define pv_err_sys(err, errnum, ...) \
    pv_err_set_at((err), PV_E_HOST, (errnum), __FILE__, __LINE__, __VA_ARGS__)

#endif
