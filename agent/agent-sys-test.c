/* SPDX-License-Identifier: MIT */
/* The real agent binary, driven over a socketpair: system calls, jobs, the kernel log. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

static void get_reply(struct client *c, uint32_t id, struct cl_reply *a)
{
    cl_reply(c, id, NULL, 0, CL_SOON, a);
}

/* Makes a call without buffers and returns its value. */
static int64_t sys(struct client *c, uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    struct cl_reply a;

    cl_syscall(c, 9, 0, nr, (const uint64_t[6]){a0, a1, a2, a3}, NULL, 0, NULL, 0);
    get_reply(c, 9, &a);
    assert_int_equal(a.type, PV_MSG_SYSRET);
    assert_int_equal(a.n_bufs, 0);
    int64_t value = (int64_t)a.value;
    cl_reply_free(&a);
    return value;
}

static void test_values(void **state)
{
    struct client *c = *state;

    assert_int_equal(sys(c, SYS_getpid, 0, 0, 0, 0), c->pid);
    assert_int_equal(sys(c, SYS_getppid, 0, 0, 0, 0), getpid());
    assert_int_equal(sys(c, 100000, 0, 0, 0, 0), -ENOSYS);
    assert_int_equal(sys(c, UINT64_MAX, 0, 0, 0, 0), -ENOSYS);
    assert_int_equal(sys(c, SYS_close, 1000, 0, 0, 0), -EBADF);
    assert_int_equal(sys(c, SYS_memfd_create, 0, 0, 0, 0), -EFAULT);
}

/* All 64 bits on the way in and out. */
static void test_mmap64(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_syscall(c, 1, 0, SYS_mmap,
               (const uint64_t[6]){UINT64_C(0x123456789000), 4096, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, UINT64_MAX, 0},
               NULL, 0, NULL, 0);
    get_reply(c, 1, &a);
    assert_true(a.value == UINT64_C(0x123456789000));
    cl_reply_free(&a);
    /* A mapping lives on in the session: munmap works once. */
    assert_int_equal(sys(c, SYS_mincore, UINT64_C(0x123456789000), 4096, 0, 0), -EFAULT);
    assert_int_equal(sys(c, SYS_munmap, UINT64_C(0x123456789000), 4096, 0, 0), 0);
    assert_int_equal(sys(c, SYS_mincore, UINT64_C(0x123456789000), 4096, 0, 0), -ENOMEM);
}

static void test_buffers(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    char buf[64] = "nothing";
    struct cl_buf path = {.slot = 1, .data = "/proc/self/comm", .n = 16};

    cl_syscall(c, 1, 0, SYS_openat, (const uint64_t[6]){(uint64_t)AT_FDCWD, 77, O_RDONLY}, &path, 1, NULL, 0);
    get_reply(c, 1, &a);
    assert_true((int64_t)a.value >= 3);
    assert_int_equal(a.n_bufs, 1);
    assert_int_equal(a.bufs[0].n, 16);
    assert_memory_equal(a.bufs[0].p, "/proc/self/comm", 16);
    uint64_t fd = a.value;
    cl_reply_free(&a);

    struct cl_buf in = {.slot = 1, .data = buf, .n = sizeof(buf)};
    cl_syscall(c, 2, 0, SYS_read, (const uint64_t[6]){fd, 0, sizeof(buf)}, &in, 1, NULL, 0);
    get_reply(c, 2, &a);
    assert_int_equal(a.value, 14);
    assert_memory_equal(a.bufs[0].p, "provium-agent\n", 14);
    assert_memory_equal((char *)a.bufs[0].p + 14, buf + 14, 50); /* the rest as it was sent */
    cl_reply_free(&a);

    /* A kernel that writes behind a buffer: EFAULT behind its last 64 bytes, and no other buffer is overwritten. */
    assert_int_equal(sys(c, SYS_lseek, fd, 0, SEEK_SET, 0), 0);
    struct cl_buf two[2] = {{.slot = 1, .data = "12345678", .n = 8},
                            {.slot = 3, .data = "neighbour", .n = 9}};
    cl_syscall(c, 3, 0, SYS_getcwd, (const uint64_t[6]){0}, NULL, 0, NULL, 0);
    get_reply(c, 3, &a);
    cl_reply_free(&a);
    cl_syscall(c, 4, 0, SYS_getrandom, (const uint64_t[6]){0, 65, 0}, (struct cl_buf[]){{0, "12345678", 8}},
               1, NULL, 0);
    get_reply(c, 4, &a);
    assert_true((int64_t)a.value == 64 || (int64_t)a.value == -EFAULT);
    assert_int_equal(a.bufs[0].n, 8);
    cl_reply_free(&a);
    cl_syscall(c, 5, 0, SYS_read, (const uint64_t[6]){fd, 0, 8, 0}, two, 2, NULL, 0);
    get_reply(c, 5, &a);
    assert_int_equal(a.value, 8);
    assert_int_equal(a.n_bufs, 2);
    assert_memory_equal(a.bufs[1].p, "neighbour", 9);
    cl_reply_free(&a);
    assert_int_equal(sys(c, SYS_close, fd, 0, 0, 0), 0);
}

