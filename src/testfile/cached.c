/* SPDX-License-Identifier: MIT */
#include "testfile/cached.h"

#include <stdlib.h>
#include <string.h>

#include "fixture/store.h"
#include "guest/cached.h"
#include "guest/snapshot.h"
#include "testfile/store.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

/* The inputs of one boot that runs. */
struct tf_recording {
    const struct pv_guest *g;
    struct tf_reads reads;
    struct tf_recording *next;
};

/* One call of pv_tf_boot. */
struct boot {
    struct pv_testfile *tf;
    struct pv_guest *g;
    const struct pv_boot_opts *o;
    struct tf_booted *how;
    struct tf_fixture f; /* the entry's name and variant */
    struct tf_entry *entry;
    bool damaged;
};

void pv_tf_cached_reads(struct pv_testfile *tf, const struct pv_guest *g, const char *path)
{
    for (struct tf_recording *r = tf->recordings; r; r = r->next)
        if (r->g == g)
            pv_tf_reads_add(&r->reads, path, false);
}

static void boot_is(struct boot *b, enum tf_boot_kind kind, const char *why)
{
    free(b->how->why);
    b->how->kind = kind;
    b->how->why = why ? pv_xasprintf("%.*s", (int)strcspn(why, "\n"), why) : NULL;
}

/* The reason of a miss, for people: that of a string shows both values in full. */
static const char *miss_text(const char *why)
{
    static const char profile[] = "'" TF_INPUT_PROFILE;

    return !strncmp(why, profile, sizeof(profile) - 1)
               ? "the profile, QEMU, the accelerator or the CPU changed"
               : why;
}

/* ---- a boot that cannot be kept ---- */

static int boot_plain(struct boot *b, const struct pv_err *why, struct pv_err *err)
{
    boot_is(b, TF_BOOT_NOT_KEPT, why->text);
    return pv_guest_boot(b->g, b->o, err);
}

/* ---- from the cache ---- */

/* Verifies the entry while QEMU starts. */
static int boot_check_entry(void *arg, struct pv_err *err)
{
    struct boot *b = arg;
    int rc = pv_tf_store_verify(b->entry, err);

    b->damaged = rc < 0;
    return rc;
}

static int64_t boot_timeout(const struct boot *b)
{
    return b->o->timeout_ns ? b->o->timeout_ns : pv_guest_profile(b->g)->boot_timeout_ns;
}

/* 1: it runs; 0: the entry was of no use, and is dropped; -1. */
static int boot_resume(struct boot *b, struct pv_err *err)
{
    struct pv_resume_opts o = {.timeout_ns = boot_timeout(b), .check = boot_check_entry, .arg = b};
    struct pv_err why = PV_ERR_INIT;
    struct pv_snapshot *s = pv_tf_store_snapshot(b->tf, b->entry, &why);
    int rc = -1;

    b->damaged = !s;
    pv_tf_step_begin(b->tf, NULL, PV_STEP_RESUME, "resuming %s from its cached boot", pv_guest_name(b->g));
    if (s)
        rc = pv_guest_boot_from(b->g, s, &o, &why);
    pv_tf_step_end(b->tf, rc == 0);
    if (rc == 0) {
        pv_tf_store_reads(b->tf, b->entry);
        boot_is(b, TF_BOOT_CACHED, NULL);
        return 1;
    }
    if (b->damaged || why.cls == PV_E_GUEST_DIED) {
        cleanup_free char *text =
            pv_xasprintf("the cached one %s: %s", b->damaged ? "is damaged" : "cannot be resumed", why.text);

        pv_tf_store_drop(b->entry);
        boot_is(b, TF_BOOT_KEPT, text);
        return 0;
    }
    *err = why;
    return -1;
}

/* ---- into the cache ---- */

/* The inputs that the boot does not tell of as it reads them.  All before anything is read. */
static void boot_record_options(struct boot *b, struct tf_reads *r)
{
    pv_tf_reads_add_profile(r, &b->tf->guest_env.host, pv_guest_profile(b->g));
    for (size_t i = 0; i < b->o->n_files; i++)
        if (b->o->files[i].host_path)
            pv_tf_reads_add(r, b->o->files[i].host_path, true);
}

