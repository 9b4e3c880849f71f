/* SPDX-License-Identifier: MIT */
#include "request.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "reply.h"
#include "verb.h"

void ag_request_close(struct ag_session *s)
{
    if (s->verb && s->verb->close)
        s->verb->close(s);
}

void ag_request_end(struct ag_session *s)
{
    ag_request_close(s);
    s->verb = NULL;
    s->in.done = 0;
}

void ag_request_fail(struct ag_session *s, int errnum, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    ag_reply_verror(s, s->id, errnum, fmt, ap);
    va_end(ap);
    ag_request_end(s);
}

bool ag_bytes_valid(struct pv_dec d)
{
    size_t n;

    pv_dec_bytes(&d, &n);
    return pv_dec_done(&d);
}

int64_t ag_due_with_room(struct ag_session *s)
{
    return ag_data_room(s) ? 0 : INT64_MAX;
}

void *ag_keep(struct ag_session *s, const struct ag_kept_kind *kind)
{
    for (size_t i = 0; i < AG_KEPT_MAX; i++) {
        if (s->kept[i].kind == kind)
            return s->kept[i].memory;
        if (s->kept[i].kind)
            continue;
        void *p = mmap(NULL, kind->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
            return NULL;
        s->kept[i].kind = kind;
        s->kept[i].memory = p;
        return p;
    }
    errno = ENOMEM;
    return NULL;
}

void ag_keep_close(struct ag_session *s, bool release)
{
    for (size_t i = 0; i < AG_KEPT_MAX && s->kept[i].kind; i++) {
        s->kept[i].kind->close(s->kept[i].memory);
        if (release) {
            munmap(s->kept[i].memory, s->kept[i].kind->size);
            s->kept[i].kind = NULL;
        }
    }
}
