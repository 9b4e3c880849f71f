/* SPDX-License-Identifier: MIT */
#include "pool/fix.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "util/clock.h"
#include "util/mem.h"
#include "util/test.h"

static uint64_t on_used(struct pv_pool_file *f, void *arg)
{
    struct fix *x = arg;

    return f == &x->a ? x->used_of_a : 0;
}

static void on_waits(struct pv_pool_file *f, bool does, void *arg)
{
    struct fix *x = arg;

    x->waiter = f;
    x->waits += does ? 1 : -1;
}

static void on_restart(struct pv_pool_file *f, const char *why, void *arg)
{
    assert_true(why && *why);
    ((struct fix *)arg)->restarted = f;
}

static void on_fail(struct pv_pool_file *f, const char *fault, void *arg)
{
    struct fix *x = arg;

    assert_null(x->failed);
    x->failed = f;
    snprintf(x->fault, sizeof(x->fault), "%s", fault);
}

int fix_set_up(void **state)
{
    struct fix *x = pv_xcalloc(1, sizeof(*x));

    x->loop = pv_loop_new(NULL);
    x->s = pv_pool_server_new(x->loop, &(struct pv_pool_server_opts){.memory = 1024 * M,
                                                                     .used = on_used,
                                                                     .waits = on_waits,
                                                                     .restart = on_restart,
                                                                     .fail = on_fail,
                                                                     .arg = x});
    *state = x;
    return 0;
}

int fix_tear_down(void **state)
{
    struct fix *x = *state;

    pv_pool_server_leave(x->s, &x->a);
    pv_pool_server_leave(x->s, &x->b);
    pv_pool_server_free(x->s);
    pv_loop_free(x->loop);
    free(x);
    return 0;
}

int fix_join(struct fix *x, struct pv_pool_file *f)
{
    int fd = pv_pool_server_join(x->s, f, NULL);

    assert_true(fd >= 0);
    return fd;
}

void fix_run(struct fix *x)
{
    for (int i = 0; i < 4; i++)
        pv_loop_run(x->loop, NULL, NULL, pv_now(), NULL);
}

void fix_say(struct fix *x, int fd, uint32_t op, uint32_t id, uint64_t memory)
{
    struct pv_lease_request request = {.op = op, .id = id, .memory = memory, .cpus = 1};

    assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
    fix_run(x);
}

void fix_assert_reply(int fd, uint32_t status, uint32_t id, const char *text)
{
    struct pv_lease_reply a;
    ssize_t n = recv(fd, &a, sizeof(a), MSG_DONTWAIT);

    if (!status) {
        assert_true(n <= 0);
        return;
    }
    assert_int_equal(n, sizeof(a));
    assert_int_equal(a.status, status);
    assert_int_equal(a.id, id);
    assert_string_equal(a.text, text);
}