/* writev into a pipe and readv out of it: pointers inside a buffer. */
static void test_pointers(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    int fds[2];
    struct cl_buf out = {.slot = 0, .data = "\0\0\0\0\0\0\0\0", .n = 8};

    cl_syscall(c, 1, 0, SYS_pipe2, (const uint64_t[6]){0, 0}, &out, 1, NULL, 0);
    get_reply(c, 1, &a);
    assert_int_equal(a.value, 0);
    memcpy(fds, a.bufs[0].p, sizeof(fds));
    cl_reply_free(&a);

    struct iovec iov[2] = {{NULL, 6}, {NULL, 5}};
    struct cl_buf v = {.slot = 1, .data = iov, .n = sizeof(iov)};
    struct cl_ptr w[2] = {{.buf = 0, .offset = 0, .len = 6, .data = "hello ", .n = 6},
                          {.buf = 0, .offset = 16, .len = 5, .data = "world", .n = 5}};
    cl_syscall(c, 2, 0, SYS_writev, (const uint64_t[6]){(uint64_t)fds[1], 0, 2}, &v, 1, w, 2);
    get_reply(c, 2, &a);
    assert_int_equal(a.value, 11);
    assert_int_equal(a.n_bufs, 1);
    cl_reply_free(&a);

    struct cl_ptr r[2] = {{.buf = 0, .offset = 0, .len = 6, .flags = PV_PTR_OUTPUT, .data = "", .n = 0},
                          {.buf = 0, .offset = 16, .len = 5, .flags = PV_PTR_OUTPUT, .data = "abc", .n = 3}};
    cl_syscall(c, 3, 0, SYS_readv, (const uint64_t[6]){(uint64_t)fds[0], 0, 2}, &v, 1, r, 2);
    get_reply(c, 3, &a);
    assert_int_equal(a.value, 11);
    assert_int_equal(a.n_bufs, 3);
    assert_memory_equal(a.bufs[1].p, "hello ", 6);
    assert_memory_equal(a.bufs[2].p, "world", 5);
    cl_reply_free(&a);
}

static void refused(struct client *c, struct cl_buf b, struct cl_ptr p, uint32_t n_ptrs)
{
    struct cl_reply a;

    cl_syscall(c, 8, 0, SYS_getpid, NULL, &b, 1, &p, n_ptrs);
    get_reply(c, 8, &a);
    assert_int_equal(a.type, PV_MSG_ERROR);
    assert_int_equal(a.errnum, EPROTO);
    cl_reply_free(&a);
}

