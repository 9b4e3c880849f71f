/* SPDX-License-Identifier: MIT */
#include "lua/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/path.h"

enum { HISTORY_LINES = 1000, LINE_MAX_BYTES = 1 << 20 };

struct pv_prompt {
    struct pv_prompt_opts o;
    EditLine *el; /* NULL: no terminal, or one without an editor */
    History *history;
    FILE *in, *out;
    const char *prompt;
    bool terminal;          /* also a dumb one */
    bool ready, ended;      /* input can be read; the end of a pipe was read */
    struct pv_watch watch;  /* of the input */
    struct pv_watch signal; /* of signal_fd */
    struct sigaction before;
    struct pv_buf line; /* the returned one */
};

/* Of the pipe: read and not returned, which the next prompt of this process returns. */
static struct pv_buf rest;

/* For the handler. */
static struct {
    int fd;
    volatile sig_atomic_t came;
    void (*fn)(void);
} interrupt = {.fd = -1};

static void on_sigint(int sig)
{
    static const uint64_t one = 1;
    int e = errno;

    (void)sig;
    interrupt.came = 1;
    if (interrupt.fn)
        interrupt.fn();
    if (write(interrupt.fd, &one, sizeof(one)) < 0) {
        /* A full counter has woken the loop already. */
    }
    errno = e;
}

static void on_signal_fd(struct pv_watch *w, uint32_t events)
{
    uint64_t n;

    (void)events;
    if (read(w->fd, &n, sizeof(n)) < 0)
        return; /* it was read already */
}

static void on_input(struct pv_watch *w, uint32_t events)
{
    (void)events;
    PV_CONTAINER_OF(w, struct pv_prompt, watch)->ready = true;
}

void pv_prompt_on_interrupt(void (*fn)(void))
{
    interrupt.fn = fn;
}

bool pv_prompt_interrupted(struct pv_prompt *p)
{
    bool came = interrupt.came;

    (void)p;
    interrupt.came = 0;
    return came;
}

bool pv_prompt_is_terminal(const struct pv_prompt *p)
{
    return p->terminal;
}

/* ---- input ---- */

static bool prompt_is_woken(void *arg)
{
    const struct pv_prompt *p = arg;

    return p->ready || interrupt.came;
}

/* Runs the loop until the input can be read; false: SIGINT came first. */
static bool prompt_wait(struct pv_prompt *p)
{
    struct pv_err err;

    p->ready = false;
    if (pv_loop_add(p->o.loop, &p->watch, p->o.in, EPOLLIN, &err) < 0)
        return true; /* a file, which can always be read */
    pv_loop_run(p->o.loop, prompt_is_woken, p, PV_FOREVER, &err);
    pv_loop_del(p->o.loop, &p->watch);
    return p->ready;
}

/* One character for libedit; 0: the end, -1: none, with errno EINTR after SIGINT. */
static int prompt_getc(EditLine *el, wchar_t *c)
{
    struct pv_prompt *p;
    mbstate_t state = {0};

    el_get(el, EL_CLIENTDATA, &p);
    for (;;) {
        char byte;
        ssize_t n;
        size_t r;

        if (!prompt_wait(p)) {
            errno = EINTR;
            return -1;
        }
        n = read(p->o.in, &byte, 1);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            return (int)n;
        r = mbrtowc(c, &byte, 1, &state);
        if (r == (size_t)-2)
            continue; /* the character has more bytes */
        if (r == (size_t)-1)
            *c = (wchar_t)'?';
        return 1;
    }
}

static char *prompt_text(EditLine *el)
{
    struct pv_prompt *p;

    el_get(el, EL_CLIENTDATA, &p);
    return (char *)p->prompt;
}

static enum pv_prompt_read prompt_read_terminal(struct pv_prompt *p, const char **line)
{
    int n = 0;
    const char *got = el_gets(p->el, &n);
    HistEvent ev;

    if (interrupt.came) {
        interrupt.came = 0;
        el_reset(p->el);
        fputs("^C\n", p->out);
        fflush(p->out);
        return PV_PROMPT_INTERRUPTED;
    }
    if (!got || n <= 0) {
        fputs("\n", p->out);
        fflush(p->out);
        return PV_PROMPT_END;
    }
    p->line.len = 0;
    pv_buf_add(&p->line, got, (size_t)n - (got[n - 1] == '\n'));
    if (p->line.len)
        history(p->history, &ev, H_ENTER, p->line.data);
    *line = p->line.data;
    return PV_PROMPT_LINE;
}

static enum pv_prompt_read prompt_read_pipe(struct pv_prompt *p, const char **line)
{
    for (;;) {
        char *newline = rest.len ? memchr(rest.data, '\n', rest.len) : NULL;
        size_t n = newline ? (size_t)(newline - rest.data) : rest.len;
        ssize_t got;

        if (newline || (p->ended && n)) {
            p->line.len = 0;
            pv_buf_add(&p->line, rest.data, n);
            pv_buf_consume(&rest, n + (newline != NULL));
            *line = p->line.data;
            return PV_PROMPT_LINE;
        }
        if (p->ended || rest.len > LINE_MAX_BYTES)
            return PV_PROMPT_END;
        if (!prompt_wait(p)) {
            interrupt.came = 0;
            return PV_PROMPT_INTERRUPTED;
        }
        got = read(p->o.in, pv_buf_reserve(&rest, 4096), 4096);
        if (got > 0)
            rest.len += (size_t)got;
        else if (got == 0 || (errno != EINTR && errno != EAGAIN))
            p->ended = true;
    }
}

