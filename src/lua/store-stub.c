/* SPDX-License-Identifier: MIT */
/* Stands in for the store and for snapshots of guests until they are there. */
#include "fixture/store.h"
#include "util/err.h"
#define W __attribute__((weak))
static int none(struct pv_err *err)
{
    return pv_err_set(err, PV_E_MISSING, "fixtures and snapshots are not available yet");
}
W struct pv_store *pv_store_open(uint64_t n, struct pv_err *err)
{
    (void)n;
    none(err);
    return NULL;
}
W void pv_store_free(struct pv_store *s)
{
    (void)s;
}
W struct pv_recipe *pv_recipe_new(struct pv_store *s, const struct pv_fixture_id *id)
{
    (void)s;
    (void)id;
    return NULL;
}
W int pv_recipe_file(struct pv_recipe *r, const char *p, struct pv_err *err)
{
    (void)r;
    (void)p;
    (void)err;
    return 0;
}
W int pv_recipe_tree(struct pv_recipe *r, const char *p, struct pv_err *err)
{
    (void)r;
    (void)p;
    (void)err;
    return 0;
}
W int pv_recipe_string(struct pv_recipe *r, const char *n, const char *v, struct pv_err *err)
{
    (void)r;
    (void)n;
    (void)v;
    (void)err;
    return 0;
}
W void pv_recipe_fixture(struct pv_recipe *r, const struct pv_entry *p)
{
    (void)r;
    (void)p;
}
W int pv_store_find(struct pv_store *s, const struct pv_fixture_id *id, const struct pv_inputs *now,
                    struct pv_entry **e, struct pv_miss *m, struct pv_err *err)
{
    (void)s;
    (void)id;
    (void)now;
    (void)e;
    (void)m;
    return none(err);
}
W int pv_store_lock(struct pv_store *s, const struct pv_fixture_id *id, struct pv_store_lock **l, pid_t *h,
                    struct pv_err *err)
{
    (void)s;
    (void)id;
    (void)l;
    (void)h;
    return none(err);
}
W void pv_store_unlock(struct pv_store_lock *l)
{
    (void)l;
}
W struct pv_build *pv_build_new(struct pv_store *s, struct pv_recipe *r, struct pv_err *err)
{
    (void)s;
    (void)r;
    none(err);
    return NULL;
}
W void pv_build_free(struct pv_build *b)
{
    (void)b;
}
W int pv_build_add(struct pv_build *b, const char *n, int fd, struct pv_err *err)
{
    (void)b;
    (void)n;
    (void)fd;
    return none(err);
}
W struct pv_entry *pv_build_commit(struct pv_build *b, const char *m, struct pv_err *err)
{
    (void)b;
    (void)m;
    none(err);
    return NULL;
}
W void pv_entry_close(struct pv_entry *e)
{
    (void)e;
}
W int pv_entry_fd(const struct pv_entry *e, const char *n)
{
    (void)e;
    (void)n;
    return -1;
}
W const char *pv_entry_machine(const struct pv_entry *e)
{
    (void)e;
    return "";
}
W const char *pv_entry_key(const struct pv_entry *e)
{
    (void)e;
    return "";
}
W const char *pv_entry_moved(const struct pv_entry *e)
{
    (void)e;
    return NULL;
}
W int pv_entry_verify(struct pv_entry *e, size_t n, struct pv_err *err)
{
    (void)e;
    (void)n;
    return none(err);
}
W int pv_store_list(struct pv_store *s, struct pv_fixture_list *l, struct pv_err *err)
{
    (void)s;
    (void)l;
    return none(err);
}
W void pv_fixture_list_free(struct pv_fixture_list *l)
{
    (void)l;
}
W int pv_store_remove(struct pv_store *s, const char *e, struct pv_err *err)
{
    (void)s;
    (void)e;
    return none(err);
}