static void test_bad_requests(void **state)
{
    struct client *c = *state;
    const struct cl_buf ok = {.slot = 0, .data = "12345678", .n = 8};
    const struct cl_ptr p = {.buf = 0, .offset = 0, .len = 4, .data = "x", .n = 1};

    refused(c, (struct cl_buf){.slot = 6, .data = "", .n = 0}, p, 0);
    refused(c, (struct cl_buf){.slot = 0, .data = "1234567", .n = 7}, p, 1);
    refused(c, ok, (struct cl_ptr){.buf = 1, .len = 1, .data = ""}, 1);
    refused(c, ok, (struct cl_ptr){.offset = 1, .len = 1, .data = ""}, 1);
    refused(c, ok, (struct cl_ptr){.offset = UINT32_MAX, .len = 1, .data = ""}, 1);
    refused(c, ok, (struct cl_ptr){.len = 1, .data = "xx", .n = 2}, 1);
    refused(c, ok, (struct cl_ptr){.len = UINT32_MAX, .data = ""}, 1);
    refused(c, ok, (struct cl_ptr){.len = 1, .flags = 2, .data = ""}, 1);
    assert_int_equal(sys(c, SYS_getpid, 0, 0, 0, 0), c->pid);
}

/* The largest buffer: nearly a whole frame, filled by the kernel. */
static void test_big(void **state)
{
    static uint8_t big[1000000];
    struct client *c = *state;
    struct cl_buf b = {.slot = 0, .data = big, .n = sizeof(big)};
    struct cl_reply a;
    size_t zero = 0;

    cl_syscall(c, 1, 0, SYS_getrandom, (const uint64_t[6]){0, sizeof(big)}, &b, 1, NULL, 0);
    get_reply(c, 1, &a);
    assert_int_equal(a.value, sizeof(big));
    assert_int_equal(a.bufs[0].n, sizeof(big));
    for (size_t i = 0; i < sizeof(big); i++)
        zero += a.bufs[0].p[i] == 0;
    assert_true(zero > 2000 && zero < 8000); /* 3906 on average */
    cl_reply_free(&a);
}

static void timed_out(struct client *c, uint64_t nr, const uint64_t args[6], const struct cl_buf *b,
                      uint32_t n)
{
    struct cl_reply a;
    int64_t begin = cl_now_ms();

    cl_syscall(c, 3, 200, nr, args, b, n, NULL, 0);
    get_reply(c, 3, &a);
    assert_int_equal(a.type, PV_MSG_ERROR);
    assert_int_equal(a.errnum, ETIMEDOUT);
    assert_true(cl_now_ms() - begin >= 190 && cl_now_ms() - begin < 5000);
    cl_reply_free(&a);
}

static void test_timeout(void **state)
{
    struct client *c = *state;
    struct timespec hour = {.tv_sec = 3600};
    struct cl_buf ts = {.slot = 0, .data = &hour, .n = sizeof(hour)},
                  fds = {.slot = 0, .data = "\0\0\0\0\0\0\0\0", .n = 8};
    struct cl_reply a;
    int fd[2];

    timed_out(c, SYS_pause, NULL, NULL, 0);
    timed_out(c, SYS_nanosleep, (const uint64_t[6]){0}, &ts, 1);
    cl_syscall(c, 1, 0, SYS_pipe2, (const uint64_t[6]){0, 0}, &fds, 1, NULL, 0);
    get_reply(c, 1, &a);
    memcpy(fd, a.bufs[0].p, sizeof(fd));
    cl_reply_free(&a);
    fds.slot = 1;
    timed_out(c, SYS_read, (const uint64_t[6]){(uint64_t)fd[0], 0, 8}, &fds, 1);
    timed_out(c, SYS_poll, (const uint64_t[6]){0, 0, UINT64_MAX}, NULL, 0);
    /* A thread that has blocked the signal is interrupted all the same. */
    uint64_t all = UINT64_MAX;
    struct cl_buf set = {.slot = 1, .data = &all, .n = 8};
    cl_syscall(c, 4, 0, SYS_rt_sigprocmask, (const uint64_t[6]){SIG_SETMASK, 0, 0, 8}, &set, 1, NULL, 0);
    get_reply(c, 4, &a);
    assert_int_equal(a.value, 0);
    cl_reply_free(&a);
    timed_out(c, SYS_pause, NULL, NULL, 0);
    /* A call that returns in time: no interruption later. */
    cl_syscall(c, 5, 300, SYS_getppid, NULL, NULL, 0, NULL, 0);
    get_reply(c, 5, &a);
    assert_int_equal(a.value, getpid());
    cl_reply_free(&a);
    hour = (struct timespec){.tv_nsec = 600000000};
    cl_syscall(c, 6, 0, SYS_nanosleep, (const uint64_t[6]){0}, &ts, 1, NULL, 0);
    get_reply(c, 6, &a);
    assert_int_equal(a.value, 0);
    cl_reply_free(&a);
}