/* A kernel that reported something must do so in the next run, too. */
static int boot_check_silent(struct boot *b, struct pv_err *err)
{
    const char *headline;

    pv_guest_sync_console(b->g);
    pv_guest_settle_findings(b->g);
    pv_tf_findings_decide(b->tf);
    headline = pv_tf_finding_of_run(b->tf, b->g);
    return headline ? pv_err_set(err, PV_E_USAGE, "its kernel reported: %s", headline) : 0;
}

static int boot_keep(struct boot *b, struct tf_reads *r, struct pv_err *err)
{
    cleanup_free char *moved = NULL;
    struct pv_snapshot *s;
    int rc;

    if (boot_check_silent(b, err) < 0)
        return -1;
    s = pv_guest_snapshot(b->g, boot_timeout(b), err);
    if (!s)
        return -1;
    rc = pv_tf_store_commit(b->tf, r, s, &moved, err);
    pv_snapshot_unref(s);
    return rc > 0 ? pv_err_set(err, PV_E_USAGE, "while it booted, %s", moved) : rc;
}

/* The VM runs, whether it could be kept or not; -1 when it is dead. */
static int boot_try_keep(struct boot *b, struct tf_reads *r, struct pv_err *err)
{
    struct pv_err why = PV_ERR_INIT;
    int rc;

    pv_tf_call_begin(b->tf, NULL, "keeping the boot of %s", pv_guest_name(b->g));
    rc = boot_keep(b, r, &why);
    pv_tf_step_end(b->tf, rc == 0);
    if (rc == 0)
        return 0;
    if (pv_guest_state(b->g) != PV_GUEST_RUNNING) {
        *err = why;
        return -1;
    }
    pv_err_drop_console(&why);
    boot_is(b, TF_BOOT_NOT_KEPT, why.text);
    return 0;
}

static int boot_recorded(struct boot *b, struct pv_err *err)
{
    struct tf_recording r = {.g = b->g, .reads.err = PV_ERR_INIT, .next = b->tf->recordings};
    struct pv_boot_opts o = *b->o;
    struct pv_err why = PV_ERR_INIT;
    int rc;

    if (pv_tf_store_recipe(b->tf, &b->f, &r.reads, &why) < 0)
        return boot_plain(b, &why, err);
    o.transport = PV_TRANSPORT_SERIAL;
    boot_record_options(b, &r.reads);
    b->tf->recordings = &r;
    rc = pv_guest_boot(b->g, &o, err);
    for (struct tf_recording **p = &b->tf->recordings; *p; p = &(*p)->next)
        if (*p == &r) {
            *p = r.next;
            break;
        }
    if (rc == 0)
        rc = boot_try_keep(b, &r.reads, err);
    pv_recipe_free(r.reads.recipe);
    return rc;
}

/* ---- either ---- */

static int boot_cached(struct boot *b, struct pv_err *err)
{
    struct pv_err why = PV_ERR_INIT;
    cleanup_free char *miss = NULL;
    int rc;

    if (pv_guest_check_cacheable(b->g, b->o, &why) < 0)
        return boot_plain(b, &why, err);
    rc = pv_tf_store_look(b->tf, &b->f, &b->entry, &miss, &why);
    if (rc < 0)
        return boot_plain(b, &why, err);
    if (rc == 0)
        boot_is(b, TF_BOOT_KEPT, miss_text(miss));
    else
        rc = boot_resume(b, err);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (pv_guest_check_serial(b->g, b->o, &why) < 0)
        return boot_plain(b, &why, err);
    return boot_recorded(b, err);
}

int pv_tf_boot(struct pv_testfile *tf, struct pv_guest *g, const struct pv_boot_opts *o,
               struct tf_booted *how, struct pv_err *err)
{
    const struct pv_profile *p = pv_guest_profile(g);
    struct boot b = {.tf = tf, .g = g, .o = o, .how = how};
    cleanup_buf struct pv_buf variant = {0};
    cleanup_free char *name = pv_xasprintf("boot of %s", p->name);

    *how = (struct tf_booted){TF_BOOT_PLAIN, NULL};
    if (!o || !pv_choose(o->cached, p->cached))
        return pv_guest_boot(g, o, err);
    pv_boot_opts_describe(o, &variant);
    b.f = (struct tf_fixture){.name = name, .script = "", .variant = variant.data};
    if (boot_cached(&b, err) == 0)
        return 0;
    boot_is(&b, TF_BOOT_PLAIN, NULL);
    return -1;
}
