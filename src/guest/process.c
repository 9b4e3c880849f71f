/* SPDX-License-Identifier: MIT */
/*
 * STDIN is sent as far as the agent can keep it (WINDOW), so that SIGNAL and CANCEL get through while the
 * process does not read.
 */
#include "guest/process.h"

#include <inttypes.h>
#include <string.h>

#include "guest/call.h"
#include "guest/guest-state.h"
#include "guest/held.h"
#include "guest/kcov.h"
#include "guest/output.h"
#include "util/clock.h"
#include "util/spool.h"
#include "util/spawn.h"
#include "util/text.h"

enum { WINDOW = 256 * 1024, SIGNALS_MAX = 32, TITLE_MAX = 100, LIVE_CHUNK = 16 * 1024 };

struct pv_process {
    struct pv_held h;
    struct pv_spool *out[2];
    struct pv_exec_result result;
    struct {
        struct pv_buf unsent;
        uint64_t sent, taken; /* bytes */
        bool open;            /* close_stdin was not called */
        bool end_sent;
        bool refused; /* the process has closed its end */
    } in;
    uint8_t signals[SIGNALS_MAX]; /* to be sent, oldest first */
    size_t n_signals;
    bool cancel, cancelled;         /* to be sent; sent */
    const struct pv_process_io *io; /* of a live process; else NULL */
    unsigned rows, columns;         /* to be sent if `resize` */
    bool resize;
};

static struct pv_process *process_of(struct pv_held *h)
{
    return PV_CONTAINER_OF(h, struct pv_process, h);
}

static void process_fini(struct pv_held *h)
{
    struct pv_process *p = process_of(h);

    pv_spool_unref(p->out[0]);
    pv_spool_unref(p->out[1]);
    pv_buf_free(&p->in.unsent);
    free(p);
}

void pv_process_ref(struct pv_process *p)
{
    pv_held_ref(&p->h);
}

void pv_process_unref(struct pv_process *p)
{
    if (p)
        pv_held_unref(&p->h);
}

/* ---- frames of the agent ---- */

static int process_on_output(struct pv_process *p, int which, struct pv_dec *d, struct pv_err *err)
{
    size_t n;
    const void *data = pv_dec_bytes(d, &n);

    if (!pv_dec_done(d))
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed data frame");
    if (p->io) {
        p->io->output(p->io->arg, which, data, n);
    } else if (p->out[which]) {
        pv_spool_add(p->out[which], data, n);
        pv_output_tell(p->h.guest, p->out[which], which ? PV_OUTPUT_STDERR : PV_OUTPUT_STDOUT, data, n);
    }
    return 0;
}

static int process_on_taken(struct pv_process *p, struct pv_dec *d, struct pv_err *err)
{
    uint64_t taken = pv_dec_u64(d);
    uint32_t closed = pv_dec_u32(d);

    if (!pv_dec_done(d) || closed > 1 || taken > p->in.sent || taken < p->in.taken)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed TAKEN");
    p->in.taken = taken;
    if (closed && !p->in.end_sent)
        p->in.refused = true;
    return 0;
}

static int process_frame(struct pv_held *h, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct pv_process *p = process_of(h);

    switch (type) {
    case PV_MSG_STDOUT:
        return process_on_output(p, 0, d, err);
    case PV_MSG_STDERR:
        return process_on_output(p, 1, d, err);
    case PV_MSG_TAKEN:
        return process_on_taken(p, d, err);
    case PV_MSG_COVERAGE:
        return pv_kcov_frame(h->guest, d, err);
    case PV_MSG_EXIT:
        for (int i = 0; i < 2 && !p->io; i++)
            pv_output_end(h->guest, p->out[i]);
        return pv_exec_dec_exit(&p->result, d, err);
    default:
        return pv_call_unexpected(type, err);
    }
}

/* ---- frames to the agent ---- */

static bool next_signal(struct pv_process *p, struct pv_session *s)
{
    struct pv_enc e;

    pv_session_more(s, &e, PV_MSG_SIGNAL);
    pv_enc_u32(&e, p->signals[0]);
    pv_session_more_end(s, &e);
    memmove(p->signals, p->signals + 1, --p->n_signals);
    return true;
}

static bool next_cancel(struct pv_process *p, struct pv_session *s)
{
    struct pv_enc e;

    p->cancel = false;
    p->cancelled = true;
    pv_session_more(s, &e, PV_MSG_CANCEL);
    pv_session_more_end(s, &e);
    return true;
}

static bool next_window(struct pv_process *p, struct pv_session *s)
{
    struct pv_enc e;

    p->resize = false;
    pv_session_more(s, &e, PV_MSG_WINDOW);
    pv_enc_u32(&e, p->rows);
    pv_enc_u32(&e, p->columns);
    pv_session_more_end(s, &e);
    return true;
}