/* Every kind of fork: the child sends nothing, the parent gets its pid and can wait for it. */
static void test_forks(void **state)
{
    struct client *c = *state;
    int64_t pid = sys(c, SYS_fork, 0, 0, 0, 0);
    int status = -1;
    struct cl_buf out = {.slot = 1, .data = &status, .n = sizeof(status)};
    struct cl_reply a;

    assert_true(pid > 0);
    cl_sh(c, 2, 0, 0, "exit 3"); /* wait4 does not see the reaper */
    get_reply(c, 2, &a);
    assert_int_equal(a.code, 3);
    cl_reply_free(&a);
    cl_syscall(c, 3, 0, SYS_wait4, (const uint64_t[6]){UINT64_MAX, 0, 0, 0}, &out, 1, NULL, 0);
    get_reply(c, 3, &a);
    assert_int_equal(a.value, pid);
    memcpy(&status, a.bufs[0].p, sizeof(status));
    assert_int_equal(status, 0);
    cl_reply_free(&a);
    assert_int_equal(sys(c, SYS_wait4, UINT64_MAX, 0, 0, 0), -ECHILD);
    assert_true(sys(c, SYS_vfork, 0, 0, 0, 0) > 0);
    assert_true(sys(c, SYS_wait4, UINT64_MAX, 0, 0, 0) > 0);
    assert_true(sys(c, SYS_clone, SIGCHLD, 0, 0, 0) > 0);
    assert_true(sys(c, SYS_wait4, UINT64_MAX, 0, 0, 0) > 0);
    assert_int_equal(sys(c, SYS_getpid, 0, 0, 0, 0), c->pid);
}

/* The wait status of the session shows how a system call ended it. */
static void test_ends(void **state)
{
    struct client *c = *state;

    cl_syscall(c, 1, 0, SYS_exit_group, (const uint64_t[6]){7}, NULL, 0, NULL, 0);
    assert_int_equal(cl_recv(c, CL_SOON), 0);
    assert_int_equal(WEXITSTATUS(cl_stop(c)), 7);
    assert_true(cl_start(c, cl_agent));
    cl_syscall(c, 1, 0, SYS_exit, (const uint64_t[6]){8}, NULL, 0, NULL, 0);
    assert_int_equal(cl_recv(c, CL_SOON), 0);
    assert_int_equal(WEXITSTATUS(cl_stop(c)), 8);
    assert_true(cl_start(c, cl_agent));
    cl_syscall(c, 1, 0, SYS_kill, (const uint64_t[6]){(uint64_t)c->pid, SIGKILL}, NULL, 0, NULL, 0);
    assert_int_equal(cl_recv(c, CL_SOON), 0);
    assert_int_equal(WTERMSIG(cl_stop(c)), SIGKILL);
    assert_true(cl_start(c, cl_agent));
    /* The code of the session itself is unmapped. */
    cl_syscall(c, 1, 0, SYS_munmap, (const uint64_t[6]){0, UINT64_C(0x7ffffffff000)}, NULL, 0, NULL, 0);
    assert_int_equal(cl_recv(c, CL_SOON), 0);
    assert_int_equal(WTERMSIG(cl_stop(c)), SIGSEGV);
    assert_true(cl_start(c, cl_agent));
}

/* ---- jobs ---- */

