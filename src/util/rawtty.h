/* SPDX-License-Identifier: MIT */
/*
 * A terminal in raw mode, for programs that pass its bytes on.  One per process.  The terminal's settings come back
 * with pv_rawtty_leave, at exit(3), and before the process ends by a crash (SIGSEGV, SIGABRT...).  Signals that
 * a user sends (SIGTERM, SIGHUP) are the caller's to take.
 */
#ifndef PV_UTIL_RAWTTY_H
#define PV_UTIL_RAWTTY_H

struct pv_err;

/*
 * Keys come one by one and are not shown; Ctrl-C and the like still send signals, and output is as before.  As
 * pv_rawtty_enter.
 */
int pv_rawtty_keys(int fd, struct pv_err *err);
/* fd stays the caller's, open until pv_rawtty_leave.  -1 with *err: class host, it is no terminal. */
int pv_rawtty_enter(int fd, struct pv_err *err);
/* Nothing when no terminal is in raw mode. */
void pv_rawtty_leave(void);

#endif
