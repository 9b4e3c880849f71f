/* SPDX-License-Identifier: MIT */
/*
 * The VMs and workers of a test file.  The list owns them until the file ends, even when the script has lost
 * its handles: so all of them are ended, and their consoles can be shown with a failure.
 */
#ifndef PV_TESTFILE_GUESTS_H
#define PV_TESTFILE_GUESTS_H

#include <stdbool.h>
#include <stddef.h>

struct pv_err;
struct pv_guest;
struct pv_worker;
struct tf_expect;

enum { TF_NAME_MAX = 96 };

/* A worker of a VM; owned by the VM's entry. */
struct tf_worker {
    struct pv_worker *w;
    struct tf_guest *vm;
    char name[TF_NAME_MAX]; /* "worker 1 (pid 70) of vm1 (minimal)" */
    bool forgotten;         /* no handle refers to it */
    struct tf_worker *next;
};

/* A VM. */
struct tf_guest {
    struct pv_guest *g;
    struct tf_worker *workers;
    char name[TF_NAME_MAX];   /* "vm1" */
    char *last_tail;          /* the console tail that was sent last; NULL: none */
    unsigned lineage;         /* equal for a VM and its clones */
    unsigned n_holds;         /* pointers to it outside of the list and of handles: it must stay */
    bool log_told;            /* the runner knows the path of its console log */
    bool forgotten;           /* no handle refers to it */
    char **allowed;           /* texts of allow_report; NULL-terminated, NULL: none */
    struct tf_expect *expect; /* the innermost expect_report that waits; NULL: none */
    struct tf_guest *next;
};

struct tf_guests {
    struct tf_guest *first; /* in order of creation */
};

/*
 * Takes guest, a VM, into the list, with a lineage of its own.  May free old entries that no handle refers
 * to.
 */
struct tf_guest *pv_tf_guest_add(struct tf_guests *list, struct pv_guest *guest);
/*
 * The same for a VM that was resumed.  NULL, class usage: another task has made a VM of that name meanwhile; guest is
 * freed.
 */
struct tf_guest *pv_tf_guest_join(struct tf_guests *list, struct pv_guest *guest, struct pv_err *err);
/* Takes worker, which runs in vm. May free workers of vm that are over and that no handle refers to. */
struct tf_worker *pv_tf_worker_add(struct tf_guest *vm, struct pv_worker *worker);
/* "vm1" of a guest called "vm1 (minimal)". */
void pv_tf_short_name(const struct pv_guest *guest, char name[static TF_NAME_MAX]);
/* The entry of that short name whose VM has not ended; NULL: there is none. */
struct tf_guest *pv_tf_guest_called(const struct tf_guests *list, const char *name);
/* The entry of guest; NULL: it has none, because its resume failed or because it is being freed. */
struct tf_guest *pv_tf_guest_of(const struct tf_guests *list, const struct pv_guest *guest);
/* Ends all VMs; the entries stay and say "killed". */
void pv_tf_guests_kill(struct tf_guests *list);
/* Ends and frees all. */
void pv_tf_guests_free(struct tf_guests *list);

#endif