static bool bytes_are(const struct cl_bytes *b, const char *s)
{
    return b->n == strlen(s) && memcmp(b->p, s, b->n) == 0;
}

static uint32_t start_job(struct client *c, const char *cmd)
{
    struct cl_reply a;

    cl_job_start(c, 20, cmd);
    get_reply(c, 20, &a);
    assert_int_equal(a.type, PV_MSG_JOB);
    assert_true(a.job > 0 && a.pid > 1);
    uint32_t job = a.job;
    cl_reply_free(&a);
    return job;
}

static void test_job(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    uint32_t job =
        start_job(c, "echo one; echo bad >&2; read x </dev/null; sleep 0.3; echo two >/dev/stderr; exit 5");

    cl_job_wait(c, 21, job, 100);
    get_reply(c, 21, &a);
    assert_int_equal(a.type, PV_MSG_JOB_STATE);
    assert_int_equal(a.running, 1);
    assert_true(bytes_are(&a.data[1], "one\n") && bytes_are(&a.data[2], "bad\n"));
    cl_reply_free(&a);
    for (uint32_t again = 0; again < 2; again++) { /* may be asked as often as one likes */
        cl_job_wait(c, 22 + again, job, 10000);
        get_reply(c, 22 + again, &a);
        assert_int_equal(a.running, 0);
        assert_int_equal(a.code, 5);
        assert_true(bytes_are(&a.data[1], "one\n") && bytes_are(&a.data[2], "bad\ntwo\n"));
        cl_reply_free(&a);
    }
    cl_job_wait(c, 25, job + 1, 0);
    get_reply(c, 25, &a);
    assert_int_equal(a.errnum, ENOENT);
    cl_reply_free(&a);
}

static void test_job_kill(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    int64_t begin = cl_now_ms();
    uint32_t job = start_job(c, "trap '' TERM; setsid sleep 7077 & sleep 7077");

    cl_u32(c, PV_MSG_JOB_KILL, 30, job);
    get_reply(c, 30, &a);
    assert_int_equal(a.type, PV_MSG_JOB_STATE);
    assert_int_equal(a.running, 0);
    assert_int_equal(a.signal, SIGKILL);
    assert_int_equal(a.code, 128 + SIGKILL);
    cl_reply_free(&a);
    assert_true(cl_now_ms() - begin < 5000);
    assert_int_not_equal(system("pgrep -fx 'sleep 7077' >/dev/null"), 0);
    cl_u32(c, PV_MSG_JOB_KILL, 31, job); /* a second kill replies the same */
    get_reply(c, 31, &a);
    assert_int_equal(a.code, 128 + SIGKILL);
    cl_reply_free(&a);
    cl_job_start(c, 32, "x");
    get_reply(c, 32, &a);
    cl_reply_free(&a);
}

static void test_job_big(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    uint32_t job = start_job(c, "head -c 5000000 /dev/zero; head -c 3000000 /dev/zero >&2");

    cl_job_wait(c, 40, job, 20000);
    get_reply(c, 40, &a);
    assert_int_equal(a.running, 0);
    assert_int_equal(a.data[1].n, 5000000);
    assert_int_equal(a.data[2].n, 3000000);
    cl_reply_free(&a);
    /* Endless output, beyond the limit: the job runs on, and can be killed. */
    job = start_job(c, "yes");
    cl_job_wait(c, 41, job, 300);
    get_reply(c, 41, &a);
    assert_int_equal(a.running, 1);
    cl_reply_free(&a);
    cl_u32(c, PV_MSG_JOB_KILL, 42, job);
    get_reply(c, 42, &a);
    assert_int_equal(a.running, 0);
    assert_true(a.data[1].n <= (64 << 20) + 100);
    cl_reply_free(&a);
}

