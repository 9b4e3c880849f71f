/* SPDX-License-Identifier: MIT */
#include "childproto/result.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "childproto/event.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/sock.h"

struct pv_result {
    int fd;
    void (*deliver)(const struct pv_event *ev, void *arg); /* in place of fd */
    void *deliver_arg;
    uint32_t n_tests, n_findings;
    bool want_steps;
    uint32_t n_steps, n_calls, n_cut; /* sent, calls among them, not sent */
    struct open_step {
        uint32_t id;
        char vm[100];
    } open[16]; /* the innermost open steps: their ends need the VM of their track */
    unsigned n_open;
    int64_t (*console_size)(const char *vm, void *arg);
    void *console_arg;
    unsigned char buf[PV_EVENT_MAX];
};

struct pv_result *pv_result_new(int fd)
{
    struct pv_result *r = pv_xcalloc(1, sizeof(*r));

    r->fd = fd;
    return r;
}

struct pv_result *pv_result_new_local(void (*deliver)(const struct pv_event *ev, void *arg), void *arg,
                                      struct pv_err *err)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC); /* the number must not be that of another socket */
    struct pv_result *r;

    if (fd < 0) {
        pv_err_sys(err, errno, "cannot open /dev/null");
        return NULL;
    }
    r = pv_result_new(fd);
    r->deliver = deliver;
    r->deliver_arg = arg;
    return r;
}

int pv_result_fd(const struct pv_result *r)
{
    return r->fd;
}

void pv_result_free(struct pv_result *r)
{
    if (!r)
        return;
    pv_close(&r->fd);
    free(r);
}

static void result_send(struct pv_result *r, struct pv_event ev)
{
    size_t n;

    ev.name_len = ev.name ? strlen(ev.name) : 0;
    ev.text_len = ev.text ? strlen(ev.text) : 0;
    if (r->deliver) {
        r->deliver(&ev, r->deliver_arg);
        return;
    }
    n = pv_event_encode(&ev, r->buf);
    if (pv_send(r->fd, r->buf, n, 0) < 0 && (errno == ENOMEM || errno == ENOBUFS)) {
        /*
         * A verdict without this event could be wrong; the end of the process fails the file.  Other errors say that
         * there is no supervisor.
         */
        fprintf(stderr, "provium: cannot tell the supervisor of the file: %s\n", strerror(errno));
        abort();
    }
}

uint32_t pv_result_test_begin(struct pv_result *r, const char *name)
{
    result_send(
        r, (struct pv_event){.type = PV_EV_TEST_BEGIN, .id = r->n_tests, .name = name, .time_ns = pv_now()});
    return r->n_tests++;
}

void pv_result_test_meta(struct pv_result *r, uint32_t id, const char *key, const char *value, bool in_list)
{
    result_send(
        r, (struct pv_event){.type = PV_EV_TEST_META, .id = id, .name = key, .text = value, .ok = in_list});
}

void pv_result_test_expect(struct pv_result *r, uint32_t id, const char *reason)
{
    result_send(r, (struct pv_event){.type = PV_EV_TEST_EXPECT, .id = id, .text = reason});
}

void pv_result_test_attempt(struct pv_result *r, uint32_t id, enum pv_class cls, const char *msg,
                            int64_t duration_ns)
{
    result_send(r, (struct pv_event){.type = PV_EV_TEST_ATTEMPT,
                                     .outcome = PV_FAIL,
                                     .cls = cls,
                                     .id = id,
                                     .text = msg,
                                     .duration_ns = duration_ns});
}

void pv_result_note(struct pv_result *r, uint32_t id, const char *text)
{
    result_send(r, (struct pv_event){.type = PV_EV_NOTE, .id = id, .text = text});
}

void pv_result_test_end(struct pv_result *r, uint32_t id, enum pv_outcome outcome, enum pv_class cls,
                        const char *msg, int64_t duration_ns)
{
    result_send(r, (struct pv_event){.type = PV_EV_TEST_END,
                                     .outcome = outcome,
                                     .cls = cls,
                                     .id = id,
                                     .text = msg,
                                     .duration_ns = duration_ns,
                                     .time_ns = pv_now()});
}

const char *pv_step_name(enum pv_step kind)
{
    static const char *const names[] = {"wait", "build", "boot", "resume", "call", "network", "test"};
    _Static_assert(sizeof(names) / sizeof(names[0]) == PV_STEP_COUNT, "a name for every kind of step");

    return kind < PV_STEP_COUNT ? names[kind] : "call";
}

bool pv_is_network_log(const char *vm)
{
    return strncmp(vm, PV_NETWORK_LOG, sizeof(PV_NETWORK_LOG) - 1) == 0;
}

void pv_result_want_steps(struct pv_result *r)
{
    r->want_steps = true;
}

void pv_result_set_console_size(struct pv_result *r, int64_t (*size)(const char *vm, void *arg), void *arg)
{
    r->console_size = size;
    r->console_arg = arg;
}

static int64_t result_console_size(const struct pv_result *r, const char *vm)
{
    return vm && *vm && r->console_size ? r->console_size(vm, r->console_arg) : -1;
}