enum pv_prompt_read pv_prompt_read(struct pv_prompt *p, const char *prompt, const char **line)
{
    p->prompt = prompt;
    if (p->el)
        return prompt_read_terminal(p, line);
    if (p->terminal)
        dprintf(p->o.out, "%s", prompt);
    return prompt_read_pipe(p, line);
}

/* ---- completion ---- */

static size_t common_prefix(const struct pv_strv *words)
{
    size_t n = strlen(words->v[0]);

    for (size_t i = 1; i < words->n; i++)
        for (size_t k = 0; k < n; k++)
            if (words->v[i][k] != words->v[0][k])
                n = k;
    return n;
}

/* Lists the words in columns below the line. */
static void list_words(struct pv_prompt *p, const struct pv_strv *words)
{
    struct winsize size = {0};
    size_t width = 0, columns;

    for (size_t i = 0; i < words->n; i++)
        if (strlen(words->v[i]) + 2 > width)
            width = strlen(words->v[i]) + 2;
    ioctl(p->o.out, TIOCGWINSZ, &size);
    columns = (size.ws_col ? size.ws_col : 80) / width;
    if (!columns)
        columns = 1;
    for (size_t i = 0; i < words->n; i++)
        fprintf(p->out, "%s%-*s", i % columns ? "" : "\n", (int)width, words->v[i]);
    fputs("\n", p->out);
    fflush(p->out);
}

static unsigned char prompt_complete(EditLine *el, int ch)
{
    const LineInfo *info = el_line(el);
    cleanup_strv struct pv_strv words = {0};
    cleanup_free char *text = pv_xstrndup(info->buffer, (size_t)(info->cursor - info->buffer));
    cleanup_free char *insert = NULL;
    struct pv_prompt *p;
    size_t n = 0, common;

    (void)ch;
    el_get(el, EL_CLIENTDATA, &p);
    p->o.complete(text, &n, &words, p->o.arg);
    if (!words.n)
        return CC_REFRESH_BEEP;
    common = common_prefix(&words);
    if (common > n) {
        insert = pv_xstrndup(words.v[0] + n, common - n);
        el_insertstr(el, insert);
        return CC_REFRESH;
    }
    if (words.n > 1)
        list_words(p, &words);
    return CC_REDISPLAY;
}

/* ---- life ---- */

static void history_open(struct pv_prompt *p)
{
    HistEvent ev;

    p->history = history_init();
    history(p->history, &ev, H_SETSIZE, HISTORY_LINES);
    history(p->history, &ev, H_SETUNIQUE, 1);
    if (p->o.history)
        history(p->history, &ev, H_LOAD, p->o.history);
    el_set(p->el, EL_HIST, history, p->history);
}

static void editor_open(struct pv_prompt *p)
{
    setlocale(LC_CTYPE, "");
    p->el = el_init("provium", p->in, p->out, p->out);
    if (!p->el)
        return; /* lines without editing */
    el_set(p->el, EL_CLIENTDATA, p);
    el_set(p->el, EL_PROMPT, prompt_text);
    el_set(p->el, EL_EDITOR, "emacs");
    el_set(p->el, EL_GETCFN, prompt_getc);
    if (p->o.complete) {
        el_set(p->el, EL_ADDFN, "provium-complete", "completes names", prompt_complete);
        el_set(p->el, EL_BIND, "^I", "provium-complete", NULL);
    }
    el_set(p->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    history_open(p);
}

struct pv_prompt *pv_prompt_new(const struct pv_prompt_opts *o, struct pv_err *err)
{
    struct pv_prompt *p = pv_xcalloc(1, sizeof(*p));
    struct sigaction sa = {.sa_handler = on_sigint};

    p->o = *o;
    p->watch = (struct pv_watch){.fd = -1, .fn = on_input};
    p->signal = (struct pv_watch){.fd = -1, .fn = on_signal_fd};
    interrupt.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    interrupt.came = 0;
    if (interrupt.fd < 0) {
        pv_err_sys(err, errno, "eventfd");
        free(p);
        return NULL;
    }
    if (pv_loop_add(o->loop, &p->signal, interrupt.fd, EPOLLIN, err) < 0) {
        pv_close(&interrupt.fd);
        free(p);
        return NULL;
    }
    sigaction(SIGINT, &sa, &p->before);
    p->terminal = isatty(o->in) && isatty(o->out);
    if (p->terminal && getenv("TERM") && strcmp(getenv("TERM"), "dumb") != 0) {
        p->in = fdopen(fcntl(o->in, F_DUPFD_CLOEXEC, 3), "r");
        p->out = fdopen(fcntl(o->out, F_DUPFD_CLOEXEC, 3), "w");
        if (p->in && p->out)
            editor_open(p);
    }
    return p;
}

void pv_prompt_free(struct pv_prompt *p)
{
    HistEvent ev;

    if (!p)
        return;
    if (p->el) {
        if (p->o.history && history(p->history, &ev, H_SAVE, p->o.history) >= 0)
            chmod(p->o.history, 0600);
        history_end(p->history);
        el_end(p->el);
    }
    if (p->in)
        fclose(p->in);
    if (p->out)
        fclose(p->out);
    sigaction(SIGINT, &p->before, NULL);
    interrupt.fn = NULL;
    pv_loop_del(p->o.loop, &p->watch);
    pv_loop_del(p->o.loop, &p->signal);
    pv_close(&interrupt.fd);
    pv_buf_free(&p->line);
    free(p);
}