/* Asks the owner of a live process for as much as the agent can keep. */
static void input_fetch(struct pv_process *p)
{
    size_t room = (size_t)(WINDOW - (p->in.sent - p->in.taken));
    char buf[LIVE_CHUNK];
    ssize_t n;

    if (!p->io || !p->in.open || p->in.unsent.len || !room)
        return;
    n = p->io->input(p->io->arg, buf, room < sizeof(buf) ? room : sizeof(buf));
    if (n < 0)
        p->in.open = false;
    else if (n > 0)
        pv_buf_add(&p->in.unsent, buf, (size_t)n);
}

/* The frame is copied into the session's buffer, because pv_process_write may drop the bytes. */
static bool next_input(struct pv_process *p, struct pv_session *s)
{
    size_t room = (size_t)(WINDOW - (p->in.sent - p->in.taken)), n = p->in.unsent.len;
    struct pv_enc e;

    if (p->in.refused) {
        p->in.unsent.len = 0;
        return false;
    }
    if (n > room)
        n = room;
    if (!n && (p->in.unsent.len || p->in.open || p->in.end_sent))
        return false;
    pv_session_more(s, &e, PV_MSG_STDIN);
    pv_enc_bytes(&e, p->in.unsent.data, n);
    pv_session_more_end(s, &e);
    pv_buf_consume(&p->in.unsent, n);
    p->in.sent += n;
    if (!n)
        p->in.end_sent = true;
    return true;
}

static bool process_next(struct pv_held *h, struct pv_session *s)
{
    struct pv_process *p = process_of(h);

    if (p->n_signals)
        return next_signal(p, s);
    if (p->cancel)
        return next_cancel(p, s);
    if (p->resize)
        return next_window(p, s);
    if (!p->in.refused)
        input_fetch(p);
    return next_input(p, s);
}

/* ---- its start ---- */

#define NAME_HEAD "the process '"

/* Its name for messages: the command, cut and clean. */
static char *process_make_name(const struct pv_exec *x)
{
    const struct pv_strv *a = &x->argv;
    bool shell = a->n == 3 && !strcmp(a->v[0], "/bin/sh") && !strcmp(a->v[1], "-c");
    cleanup_buf struct pv_buf clean = {0};

    pv_text_fit(&clean, a->v[shell ? 2 : 0], strlen(a->v[shell ? 2 : 0]), TITLE_MAX);
    return pv_xasprintf(NAME_HEAD "%s'", clean.data ? clean.data : "");
}

static struct pv_process *process_start(struct pv_agent *a, const struct pv_exec *x, bool open_stdin,
                                        const struct pv_process_io *io, const char *opened,
                                        struct pv_err *err)
{
    struct pv_process *p;
    struct pv_enc e;

    if (pv_call_check_command(x, "start", err) < 0)
        return NULL;
    p = pv_xcalloc(1, sizeof(*p));
    p->h = (struct pv_held){.what = process_make_name(x),
                            .opened = opened ? pv_xstrdup(opened) : NULL,
                            .frame = process_frame,
                            .next = process_next,
                            .fini = process_fini};
    p->io = io;
    for (int i = 0; i < 2 && !io; i++)
        p->out[i] = pv_spool_new(a->guest->env->host.log_dir, 0, x->max_output);
    p->in.open = open_stdin;
    p->in.end_sent = !x->in && !open_stdin;
    if (x->in)
        pv_buf_add(&p->in.unsent, x->in, x->in_len);
    if (pv_held_begin(&p->h, a, PV_MSG_EXEC, "start a process", &e, err) == 0) {
        if (!io)
            pv_output_tell_command(a->guest, x, " &");
        pv_enc_exec(&e, a, x, PV_EXEC_PROCESS | (x->in || open_stdin ? PV_EXEC_STDIN : 0));
        if (pv_held_start(&p->h, &e, "start", err) == 0)
            return p;
    }
    pv_process_unref(p);
    return NULL;
}

struct pv_process *pv_process_start(struct pv_agent *a, const struct pv_exec *x, bool open_stdin,
                                    const char *opened, struct pv_err *err)
{
    return process_start(a, x, open_stdin, NULL, opened, err);
}

struct pv_process *pv_process_start_live(struct pv_agent *a, const struct pv_exec *x,
                                         const struct pv_process_io *io, const char *opened,
                                         struct pv_err *err)
{
    return process_start(a, x, true, io, opened, err);
}

/* ---- queries ---- */

uint32_t pv_process_pid(const struct pv_process *p)
{
    return p->h.pid;
}