static void test_job_many(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    uint32_t first = start_job(c, "exit 1"), job = 0;

    cl_job_wait(c, 50, first, 5000);
    get_reply(c, 50, &a);
    assert_int_equal(a.running, 0);
    cl_reply_free(&a);
    /* 255 more fill the table, the next replaces the job that has ended, and then it is full. */
    for (int i = 0; i < 256; i++)
        job = start_job(c, "exec sleep 7078");
    cl_job_wait(c, 51, first, 0);
    get_reply(c, 51, &a);
    assert_int_equal(a.errnum, ENOENT);
    cl_reply_free(&a);
    cl_job_start(c, 52, "true");
    get_reply(c, 52, &a);
    assert_int_equal(a.errnum, EAGAIN);
    cl_reply_free(&a);
    cl_u32(c, PV_MSG_JOB_KILL, 53, job);
    get_reply(c, 53, &a);
    assert_int_equal(a.signal, SIGKILL);
    cl_reply_free(&a);
    start_job(c, "true");
    /* The end of the session ends all jobs. */
    assert_int_equal(cl_stop(c), 0);
    int64_t due = cl_now_ms() + 15000;
    while (system("pgrep -fx 'sleep 7078' >/dev/null") == 0 && cl_now_ms() < due)
        usleep(50000);
    assert_int_not_equal(system("pgrep -fx 'sleep 7078' >/dev/null"), 0);
    assert_true(cl_start(c, cl_agent));
}

static void test_job_cannot(void **state)
{
    struct client *c = *state;
    struct cl_reply a;
    uint8_t buf[256];
    struct pv_enc e = {.p = buf, .cap = sizeof(buf)};

    pv_enc_begin(&e, PV_MSG_JOB_START);
    pv_enc_u32(&e, 1);
    pv_enc_bytes(&e, "", 0);
    pv_enc_u32(&e, 1);
    pv_enc_bytes(&e, "/none/such", 10);
    pv_enc_u32(&e, 0);
    cl_send(c, &e);
    get_reply(c, 1, &a);
    assert_int_equal(a.errnum, ENOENT);
    assert_string_equal(a.text, "exec '/none/such'");
    cl_reply_free(&a);
    uint32_t job = start_job(c, "sleep 7079");
    cl_job_wait(c, 2, job, 60000);
    cl_id(c, PV_MSG_CANCEL, 2);
    get_reply(c, 2, &a);
    assert_int_equal(a.errnum, ECANCELED);
    cl_reply_free(&a);
    cl_job_wait(c, 3, job, 0);
    get_reply(c, 3, &a);
    assert_int_equal(a.running, 1);
    cl_reply_free(&a);
}

static void test_dmesg(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_id(c, PV_MSG_DMESG, 1);
    get_reply(c, 1, &a);
    if (a.type == PV_MSG_ERROR) {
        assert_true(a.errnum == EPERM);
        cl_reply_free(&a);
        skip();
    }
    assert_int_equal(a.type, PV_MSG_OK);
    assert_int_equal(a.value, a.data[0].n);
    if (a.data[0].n)
        assert_true(a.data[0].p[0] == '[' && a.data[0].p[a.data[0].n - 1] == '\n');
    cl_reply_free(&a);
}

static void test_no_status(void **state)
{
    struct client *c = *state;
    struct cl_reply a;

    cl_u32(c, PV_MSG_STATUS, 1, 999999);
    get_reply(c, 1, &a);
    assert_int_equal(a.errnum, ESRCH);
    cl_reply_free(&a);
    cl_u32(c, PV_MSG_SPAWN, 2, 2);
    get_reply(c, 2, &a);
    assert_int_equal(a.errnum, EPROTO);
    cl_reply_free(&a);
}

#define T(f) cmocka_unit_test_setup_teardown(f, cl_setup, cl_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(test_values),       T(test_mmap64),     T(test_buffers),  T(test_pointers),
        T(test_bad_requests), T(test_big),        T(test_timeout),  T(test_forks),
        T(test_ends),         T(test_job),        T(test_job_kill), T(test_job_big),
        T(test_job_many),     T(test_job_cannot), T(test_dmesg),    T(test_no_status),
    };

    if (argc < 2)
        return 2;
    cl_agent = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
