/* SPDX-License-Identifier: MIT */
#include "tests/fake/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "childproto/event.h"
#include "config/config.h"
#include "image/test-kernel-files.h"
#include "lua/run.h"
#include "testfile/env.h"
#include "tests/fake/plan.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"
#include "vm/accel.h"

enum { SLOTS_MAX = 64, LIMIT = 150, LEAKED_FDS = 97 };

struct slot {
    struct fake_case *c; /* NULL: free */
    pid_t pid;
    int pidfd, sock;
    int64_t started;
    char *dir;
    struct plan_shared *shared;
};

static char base[] = "/tmp/pv-fake-XXXXXX";
static struct slot slots[SLOTS_MAX];

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(2);
}

void run_begin(const char *fake_dir)
{
    cleanup_free char *full = realpath(fake_dir, NULL);
    cleanup_free char *path = pv_xasprintf("%s:%s", full ? full : fake_dir, getenv("PATH")), *kernel = NULL,
                      *cache = NULL;
    struct pv_accel_probe probe;
    cleanup_buf struct pv_buf elf = {0};

    check(mkdtemp(base), "mkdtemp");
    setenv("PATH", path, 1);
    signal(SIGPIPE, SIG_IGN);
    pv_log_init();
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* processes that a case leaves become ours */
    cache = pv_path_join(base, "cache");
    check(mkdir(cache, 0700) == 0, cache);
    setenv("XDG_CACHE_HOME", cache, 1);
    pv_accel_probe(&probe);
    kernel = pv_path_join(base, "vmlinux");
    test_make_elf(&elf, 16 << 10, true, 1);
    test_write(kernel, elf.data, elf.len);
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        slots[i].sock = slots[i].pidfd = -1;
}

/* ---- in the process of one case ---- */

static unsigned count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

static void case_main(const struct slot *s, int sock)
{
    struct fake_case *c = s->c;
    cleanup_free char *kernel = pv_path_join(base, "vmlinux"), *cache = pv_path_join(s->dir, "cache"),
                      *logs = pv_path_join(s->dir, "logs"),
                      *spec = pv_xasprintf("%s/plan:%s:%u:%s", s->dir, c->at, c->n, c->action);
    struct pv_profile profile = {.name = (char *)"fake",
                                 .kernel = kernel,
                                 .unconfined = true, /* the fake QEMU opens a file of the test */
                                 .init = (char *)"/sbin/init",
                                 .append = (char *)"",
                                 .accel = PV_ACCEL_TCG,
                                 .transport = PV_TRANSPORT_SERIAL,
                                 .boot_timeout_ns = 2 * PV_NSEC_PER_SEC};
    struct pv_config config = {
        .dir = s->dir, .profiles = &profile, .n_profiles = 1, .cache_size = PV_CACHE_SIZE, .standby = true};
    struct pv_testfile_env env = {
        .config = &config, .version = "9.9", .log_dir = logs, .accel = PV_ACCEL_TCG};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), rc;
    unsigned fds;

    pv_strv_add(&profile.qemu_args, "-fake");
    pv_strv_add(&profile.qemu_args, spec);
    dup2(null, 0);
    dup2(null, 1);
    if (!getenv("PROVIUM_DEBUG"))
        dup2(null, 2);
    close(null);
    setenv("XDG_CACHE_HOME", cache, 1);
    check(chdir(s->dir) == 0 && mkdir(logs, 0700) == 0, s->dir);
    fds = count_fds();
    env.result = pv_result_new(sock);
    rc = pv_lua_run_file(&env, "t.lua");
    pv_result_free(env.result);
    pv_strv_free(&profile.qemu_args);
    if (count_fds() + 1 != fds)
        rc = LEAKED_FDS;
    exit(rc);
}

/* ---- around it ---- */

/* The remembered probe of KVM, which takes longer than a whole case. */
static void copy_probe(const char *cache)
{
    cleanup_free char *from = pv_path_join(base, "cache/provium"), *to = pv_path_join(cache, "provium");
    DIR *d = opendir(from);
    struct dirent *e;

    check(mkdir(to, 0700) == 0, to);
    while (d && (e = readdir(d))) {
        cleanup_free char *file = pv_path_join(from, e->d_name), *copy = pv_path_join(to, e->d_name);
        cleanup_buf struct pv_buf text = {0};

        if (e->d_type == DT_REG && pv_read_file(file, 1 << 20, &text, NULL) == 0)
            test_write(copy, text.data ? text.data : "", text.len);
    }
    if (d)
        closedir(d);
}

static void put(const char *dir, const char *name, const char *text)
{
    cleanup_free char *path = pv_path_join(dir, name);

    test_write(path, text, strlen(text));
}

static struct plan_shared *plan_make(const char *dir)
{
    cleanup_free char *path = pv_path_join(dir, "plan");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *p;