const char *pv_process_name(const struct pv_process *p)
{
    return p->h.what;
}

const char *pv_process_title(const struct pv_process *p, size_t *n)
{
    *n = strlen(p->h.what) - strlen(NAME_HEAD "'");
    return p->h.what + strlen(NAME_HEAD);
}

struct pv_spool *pv_process_output(const struct pv_process *p, int which)
{
    return p->out[which];
}

bool pv_process_running(struct pv_process *p)
{
    return pv_held_is_open(&p->h);
}

int pv_process_wait(struct pv_process *p, int64_t deadline, struct pv_err *err)
{
    return pv_held_wait(&p->h, deadline, "wait for a process", err);
}

void pv_process_why(struct pv_process *p, struct pv_err *err)
{
    if (!pv_held_is_open(&p->h) && p->h.state == PV_HELD_LOST)
        pv_held_why(&p->h, "read a process's output", err);
}

const struct pv_exec_result *pv_process_result(const struct pv_process *p)
{
    return &p->result;
}

/* ---- driving it ---- */

void pv_process_kick(struct pv_process *p)
{
    if (pv_held_is_open(&p->h))
        pv_session_kick(p->h.session);
}

void pv_process_signal(struct pv_process *p, int sig)
{
    if (!pv_held_is_open(&p->h) || p->n_signals == SIGNALS_MAX)
        return;
    p->signals[p->n_signals++] = (uint8_t)sig;
    pv_process_kick(p);
}

void pv_process_resize(struct pv_process *p, unsigned rows, unsigned columns)
{
    p->rows = rows;
    p->columns = columns;
    p->resize = true;
    pv_process_kick(p);
}

void pv_process_cancel(struct pv_process *p)
{
    if (!p->cancelled)
        p->cancel = true;
    pv_process_kick(p);
}

void pv_process_let_go(struct pv_process *p)
{
    p->io = NULL;
    p->in.open = false;
    pv_held_close(&p->h);
}

int pv_process_kill(struct pv_process *p, int64_t timeout_ns, struct pv_err *err)
{
    int r;

    if (!pv_held_is_open(&p->h))
        return 0;
    pv_process_cancel(p);
    r = pv_process_wait(p, pv_guest_deadline(p->h.guest, timeout_ns), err);
    if (r > 0)
        pv_err_set(err, PV_E_TIMEOUT,
                   "kill: %s has not ended within %.3g s (a process that cannot be interrupted?)", p->h.what,
                   (double)timeout_ns / 1e9);
    return r == 0 ? 0 : -1;
}

struct write_wait {
    struct pv_process *p;
    uint64_t upto;
};

static bool write_is_over(void *arg)
{
    const struct write_wait *w = arg;

    return !pv_held_is_open(&w->p->h) || w->p->in.refused || w->p->in.taken >= w->upto;
}

/* Why all bytes were not taken; r: what pv_guest_wait returned. */
static int write_failed(struct pv_process *p, uint64_t upto, int r, int64_t timeout_ns, struct pv_err *err)
{
    uint64_t left = upto - p->in.taken;
    char text[64];

    p->in.unsent.len = 0;
    if (r < 0)
        return -1;
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT,
                          "write: %s did not read its stdin: %" PRIu64 " bytes were not taken within %.3g s",
                          p->h.what, left, (double)timeout_ns / 1e9);
    if (p->h.state == PV_HELD_LOST)
        return pv_held_why(&p->h, "write to a process", err);
    if (p->h.state == PV_HELD_ENDED) {
        pv_exit_words(p->result.exit_code, p->result.timed_out, text);
        return pv_err_set(err, PV_E_GUEST, "write: %s has ended with %s", p->h.what, text);
    }
    return pv_err_set(err, PV_E_GUEST, "write: %s has closed its stdin", p->h.what);
}

int pv_process_write(struct pv_process *p, const void *data, size_t n, int64_t timeout_ns, struct pv_err *err)
{
    struct write_wait w = {p, p->in.sent + p->in.unsent.len + n};
    int r = 0;

    if (!p->in.open)
        return pv_err_set(err, PV_E_USAGE, "write: the stdin of %s is not open (start it with stdin = true)",
                          p->h.what);
    if (pv_held_is_open(&p->h)) {
        pv_buf_add(&p->in.unsent, data, n);
        pv_process_kick(p);
        r = pv_guest_wait(p->h.guest, write_is_over, &w, pv_guest_deadline(p->h.guest, timeout_ns), err);
    }
    if (r == 0 && p->in.taken >= w.upto)
        return 0;
    return write_failed(p, w.upto, r, timeout_ns, err);
}

void pv_process_close_stdin(struct pv_process *p)
{
    p->in.open = false;
    pv_process_kick(p);
}
