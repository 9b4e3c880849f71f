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
#include <limits.h>
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
#include "util/path.h"
#include "util/sock.h"
#include "util/spawn.h"

enum { OUTPUT_MAX = 16384, WAIT_SECONDS = 10 };

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

/* Runs a program with the arguments behind argv[0] and reads about OUTPUT_MAX bytes of its output. */
static int output_read(const char *qemu, char *const *argv, struct output *o, struct pv_err *err)
{
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
    if (pid < 0)
        return -1;
    pv_close(&to);
    r = pv_set_nonblocking(from) < 0 ? pv_err_sys(err, errno, "cannot make a pipe non-blocking") : 0;
    if (r == 0)
        r = pv_loop_add(o->loop, &o->watch, from, EPOLLIN, err);
    if (r == 0)
        r = pv_loop_run(o->loop, output_ended, o, pv_deadline(WAIT_SECONDS * PV_NSEC_PER_SEC), err);
    pv_loop_del(o->loop, &o->watch);
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT, "'%s %s' did not end within %d s", qemu, argv[1], WAIT_SECONDS);
    return r;
}

char *pv_program_output(const char *program, char *const *argv, struct pv_err *err)
{
    struct output o = {.watch = {.fd = -1, .fn = on_output}};
    int r;

    o.loop = pv_loop_new(err);
    if (!o.loop)
        return NULL;
    r = output_read(program, argv, &o, err);
    pv_loop_free(o.loop);
    if (r == 0)
        return o.text.data ? o.text.data : pv_xstrdup("");
    pv_buf_free(&o.text);
    return NULL;
}

/* The same of a QEMU. */
static char *qemu_output(const char *qemu, char *const *argv, struct pv_err *err)
{
    char *text = pv_program_output(qemu, argv, err);

    if (!text && err && err->cls == PV_E_MISSING)
        pv_err_append(err, "; install it: apt install qemu-system-x86");
    return text;
}

/* The version that `argv` prints, ended by --version.  NULL with err set. */
static char *version_ask(const char *qemu, char *const *argv, struct pv_err *err)
{
    static const char before[] = "QEMU emulator version ";
    cleanup_free char *text = qemu_output(qemu, argv, err);
    const char *at = text ? strstr(text, before) : NULL;
    size_t n = at ? strspn(at + strlen(before), "0123456789.") : 0;

    if (n)
        return pv_xstrndup(at + strlen(before), n);
    if (text)
        pv_err_set(err, PV_E_HOST, "'%s --version' names no version; expected \"QEMU emulator version ...\"",
                   qemu);
    return NULL;
}

char *pv_qemu_version(const char *qemu, struct pv_err *err)
{
    cleanup_free char *found = qemu ? pv_xstrdup(qemu) : pv_qemu_find(NULL, err);
    char *argv[] = {found, (char *)"--version", NULL};

    return found ? version_ask(found, argv, err) : NULL;
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

/* A QEMU that is linked to libseccomp names it among the first strings of its file. */
static bool links_seccomp(const char *path)
{
    enum { HEAD = 1 << 20 };
    static const char library[] = "libseccomp.so";
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    cleanup_free char *head = pv_xcalloc(1, HEAD);
    ssize_t n = fd < 0 ? -1 : pv_pread_all(fd, head, HEAD, 0);

    return n > 4 && !memcmp(head, "\177ELF", 4) && memmem(head, (size_t)n, library, strlen(library));
}

bool pv_qemu_confines(const char *path)
{
    static char *known_path;
    static bool known;
    char *with[] = {(char *)path, (char *)"-sandbox", (char *)"on", (char *)"--version", NULL};

    if (known_path && !strcmp(known_path, path))
        return known;
    free(known_path);
    known_path = pv_xstrdup(path);
    known = links_seccomp(path);
    if (!known) {
        cleanup_free char *version = version_ask(path, with, NULL);

        /* A program that prints no version at all fails at its start, and that message is the true one. */
        known = version || !pv_qemu_known_version(path);
    }
    return known;
}

/* Sets class usage: "NAME is 'VALUE', which ...".  Returns NULL. */
static char *program_refuse(const char *name, const char *value, struct pv_err *err)
{
    bool there = access(value, F_OK) == 0;

    pv_err_set(err, PV_E_USAGE, "%s is '%s', which %s; expected the path of a QEMU program such as %s", name,
               value, there ? "is no program that may be executed" : "is not there",
               "/usr/bin/" PV_QEMU_PROGRAM);
    return NULL;
}

/* The program that a key or variable `name` says.  A name without a slash is searched in PATH. */
static char *program_named(const char *name, const char *value, struct pv_err *err)
{
    char *found = pv_find_program(value), cwd[PATH_MAX];
    struct stat st;

    if (!found || stat(found, &st) < 0 || !S_ISREG(st.st_mode)) {
        free(found);
        return program_refuse(name, value, err);
    }
    if (found[0] != '/' && getcwd(cwd, sizeof(cwd))) {
        char *full = pv_path_join(cwd, found);

        free(found);
        found = full;
    }
    return found;
}

char *pv_qemu_find(const char *key, struct pv_err *err)
{
    static const char elsewhere[] = "/usr/libexec/qemu-kvm"; /* Fedora's relatives keep QEMU out of PATH */
    const char *variable = getenv("PROVIUM_QEMU");
    char *found;

    if (key)
        return program_named("the profile's key 'qemu'", key, err);
    if (variable && *variable)
        return program_named("the environment variable PROVIUM_QEMU", variable, err);
    found = pv_find_program(PV_QEMU_PROGRAM);
    if (!found)
        found = pv_find_program(elsewhere);
    if (!found)
        pv_err_set(err, PV_E_MISSING,
                   "there is no QEMU: '" PV_QEMU_PROGRAM
                   "' is not in PATH and %s is not there; install it: apt "
                   "install qemu-system-x86 (or name the program: key 'qemu' of the profile, PROVIUM_QEMU)",
                   elsewhere);
    return found;
}

static bool version_before(const char *version, int want_major, int want_minor)
{
    int major, minor;

    if (!version || sscanf(version, "%3d.%3d", &major, &minor) != 2)
        return true;
    return major < want_major || (major == want_major && minor < want_minor);
}

bool pv_qemu_garbles_flags(const char *version)
{
    return version_before(version, 8, 0);
}

/* ---- memory files that QEMU maps without write access ---- */

static bool ask_for_rom(const char *qemu)
{
    char *argv[] = {(char *)qemu, (char *)"-object", (char *)"memory-backend-file,help", NULL};
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *text = qemu_output(qemu, argv, &err);

    if (!text)
        pv_debug("vm", "%s", err.text);
    return text && strstr(text, "\n  rom=");
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
