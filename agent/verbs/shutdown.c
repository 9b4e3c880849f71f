/* SPDX-License-Identifier: MIT */
/* SHUTDOWN, by reboot(2): a minimal guest has no poweroff(8), and inits differ in how they are asked. */
#include "agent/verb.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/util.h"

enum { HOLD_MS = 100 };

/* Remounts file systems on block devices read-only, so that writable disks are left clean; best effort. */
static void remount_readonly(int proc_fd)
{
    static char mounts[64 * 1024];
    char *save = NULL;

    if (proc_fd < 0 || ag_read_text(proc_fd, "self/mounts", mounts, sizeof(mounts)) < 0)
        return;
    for (char *line = strtok_r(mounts, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char dir[PV_PATH_MAX];

        if (strncmp(line, "/dev/", 5) == 0 && sscanf(line, "%*s %4095s", dir) == 1)
            mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL);
    }
}

/*
 * Stops PID 1, best effort: reboot(2) takes the devices away while it runs, and an init that reads its programs then gets EIO
 * and ends, which is a panic.  No signal stops it, so it is traced.  It goes on when the agent ends.
 */
static void hold_init(void)
{
    if (ptrace(PTRACE_SEIZE, 1, 0, 0) < 0 || ptrace(PTRACE_INTERRUPT, 1, 0, 0) < 0)
        return;
    for (int i = 0; i < HOLD_MS && waitpid(1, NULL, __WALL | WNOHANG) == 0; i++)
        ag_sleep_ms(1);
}

static bool shutdown_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint32_t how = pv_dec_u32(d);

    if (!pv_dec_done(d) || how > PV_SHUTDOWN_REBOOT)
        return false;
    if (!s->w.in_guest) {
        ag_reply_error(s, id, EPERM, "shutdown: this agent does not run in a guest");
        return true;
    }
    ag_reply_ok(s, id, 0);
    ag_reply_flush(s, 2000);
    /*
     * The reply still waits for a kernel thread of the vsock driver: give the host time to take it and hang
     * up.
     */
    poll(&(struct pollfd){.fd = s->fd, .events = POLLRDHUP}, 1, 20);
    sync();
    remount_readonly(s->w.proc_fd);
    hold_init();
    reboot(how == PV_SHUTDOWN_REBOOT ? RB_AUTOBOOT : RB_POWER_OFF);
    s->dead = true; /* reboot() returns only where the agent may not reboot */
    return true;
}

const struct ag_verb ag_verb_shutdown = {.message = PV_MSG_SHUTDOWN, .start = shutdown_start};