    check(fd >= 0 && ftruncate(fd, sizeof(struct plan_shared)) == 0, path);
    p = mmap(NULL, sizeof(struct plan_shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(p != MAP_FAILED, "mmap");
    close(fd);
    return p;
}

static void slot_start(struct slot *s, struct fake_case *c)
{
    cleanup_free char *cache = NULL;
    static unsigned count;
    int sv[2];

    s->c = c;
    s->dir = pv_xasprintf("%s/%u", base, count++);
    cache = pv_path_join(s->dir, "cache");
    check(mkdir(s->dir, 0700) == 0 && mkdir(cache, 0700) == 0, s->dir);
    copy_probe(cache);
    s->shared = plan_make(s->dir);
    put(s->dir, "t.lua", c->script);
    if (c->fixture) {
        cleanup_free char *fixtures = pv_path_join(s->dir, "fixtures");

        check(mkdir(fixtures, 0700) == 0, fixtures);
        put(fixtures, "f.lua", c->fixture);
    }
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) == 0, "socketpair");
    s->started = pv_now();
    s->pid = fork();
    check(s->pid >= 0, "fork");
    if (s->pid == 0) {
        for (size_t i = 0; i < SLOTS_MAX; i++)
            pv_close(&slots[i].sock);
        close(sv[0]);
        case_main(s, sv[1]);
    }
    close(sv[1]);
    s->sock = sv[0];
    s->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
}

static void case_event(struct fake_case *c, const struct pv_event *ev)
{
    bool file = ev->type == PV_EV_FILE;

    if (ev->type == PV_EV_NOTICE && ev->text)
        c->damaged |= memmem(ev->text, ev->text_len, "damaged", strlen("damaged")) != NULL;
    if (file) {
        c->verdict = true;
        c->outcome = ev->outcome;
    }
    if ((!file && ev->type != PV_EV_TEST_END) || ev->outcome != PV_FAIL || (file && ev->cls == PV_CLASS_NONE))
        return;
    c->cls = ev->cls;
    snprintf(c->text, sizeof(c->text), "%.*s", (int)ev->text_len, ev->text ? ev->text : "");
}

static void slot_read(struct slot *s)
{
    static unsigned char msg[PV_EVENT_MAX];
    struct pv_event ev;
    ssize_t n;

    while ((n = recv(s->sock, msg, sizeof(msg), MSG_DONTWAIT)) > 0)
        if (pv_event_decode(&ev, msg, (size_t)n))
            case_event(s->c, &ev);
}

static void slot_end(struct slot *s)
{
    struct fake_case *c = s->c;

    while (waitpid(s->pid, &c->status, 0) < 0 && errno == EINTR)
        ;
    slot_read(s);
    c->seconds = (double)(pv_now() - s->started) / PV_NSEC_PER_SEC;
    c->seen = atomic_load(&s->shared->seen);
    c->fired = atomic_load(&s->shared->fired);
    c->done = atomic_load(&s->shared->done);
    munmap(s->shared, sizeof(*s->shared));
    pv_close(&s->sock);
    pv_close(&s->pidfd);
    pv_rm_rf(s->dir);
    free(s->dir);
    s->c = NULL;
}

static void slot_check(struct slot *s, const struct pollfd p[2], void (*judge)(struct fake_case *c))
{
    struct fake_case *c = s->c;

    if (p[0].revents)
        slot_read(s);
    if (!c->overdue && pv_now() - s->started > LIMIT * PV_NSEC_PER_SEC) {
        c->overdue = true;
        kill(s->pid, SIGKILL);
    }
    if (p[1].revents) {
        slot_end(s);
        judge(c);
    }
}

void run_cases(struct fake_case *cases, size_t n, unsigned jobs, void (*judge)(struct fake_case *c))
{
    size_t next = 0, busy;

    do {
        struct pollfd p[SLOTS_MAX][2];

        busy = 0;
        for (unsigned i = 0; i < jobs && i < SLOTS_MAX; i++) {
            if (!slots[i].c && next < n)
                slot_start(&slots[i], &cases[next++]);
            busy += slots[i].c != NULL;
            p[i][0] = (struct pollfd){slots[i].c ? slots[i].sock : -1, POLLIN, 0};
            p[i][1] = (struct pollfd){slots[i].c ? slots[i].pidfd : -1, POLLIN, 0};
        }
        poll(p[0], 2 * jobs, 1000);
        for (unsigned i = 0; i < jobs && i < SLOTS_MAX; i++)
            if (slots[i].c)
                slot_check(&slots[i], p[i], judge);
    } while (busy);
}

unsigned run_end(void)
{
    unsigned left = 0;
    int64_t deadline = pv_deadline(5 * PV_NSEC_PER_SEC);
    pid_t pid;

    /* QEMUs of a builder that was killed are being killed; all others have been reaped. */
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0 || (pid == 0 && pv_now() < deadline))
        if (pid == 0)
            usleep(1000);
    if (pid == 0)
        left = 1;
    pv_rm_rf(base);
    return left;
}
