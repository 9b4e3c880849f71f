/* SPDX-License-Identifier: MIT */
/* A file or a tree from the guest: each frame is written as it arrives. */
#include "guest/call.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "guest/tree.h"

struct pull {
    struct pv_call c;
    struct pv_dest dest;
    bool strict;
    struct pv_pull_result r;
};

void pv_pull_result_fini(struct pv_pull_result *r)
{
    for (size_t i = 0; i < r->n_skipped; i++)
        free(r->skipped[i].path);
    free(r->skipped);
    *r = (struct pv_pull_result){0};
}

static int pull_malformed(enum pv_msg type, struct pv_err *err)
{
    return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed %s", pv_msg_name(type));
}

/* The type bits are a guest's: they need not be S_IFMT's of this host, nor valid. */
static const char *type_name(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "dir";
    case S_IFLNK:
        return "link";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    case S_IFBLK:
        return "block";
    case S_IFCHR:
        return "char";
    default:
        return "?";
    }
}

static int pull_skipped(struct pull *p, uint32_t mode, uint64_t errnum, const char *name, struct pv_err *err)
{
    struct pv_pull_result *r = &p->r;
    char show[256];

    if (errnum > 4095)
        return pull_malformed(PV_MSG_ENTRY, err);
    if (pv_dest_skipped(&p->dest, name, err) < 0)
        return -1;
    if (p->strict)
        return pv_err_set(err, PV_E_GUEST, "pull: '%s' cannot be copied: %s%s%s (strict)",
                          pv_dest_show(name, show), type_name(mode), errnum ? ", " : "",
                          errnum ? strerror((int)errnum) : "");
    if (r->skipped_in_all++ >= PV_SKIPPED_MAX)
        return 0;
    r->skipped = pv_xrealloc(r->skipped, (r->n_skipped + 1) * sizeof(*r->skipped));
    r->skipped[r->n_skipped++] =
        (struct pv_skipped){.path = pv_xstrdup(name), .type = type_name(mode), .errnum = (int)errnum};
    return 0;
}

static int pull_entry(struct pull *p, struct pv_dec *d, struct pv_err *err)
{
    uint32_t kind = pv_dec_u32(d), mode = pv_dec_u32(d);
    uint64_t size = pv_dec_u64(d); /* a hint only, but for a skipped entry */
    char name[PV_PATH_MAX], target[PV_PATH_MAX];

    pv_dec_str(d, name, sizeof(name));
    pv_dec_str(d, target, sizeof(target));
    if (!pv_dec_done(d))
        return pull_malformed(PV_MSG_ENTRY, err);
    if (kind == PV_ENTRY_SKIPPED)
        return pull_skipped(p, mode, size, name, err);
    return pv_dest_entry(&p->dest, kind, mode, name, target, err);
}

static int pull_frame(struct pv_call *c, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct pull *p = PV_CONTAINER_OF(c, struct pull, c);
    struct pv_err e = PV_ERR_INIT;
    const void *data;
    uint64_t hole;
    size_t n;
    int r;

    switch (type) {
    case PV_MSG_ENTRY:
        r = pull_entry(p, d, &e);
        break;
    case PV_MSG_DATA:
        data = pv_dec_bytes(d, &n);
        if (!pv_dec_done(d))
            return pull_malformed(type, err);
        r = pv_dest_data(&p->dest, data, n, &e);
        break;
    case PV_MSG_HOLE:
        hole = pv_dec_u64(d);
        if (!pv_dec_done(d))
            return pull_malformed(type, err);
        r = pv_dest_hole(&p->dest, hole, &e);
        break;
    default:
        return pv_call_unexpected(type, err);
    }
    if (r < 0 && e.cls == PV_E_PROTOCOL) {
        if (err)
            *err = e;
        return -1;
    }
    /* A fault of the disk: the request is given up, the session goes on. */
    if (r < 0)
        c->local = e;
    return 0;
}

static int pull_run(struct pv_agent *a, struct pull *p, const char *guest_path, int64_t timeout_ns,
                    struct pv_err *err)
{
    struct pv_enc e;

    if (pv_call_begin(a, &p->c, PV_MSG_TREE_GET, "pull", &e, err) < 0)
        return -1;
    pv_enc_str(&e, guest_path);
    if (pv_call_finish(a, &p->c, &e, "pull", timeout_ns, err) < 0)
        return -1;
    if (p->c.value != p->dest.entries)
        return pv_err_set(err, PV_E_PROTOCOL,
                          "pull of '%s': the agent says %" PRIu64 " entries and sent %" PRIu64, guest_path,
                          p->c.value, p->dest.entries);
    return pv_dest_end(&p->dest, err);
}

static void pull_explain(const struct pull *p, const char *host_path, struct pv_err *err)
{
    char show[256];

    if (p->dest.entries)
        pv_err_append(err, "\n'%s' holds only a part of what was asked for", host_path);
    if (p->dest.fd >= 0)
        pv_err_append(err, "; '%s%s%s' is incomplete", host_path, p->dest.file[0] ? "/" : "",
                      pv_dest_show(p->dest.file, show));
}

int pv_agent_pull(struct pv_agent *a, const char *guest_path, const char *host_path, const struct pv_pull *o,
                  struct pv_pull_result *result, struct pv_err *err)
{
    static const struct pv_pull defaults;
    struct pull *p;
    int r;

    if (pv_call_check_path(guest_path, err) < 0)
        return -1;
    if (!*host_path)
        return pv_err_set(err, PV_E_USAGE, "pull: the host's path is empty");
    o = o ? o : &defaults;
    p = pv_xcalloc(1, sizeof(*p));
    p->c = (struct pv_call){.ok = true, .frame = pull_frame};
    p->strict = o->strict;
    pv_dest_init(&p->dest, host_path, o->max_entries ? o->max_entries : PV_MAX_ENTRIES,
                 o->max_size ? o->max_size : PV_MAX_TREE);
    r = pull_run(a, p, guest_path, o->timeout_ns, err);
    if (r < 0) {
        pull_explain(p, host_path, err);
    } else if (result) {
        p->r.entries = p->dest.entries - p->r.skipped_in_all;
        p->r.size = p->dest.size;
        *result = p->r;
        p->r = (struct pv_pull_result){0};
    }
    pv_dest_fini(&p->dest);
    pv_pull_result_fini(&p->r);
    free(p);
    return r;
}