uint32_t pv_result_step_begin(struct pv_result *r, const char *vm, enum pv_step kind, const char *text)
{
    struct open_step *open;

    if (!r->want_steps)
        return PV_NO_STEP;
    /* A loop of ten thousand calls must leave room for the boot that comes after it. */
    if (r->n_steps == PV_STEPS_MAX || (kind == PV_STEP_CALL && r->n_calls == PV_STEP_CALLS_MAX)) {
        r->n_cut++;
        return PV_NO_STEP;
    }
    r->n_calls += kind == PV_STEP_CALL;
    if (r->n_open == PV_ARRAY_LEN(r->open))
        memmove(r->open, r->open + 1, --r->n_open * sizeof(r->open[0]));
    open = &r->open[r->n_open++];
    open->id = r->n_steps;
    snprintf(open->vm, sizeof(open->vm), "%s", vm ? vm : "");
    result_send(r, (struct pv_event){.type = PV_EV_STEP_BEGIN,
                                     .id = r->n_steps,
                                     .kind = kind,
                                     .name = vm,
                                     .text = text,
                                     .time_ns = pv_now(),
                                     .console = result_console_size(r, vm)});
    return r->n_steps++;
}

void pv_result_step_end(struct pv_result *r, uint32_t id, bool ok)
{
    int64_t console = -1;

    if (id == PV_NO_STEP)
        return;
    for (unsigned i = r->n_open; i > 0; i--)
        if (r->open[i - 1].id == id) {
            console = result_console_size(r, r->open[i - 1].vm);
            r->n_open--;
            memmove(&r->open[i - 1], &r->open[i], (r->n_open - (i - 1)) * sizeof(r->open[0]));
            break;
        }
    result_send(r, (struct pv_event){
                       .type = PV_EV_STEP_END, .id = id, .ok = ok, .time_ns = pv_now(), .console = console});
}

void pv_result_file(struct pv_result *r, enum pv_outcome outcome, enum pv_class cls, const char *msg)
{
    if (r->n_cut)
        result_send(r, (struct pv_event){.type = PV_EV_STEPS_CUT, .id = r->n_cut});
    result_send(r, (struct pv_event){.type = PV_EV_FILE, .outcome = outcome, .cls = cls, .text = msg});
}

uint32_t pv_result_finding(struct pv_result *r, uint32_t test_id, const char *vm, enum pv_class cls,
                           enum pv_outcome outcome, const char *headline, const char *excerpt)
{
    cleanup_free char *text = pv_xasprintf("%s\n%s", headline, excerpt ? excerpt : "");

    result_send(
        r,
        (struct pv_event){
            .type = PV_EV_FINDING, .outcome = outcome, .cls = cls, .id = test_id, .name = vm, .text = text});
    return r->n_findings++;
}

void pv_result_finding_places(struct pv_result *r, uint32_t finding_id, const char *excerpt)
{
    result_send(r, (struct pv_event){.type = PV_EV_FINDING_PLACES, .id = finding_id, .text = excerpt});
}

void pv_result_finding_handled(struct pv_result *r, uint32_t finding_id)
{
    result_send(r, (struct pv_event){.type = PV_EV_FINDING_HANDLED, .id = finding_id});
}

void pv_result_log(struct pv_result *r, const char *vm, const char *path)
{
    result_send(r, (struct pv_event){.type = PV_EV_LOG, .name = vm, .text = path});
}

void pv_result_console(struct pv_result *r, uint32_t id, const char *vm, const char *tail)
{
    result_send(r, (struct pv_event){.type = PV_EV_CONSOLE, .id = id, .name = vm, .text = tail});
}

void pv_result_notice(struct pv_result *r, const char *line)
{
    result_send(r, (struct pv_event){.type = PV_EV_NOTICE, .text = line});
}

void pv_result_phase(struct pv_result *r, const char *phase)
{
    result_send(r, (struct pv_event){.type = PV_EV_PHASE, .text = phase});
}

void pv_result_vm(struct pv_result *r, const char *vm, const char *state)
{
    result_send(r, (struct pv_event){.type = PV_EV_VM, .name = vm, .text = state});
}

void pv_result_live(struct pv_result *r, const char *vm, enum pv_live_kind kind, const char *text)
{
    result_send(r, (struct pv_event){.type = PV_EV_LIVE, .id = kind, .name = vm, .text = text});
}

void pv_result_input(struct pv_result *r, const char *path, enum pv_input_kind kind, uint64_t stamp)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRIx64, stamp);
    result_send(r, (struct pv_event){.type = PV_EV_INPUT, .id = kind, .name = path, .text = text});
}

void pv_result_saving(struct pv_result *r, bool on)
{
    result_send(r, (struct pv_event){.type = PV_EV_SAVING, .ok = on});
}

void pv_result_saved(struct pv_result *r, const char *path, const char *vms)
{
    result_send(r, (struct pv_event){.type = PV_EV_SAVED, .name = path, .text = vms});
}

void pv_result_core(struct pv_result *r, const char *vm, const char *path, const char *format,
                    const char *vmlinux)
{
    cleanup_free char *text = pv_xasprintf("%s\n%s\n%s", path, format, vmlinux);

    result_send(r, (struct pv_event){.type = PV_EV_CORE, .name = vm, .text = text});
}
