/* SPDX-License-Identifier: MIT */
/*
 * The output of `qemu --version`: "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", and that of
 * `qemu -object memory-backend-file,help`, which takes as long as a start of QEMU; CACHE/qemu keeps its outcome:
 *
 *     provium-qemu 1 DEV INO SIZE MTIME CTIME rom=on|off
 */
#include "vm/version.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "util/cachedir.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/spawn.h"

enum { OUTPUT_MAX = 4096, WAIT_SECONDS = 10 };

struct output {
    struct pv_watch watch;
    struct pv_loop *loop;
    struct pv_buf text;
    bool ended;
};

static void on_output(struct pv_watch *w, uint32_t events)
{
    struct output *o = PV_CONTAINER_OF(w, struct output, watch);
    ssize_t n = read(w->fd, pv_buf_reserve(&o->text, OUTPUT_MAX), OUTPUT_MAX);

    (void)events;
    if (n > 0 && o->text.len < OUTPUT_MAX) {
        o->text.len += (size_t)n;
        o->text.data[o->text.len] = '\0';
    } else if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
        o->ended = true;
        pv_loop_del(o->loop, w);
    }
}

static bool output_ended(void *arg)
{
    return ((struct output *)arg)->ended;
}

/* Runs `qemu ARG [VALUE]` and reads about OUTPUT_MAX bytes of its output. */
static int qemu_ask(const char *qemu, const char *arg, const char *value, struct output *o,
                    struct pv_err *err)
{
    char *argv[] = {(char *)qemu, (char *)arg, (char *)value, NULL};
    cleanup_close int from = -1, to = -1;
    struct pv_spawn_fd fd;
    struct pv_spawn sp = {.file = qemu, .argv = argv, .fds = &fd, .n_fds = 1};
    int fds[2], r;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return pv_err_sys(err, errno, "cannot make a pipe");
    from = fds[0];
    to = fds[1];
    fd = (struct pv_spawn_fd){to, 1};
    pid = pv_spawn(&sp, NULL, err);
    if (pid < 0) {
        if (err && err->cls == PV_E_MISSING)
            pv_err_append(err, "; install it: apt install qemu-system-x86");
        return -1;
    }
    pv_close(&to);
    fcntl(from, F_SETFL, O_NONBLOCK);
    r = pv_loop_add(o->loop, &o->watch, from, EPOLLIN, err);
    if (r == 0)
        r = pv_loop_run(o->loop, output_ended, o, pv_deadline(WAIT_SECONDS * PV_NSEC_PER_SEC), err);
    pv_loop_del(o->loop, &o->watch);
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT, "'%s %s' did not end within %d s", qemu, arg, WAIT_SECONDS);
    return r;
}

char *pv_qemu_version(const char *qemu, struct pv_err *err)
{
    static const char before[] = "QEMU emulator version ";
    struct output o = {.watch = {.fd = -1, .fn = on_output}};
    char *at, *version = NULL;
    int r;

    if (!qemu)
        qemu = "qemu-system-x86_64";
    o.loop = pv_loop_new(err);
    if (!o.loop)
        return NULL;
    r = qemu_ask(qemu, "--version", NULL, &o, err);
    pv_loop_free(o.loop);
    at = r == 0 && o.text.data ? strstr(o.text.data, before) : NULL;
    if (at) {
        at += strlen(before);
        version = pv_xstrndup(at, strspn(at, "0123456789."));
    }
    if (r == 0 && (!version || !*version)) {
        pv_err_set(err, PV_E_HOST, "'%s --version' names no version; expected \"QEMU emulator version ...\"",
                   qemu);
        free(version);
        version = NULL;
    }
    pv_buf_free(&o.text);
    return version;
}

const char *pv_qemu_known_version(const char *path)
{
    static char *known_path, *known_version;

    if (!known_path || strcmp(known_path, path) != 0) {
        free(known_path);
        free(known_version);
        known_path = pv_xstrdup(path);
        known_version = pv_qemu_version(path, NULL);
    }
    return known_version;
}

bool pv_qemu_loses_patches(const char *version)
{
    int major, minor;

    if (!version || sscanf(version, "%3d.%3d", &major, &minor) != 2)
        return true;
    return major < 8 || (major == 8 && minor < 1);
}

/* ---- memory files that QEMU maps without write access ---- */

static bool ask_for_rom(const char *qemu)
{
    struct output o = {.watch = {.fd = -1, .fn = on_output}};
    struct pv_err err = PV_ERR_INIT;
    bool yes = false;

    o.loop = pv_loop_new(&err);
    if (o.loop && qemu_ask(qemu, "-object", "memory-backend-file,help", &o, &err) == 0)
        yes = o.text.data && strstr(o.text.data, "\n  rom=");
    else
        pv_debug("vm", "%s", err.text);
    pv_loop_free(o.loop);
    pv_buf_free(&o.text);
    return yes;
}

static bool rom_look_up(const char *qemu)
{
    cleanup_cachedir struct pv_cachedir dir = PV_CACHEDIR_INIT;
    cleanup_free char *head = NULL, *line = NULL;
    cleanup_buf struct pv_buf have = {0};
    struct stat st;
    bool yes, known = stat(qemu, &st) == 0 && pv_cachedir_open(&dir, NULL, NULL) == 0;

    if (!known)
        return ask_for_rom(qemu);
    head = pv_xasprintf("provium-qemu 1 %ju %ju %jd %" PRId64 " %" PRId64 " rom=", (uintmax_t)st.st_dev,
                        (uintmax_t)st.st_ino, (intmax_t)st.st_size, pv_timespec_ns(&st.st_mtim),
                        pv_timespec_ns(&st.st_ctim));
    if (pv_cachedir_read(&dir, "qemu", OUTPUT_MAX, &have, NULL) == 0 && have.len > strlen(head) &&
        !strncmp(have.data, head, strlen(head))) {
        const char *value = have.data + strlen(head);

        if (!strcmp(value, "on\n") || !strcmp(value, "off\n"))
            return !strcmp(value, "on\n");
    }
    yes = ask_for_rom(qemu);
    line = pv_xasprintf("%s%s\n", head, yes ? "on" : "off");
    if (pv_replace_at(dir.fd, "qemu", line, strlen(line)) < 0)
        pv_debug("vm", "cannot write '%s/qemu': %s", dir.path, strerror(errno));
    return yes;
}

bool pv_qemu_maps_read_only(const char *path)
{
    static char *known_path;
    static bool known;

    if (!known_path || strcmp(known_path, path) != 0) {
        free(known_path);
        known_path = pv_xstrdup(path);
        known = rom_look_up(path);
    }
    return known;
}
