/* SPDX-License-Identifier: MIT */
#include "runner/result.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "runner/event.h"
#include "util/mem.h"

struct pv_result {
    int fd;
    uint32_t n_tests;
    unsigned char buf[PV_EVENT_MAX];
};

struct pv_result *pv_result_new(int fd)
{
    struct pv_result *r = pv_xcalloc(1, sizeof(*r));

    r->fd = fd;
    return r;
}

void pv_result_free(struct pv_result *r)
{
    if (!r)
        return;
    pv_close(&r->fd);
    free(r);
}

static void say(struct pv_result *r, struct pv_event ev)
{
    size_t n;

    ev.name_len = ev.name ? strlen(ev.name) : 0;
    ev.text_len = ev.text ? strlen(ev.text) : 0;
    n = pv_event_encode(&ev, r->buf);
    while (send(r->fd, r->buf, n, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

uint32_t pv_result_test_begin(struct pv_result *r, const char *name)
{
    say(r, (struct pv_event){.type = PV_EV_TEST_BEGIN, .id = r->n_tests, .name = name});
    return r->n_tests++;
}

void pv_result_test_end(struct pv_result *r, uint32_t id, enum pv_outcome outcome, const char *msg,
                        int64_t duration_ns)
{
    say(r,
        (struct pv_event){
            .type = PV_EV_TEST_END, .outcome = outcome, .id = id, .text = msg, .duration_ns = duration_ns});
}

void pv_result_file(struct pv_result *r, enum pv_outcome outcome, const char *msg)
{
    say(r, (struct pv_event){.type = PV_EV_FILE, .outcome = outcome, .text = msg});
}

void pv_result_log(struct pv_result *r, const char *vm, const char *path)
{
    say(r, (struct pv_event){.type = PV_EV_LOG, .name = vm, .text = path});
}

void pv_result_console(struct pv_result *r, uint32_t id, const char *vm, const char *tail)
{
    say(r, (struct pv_event){.type = PV_EV_CONSOLE, .id = id, .name = vm, .text = tail});
}

void pv_result_notice(struct pv_result *r, const char *line)
{
    say(r, (struct pv_event){.type = PV_EV_NOTICE, .text = line});
}

void pv_result_phase(struct pv_result *r, const char *what)
{
    say(r, (struct pv_event){.type = PV_EV_PHASE, .text = what});
}
