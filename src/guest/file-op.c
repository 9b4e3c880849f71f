/* SPDX-License-Identifier: MIT */
#include "guest/file-op.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "guest/call.h"

enum { NAMES_MAX = 4 << 20, NAMES_BYTES_MAX = 256 << 20, NAME_MAX_BYTES = 255 };

/* ---- STAT ---- */

struct stat_call {
    struct pv_call c;
    struct pv_file_stat *st;
};

static void dec_time(struct pv_dec *d, struct pv_file_time *t)
{
    t->sec = (int64_t)pv_dec_u64(d);
    t->nsec = pv_dec_u32(d);
}

static int stat_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct pv_file_stat *st = PV_CONTAINER_OF(c, struct stat_call, c)->st;

    if (type != PV_MSG_FILE_STAT)
        return pv_call_unexpected(type, err);
    st->type = pv_dec_u32(d);
    st->mode = pv_dec_u32(d);
    st->uid = pv_dec_u32(d);
    st->gid = pv_dec_u32(d);
    st->size = pv_dec_u64(d);
    st->nlink = pv_dec_u64(d);
    st->ino = pv_dec_u64(d);
    st->dev = pv_dec_u64(d);
    st->rdev = pv_dec_u64(d);
    dec_time(d, &st->atime);
    dec_time(d, &st->mtime);
    dec_time(d, &st->ctime);
    if (!pv_dec_done(d) || st->type < PV_TYPE_FILE || st->type > PV_TYPE_CHAR || st->mode > 07777 ||
        st->size > INT64_MAX || st->atime.nsec > 999999999 || st->mtime.nsec > 999999999 ||
        st->ctime.nsec > 999999999)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed FILE_STAT");
    return 1;
}

int pv_agent_stat(struct pv_agent *a, const char *path, bool follow, int64_t timeout_ns,
                  struct pv_file_stat *st, struct pv_err *err)
{
    cleanup_free char *what = pv_xasprintf("stat '%s'", path);
    struct stat_call s = {.c = {.frame = stat_frame}, .st = st};
    struct pv_err e = PV_ERR_INIT;
    struct pv_enc enc;

    if (pv_call_check_path(path, err) < 0 || pv_call_begin(a, &s.c, PV_MSG_STAT, what, &enc, err) < 0)
        return -1;
    pv_enc_u32(&enc, follow);
    pv_enc_str(&enc, path);
    if (pv_call_finish(a, &s.c, &enc, what, timeout_ns, &e) == 0)
        return 1;
    if (e.cls == PV_E_GUEST && (e.errnum == ENOENT || e.errnum == ENOTDIR))
        return 0;
    if (err)
        *err = e;
    return -1;
}

/* ---- LIST ---- */

struct list_call {
    struct pv_call c;
    struct pv_file_names *names;
    const char *path;
};

/* Whole names, which no directory could hold otherwise; adds their number to names->n. */
static bool names_are_valid(const char *p, size_t n, struct pv_file_names *names)
{
    for (const char *end = p + n; p < end; names->n++) {
        const char *nul = memchr(p, '\0', (size_t)(end - p));

        if (!nul || nul == p || nul - p > NAME_MAX_BYTES || memchr(p, '/', (size_t)(nul - p)) ||
            !strcmp(p, ".") || !strcmp(p, ".."))
            return false;
        p = nul + 1;
    }
    return true;
}

static int list_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct list_call *l = PV_CONTAINER_OF(c, struct list_call, c);
    struct pv_file_names *names = l->names;
    const char *p;
    size_t n;

    if (type != PV_MSG_DATA)
        return pv_call_unexpected(type, err);
    p = pv_dec_bytes(d, &n);
    if (!pv_dec_done(d) || !names_are_valid(p, n, names))
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed list of names");
    if (names->n > NAMES_MAX || n > NAMES_BYTES_MAX - names->bytes.len)
        pv_err_set(&c->local, PV_E_GUEST, "list '%s': the directory has more than %d names or %d MiB of them",
                   l->path, NAMES_MAX, NAMES_BYTES_MAX >> 20);
    else if (n)
        pv_buf_add(&names->bytes, p, n);
    return 0;
}

static int name_cmp(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void names_sort(struct pv_file_names *names)
{
    const char *p = names->bytes.data;

    names->v = pv_xcalloc(names->n + 1, sizeof(*names->v));
    for (size_t i = 0; i < names->n; i++, p += strlen(p) + 1)
        names->v[i] = p;
    if (names->n)
        qsort(names->v, names->n, sizeof(*names->v), name_cmp);
}

int pv_agent_list(struct pv_agent *a, const char *path, int64_t timeout_ns, struct pv_file_names *names,
                  struct pv_err *err)
{
    cleanup_free char *what = pv_xasprintf("list '%s'", path);
    struct list_call l = {.c = {.ok = true, .frame = list_frame}, .names = names, .path = path};
    struct pv_enc e;

    *names = (struct pv_file_names){0};
    if (pv_call_check_path(path, err) < 0 || pv_call_begin(a, &l.c, PV_MSG_LIST, what, &e, err) < 0)
        return -1;
    pv_enc_str(&e, path);
    if (pv_call_finish(a, &l.c, &e, what, timeout_ns, err) < 0)
        return -1;
    if (l.c.value != names->n)
        return pv_err_set(err, PV_E_PROTOCOL, "%s: the agent says %" PRIu64 " names and sent %zu", what,
                          l.c.value, names->n);
    names_sort(names);
    return 0;
}

void pv_file_names_fini(struct pv_file_names *names)
{
    free(names->v);
    pv_buf_free(&names->bytes);
    *names = (struct pv_file_names){0};
}

/* ---- FILE_OP and REMOVE_TREE ---- */

int pv_agent_file_op(struct pv_agent *a, const struct pv_file_op *op, int64_t timeout_ns, struct pv_err *err)
{
    cleanup_free char *what = pv_xasprintf("%s '%s'", op->name, op->path);
    struct pv_call c = {.ok = true};
    struct pv_enc e;

    if (pv_call_check_path(op->path, err) < 0 || (op->other && pv_call_check_path(op->other, err) < 0) ||
        pv_call_begin(a, &c, PV_MSG_FILE_OP, what, &e, err) < 0)
        return -1;
    pv_enc_u32(&e, op->op);
    pv_enc_u32(&e, op->a);
    pv_enc_u32(&e, op->b);
    pv_enc_str(&e, op->path);
    pv_enc_str(&e, op->other ? op->other : "");
    return pv_call_finish(a, &c, &e, what, timeout_ns, err);
}

int pv_agent_remove_tree(struct pv_agent *a, const char *path, int64_t timeout_ns, struct pv_err *err)
{
    cleanup_free char *what = pv_xasprintf("remove '%s'", path);
    struct pv_call c = {.ok = true};
    struct pv_enc e;

    if (pv_call_check_path(path, err) < 0 || pv_call_begin(a, &c, PV_MSG_REMOVE_TREE, what, &e, err) < 0)
        return -1;
    pv_enc_str(&e, path);
    return pv_call_finish(a, &c, &e, what, timeout_ns, err);
}
