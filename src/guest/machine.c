/* SPDX-License-Identifier: MIT */
#include "guest/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "config/config.h"
#include "guest/guest.h"
#include "guest/machine-disk.h"
#include "util/err.h"
#include "util/parse.h"
#include "vm/hotplug.h"
#include "vm/spec.h"

/* The version of the saved description; adding or removing a row of the tables below needs a new version. */
enum { MACHINE_VERSION = 11 };

#define MIB (INT64_C(1) << 20)

/* ---- the scalar fields ---- */

enum field_type { FIELD_BOOL, FIELD_UNSIGNED, FIELD_U64 };

#define NO_OPTION SIZE_MAX /* pv_machine_new computes the field */
#define NO_MEMBER SIZE_MAX /* the field is an argument of its own */

#define TYPE_OF(value) _Generic((value), bool : FIELD_BOOL, unsigned : FIELD_UNSIGNED, uint64_t : FIELD_U64)
#define FIELD(m) #m, TYPE_OF(((struct pv_machine *)0)->m), offsetof(struct pv_machine, m)
#define OPTION(m) offsetof(struct pv_boot_opts, m)
#define MEMBER(m) offsetof(struct pv_vm_spec, m)

/*
 * An option of 0 means `missing`.  [min, max] is what a saved machine may say.  QEMU gets a field through a
 * member of pv_vm_spec, if args.c has to put it at a certain place, or as `qemu_option qemu_value`, written
 * unless the field is 0, with the number for "{}": {NO_MEMBER, "-global", "driver.property={}"}.  Members of
 * the three structs have the same type.
 */
static const struct field {
    const char *name; /* key in the saved description */
    enum field_type type;
    size_t at;
    size_t option;
    int64_t missing, min, max;
    size_t member;
    const char *qemu_option, *qemu_value;
} fields[] = {
    {FIELD(memory), OPTION(memory), 512 * MIB, 1, INT64_MAX, MEMBER(memory.size), NULL, NULL},
    {FIELD(cpus), OPTION(cpus), 1, 1, 1024, MEMBER(cpus), NULL, NULL},
    {FIELD(kvm), NO_OPTION, 0, 0, 1, MEMBER(kvm), NULL, NULL},
    {FIELD(no_cx16), NO_OPTION, 0, 0, 1, MEMBER(no_cx16), NULL, NULL},
    {FIELD(follow), OPTION(follow), 0, 0, 1, NO_MEMBER, NULL, NULL},
    {FIELD(hotplug_port), NO_OPTION, 0, 0, 1, NO_MEMBER, "-device", PV_VM_HOTPLUG_DEVICE},
    {FIELD(nic_bridge), NO_OPTION, 0, 0, 1, NO_MEMBER, "-device", PV_VM_NIC_BRIDGE},
};

static int64_t field_get(enum field_type type, const void *base, size_t at)
{
    const char *p = (const char *)base + at;

    switch (type) {
    case FIELD_BOOL:
        return *(const bool *)p;
    case FIELD_UNSIGNED:
        return *(const unsigned *)p;
    case FIELD_U64:
        break;
    }
    return (int64_t) * (const uint64_t *)p;
}

static void field_set(enum field_type type, void *base, size_t at, int64_t value)
{
    char *p = (char *)base + at;

    switch (type) {
    case FIELD_BOOL:
        *(bool *)p = value != 0;
        break;
    case FIELD_UNSIGNED:
        *(unsigned *)p = (unsigned)value;
        break;
    case FIELD_U64:
        *(uint64_t *)p = (uint64_t)value;
        break;
    }
}

static void fields_from_opts(struct pv_machine *m, const struct pv_boot_opts *o)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(fields); i++) {
        const struct field *f = &fields[i];
        int64_t value = f->option == NO_OPTION ? 0 : field_get(f->type, o, f->option);

        field_set(f->type, m, f->at, value ? value : f->missing);
    }
}

static void field_add_args(const struct field *f, int64_t value, struct pv_strv *args)
{
    const char *place;

    if (!value || !f->qemu_option)
        return;
    place = strstr(f->qemu_value, "{}");
    pv_strv_add(args, f->qemu_option);
    if (place)
        pv_strv_take(args, pv_xasprintf("%.*s%" PRId64 "%s", (int)(place - f->qemu_value), f->qemu_value,
                                        value, place + 2));
    else
        pv_strv_add(args, f->qemu_value);
}

static void fields_to_spec(const struct pv_machine *m, struct pv_vm_spec *spec, struct pv_strv *args)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(fields); i++) {
        const struct field *f = &fields[i];
        int64_t value = field_get(f->type, m, f->at);

        if (f->member == NO_MEMBER)
            field_add_args(f, value, args);
        else
            field_set(f->type, spec, f->member, value);
    }
}

static void fields_to_json(const struct pv_machine *m, json_t *j)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(fields); i++) {
        const struct field *f = &fields[i];
        int64_t value = field_get(f->type, m, f->at);

        json_object_set_new(j, f->name, f->type == FIELD_BOOL ? json_boolean(value) : json_integer(value));
    }
}

/* False when a field is missing or out of its range. */
static bool fields_from_json(struct pv_machine *m, const json_t *j)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(fields); i++) {
        const struct field *f = &fields[i];
        const json_t *v = json_object_get(j, f->name);
        int64_t value = json_is_boolean(v) ? json_is_true(v) : json_integer_value(v);

        if (f->type == FIELD_BOOL ? !json_is_boolean(v) : !json_is_integer(v))
            return false;
        if (value < f->min || value > f->max)
            return false;
        field_set(f->type, m, f->at, value);
    }
    return true;
}

/* ---- lists: parts of a machine that it has any number of ---- */

static const struct list {
    const char *name; /* key in the saved description, of an array */
    json_t *(*to_json)(const struct pv_machine *m, struct pv_err *err);
    bool (*from_json)(struct pv_machine *m, const json_t *array);
} lists[] = {
    {"disks", pv_machine_disks_to_json, pv_machine_disks_from_json},
};

static int lists_to_json(const struct pv_machine *m, json_t *j, struct pv_err *err)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(lists); i++) {
        json_t *array = lists[i].to_json(m, err);

        if (!array)
            return -1;
        json_object_set_new(j, lists[i].name, array);
    }
    return 0;
}

static bool lists_from_json(struct pv_machine *m, const json_t *j)
{
    for (size_t i = 0; i < PV_ARRAY_LEN(lists); i++) {
        const json_t *array = json_object_get(j, lists[i].name);

        if (!json_is_array(array) || !lists[i].from_json(m, array))
            return false;
    }
    return true;
}

/* ---- the machine ---- */

static struct pv_machine *machine_alloc(const struct pv_profile *profile)
{
    struct pv_machine *m = pv_xcalloc(1, sizeof(*m));

    m->profile = profile;
    m->initrd = -1;
    return m;
}

/* A root port's hotplug is known to work on q35, whose firmware tells the kernel of it. */
static bool is_q35(const char *machine)
{
    return !machine || !strncmp(machine, "q35", 3) || !strncmp(machine, "pc-q35", 6);
}

/* Devices that give memory of the guest back to the host, and with it pages of a file that others share. */
static const char *discards_memory(const struct pv_profile *p)
{
    static const char *const words[] = {"virtio-balloon", "virtio-mem", "free-page-reporting", "-balloon"};

    for (size_t i = 0; i < p->qemu_args.n; i++)
        for (size_t j = 0; j < PV_ARRAY_LEN(words); j++)
            if (strstr(p->qemu_args.v[i], words[j]))
                return p->qemu_args.v[i];
    return NULL;
}

static int args_check(const struct pv_profile *p, bool savable, struct pv_err *err)
{
    const char *arg = savable ? discards_memory(p) : NULL;

    if (arg)
        return pv_err_set(
            err, PV_E_USAGE,
            "qemu_args of profile '%s' has '%.100s', which discards memory of the guest; a VM that "
            "can be saved shares its memory file, so take it out or boot with transport = \"vsock\"",
            p->name, arg);
    for (size_t i = 0; !p->unconfined && i < p->qemu_args.n; i++)
        if (!strcmp(p->qemu_args.v[i], "-sandbox") || !strcmp(p->qemu_args.v[i], "--sandbox"))
            return pv_err_set(
                err, PV_E_USAGE,
                "qemu_args of profile '%s' has '-sandbox', which is Provium's own; confine = false "
                "in the profile lets qemu_args set it",
                p->name);
    return 0;
}

static int machine_check(const struct pv_machine *m, struct pv_err *err)
{
    const struct pv_profile *p = m->profile;
    char size[32];

    if (m->memory < PV_GUEST_MIN_MEMORY)
        return pv_err_set(err, PV_E_USAGE, "memory = %s is too little; a VM needs at least 32M",
                          pv_format_size(m->memory, size));
    if (m->hotplug_port && !is_q35(p->machine))
        return pv_err_set(err, PV_E_USAGE,
                          "vsock = true needs a q35 machine; profile '%s' has machine = \"%s\"", p->name,
                          p->machine);
    return 0;
}

static void share_add(struct pv_machine *m, const char *dir, bool writable, enum pv_share_by by)
{
    m->shares[m->n_shares++] =
        (struct pv_vm_share){.dir = pv_xstrdup(dir), .writable = writable, .by = by, .qemu_fd = -1};
}

static void shares_from_opts(struct pv_machine *m, const struct pv_guest_root *root)
{
    bool whole = root->writable && root->dir && !strcmp(root->writable, root->dir);

    if (root->dir)
        share_add(m, root->dir, whole, PV_SHARE_9P);
    if (root->writable && !whole)
        share_add(m, root->writable, true, PV_SHARE_9P);
}

struct pv_machine *pv_machine_new(const struct pv_profile *profile, const struct pv_boot_opts *o,
                                  bool savable, struct pv_err *err)
{
    struct pv_machine *m = machine_alloc(profile);

    fields_from_opts(m, o);
    m->hotplug_port = savable && o->vsock;
    m->nic_bridge = is_q35(profile->machine);
    shares_from_opts(m, &o->root);
    if (machine_check(m, err) == 0 && args_check(profile, savable, err) == 0 &&
        pv_machine_disks_from_opts(m, o, err) == 0)
        return m;
    pv_machine_free(m);
    return NULL;
}

struct pv_machine *pv_machine_copy(const struct pv_machine *m, struct pv_err *err)
{
    struct pv_machine *c = machine_alloc(m->profile);

    *c = *m;
    c->disks = NULL;
    c->n_disks = 0;
    c->n_shares = 0;
    for (unsigned i = 0; i < m->n_shares; i++)
        share_add(c, m->shares[i].dir, m->shares[i].writable, m->shares[i].by);
    c->append = NULL;
    c->initrd = -1;
    if (m->append && pv_machine_set_boot(c, m->append, m->initrd, err) < 0) {
        pv_machine_free(c);
        return NULL;
    }
    for (size_t i = 0; i < m->n_disks; i++)
        if (!pv_machine_disk_copy(c, &m->disks[i])) {
            pv_err_sys(err, errno, "cannot keep the descriptors of a machine");
            pv_machine_free(c);
            return NULL;
        }
    return c;
}

void pv_machine_free(struct pv_machine *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_disks; i++)
        pv_machine_disk_fini(&m->disks[i]);
    free(m->disks);
    for (unsigned i = 0; i < m->n_shares; i++)
        free(m->shares[i].dir);
    free(m->append);
    pv_close(&m->initrd);
    free(m);
}

int pv_machine_set_boot(struct pv_machine *m, const char *append, int initrd, struct pv_err *err)
{
    free(m->append);
    m->append = pv_xstrdup(append);
    pv_close(&m->initrd);
    if (initrd < 0)
        return 0;
    m->initrd = fcntl(initrd, F_DUPFD_CLOEXEC, 3);
    return m->initrd < 0 ? pv_err_sys(err, errno, "cannot keep the initramfs of a machine") : 0;
}

int pv_machine_check_savable(const struct pv_machine *m, const char *name, struct pv_err *err)
{
    if (m->n_shares)
        return pv_err_set(
            err, PV_E_USAGE,
            "cannot save %s: its root is the host's directory '%s', which may change; use an image", name,
            m->shares[0].dir);
    for (size_t i = 0; i < m->n_disks; i++)
        if (m->disks[i].bus == PV_VM_BUS_NVME)
            return pv_err_set(err, PV_E_USAGE,
                              "cannot save %s: its disk '%s' has bus = \"nvme\", and QEMU cannot save such a "
                              "controller; use \"virtio\" or \"scsi\"",
                              name, m->disks[i].name);
    for (size_t i = 0; i < m->n_disks; i++)
        if (!m->disks[i].readonly && !m->disks[i].snapshot && !m->disks[i].served)
            return pv_err_set(err, PV_E_USAGE,
                              "cannot save %s: the guest writes to its disk '%s' directly, and a restore "
                              "could not put that file back; attach it with snapshot = true",
                              name, m->disks[i].path);
    return 0;
}

bool pv_machine_is_served(const struct pv_machine *m)
{
    for (size_t i = 0; i < m->n_disks; i++)
        if (m->disks[i].served)
            return true;
    return false;
}

void pv_machine_to_spec(const struct pv_machine *m, struct pv_vm_spec *spec, struct pv_machine_arrays *arrays)
{
    fields_to_spec(m, spec, &arrays->args);
    for (unsigned i = 0; i < PV_VM_NICS_MAX; i++)
        if (m->nics[i].mtu)
            pv_vm_nic_args(i, &m->nics[i], &arrays->args);
    for (unsigned i = 0; i < m->n_shares; i++)
        pv_vm_share_args(i, &m->shares[i], &arrays->args);
    spec->shares = m->shares;
    spec->n_shares = m->n_shares;
    pv_machine_disks_to_spec(m, spec, &arrays->disks);
    spec->machine = m->profile->machine;
    spec->cpu = m->profile->cpu;
    spec->machine_args = arrays->args.v;
    spec->extra_args = m->profile->qemu_args.v;
    spec->unconfined = m->profile->unconfined;
}

void pv_machine_arrays_fini(struct pv_machine_arrays *arrays)
{
    free(arrays->disks);
    pv_strv_free(&arrays->args);
    *arrays = (struct pv_machine_arrays){0};
}

char *pv_machine_to_json(const struct pv_machine *m, struct pv_err *err)
{
    json_t *j = json_pack("{s:i, s:s, s:s}", "version", MACHINE_VERSION, "profile", m->profile->name,
                          "append", m->append ? m->append : "");
    char *text, *copy = NULL;

    if (!j) {
        pv_err_set(err, PV_E_USAGE, "the name of profile '%s' or its kernel command line is not UTF-8",
                   m->profile->name);
        return NULL;
    }
    fields_to_json(m, j);
    if (lists_to_json(m, j, err) == 0) {
        text = json_dumps(j, JSON_COMPACT);
        copy = pv_xstrdup(text);
        free(text);
    }
    json_decref(j);
    return copy;
}

/* Neither more nor fewer keys than the tables, the version, the profile and the command line make. */
static bool machine_parse(struct pv_machine *m, const json_t *j)
{
    const char *append = json_string_value(json_object_get(j, "append"));

    if (!append)
        return false;
    m->append = *append ? pv_xstrdup(append) : NULL;
    return json_integer_value(json_object_get(j, "version")) == MACHINE_VERSION &&
           json_object_size(j) == 3 + PV_ARRAY_LEN(fields) + PV_ARRAY_LEN(lists) && fields_from_json(m, j) &&
           lists_from_json(m, j);
}

struct pv_machine *pv_machine_from_json(const char *json, const struct pv_config *config, struct pv_err *err)
{
    struct pv_machine *m = machine_alloc(NULL);
    json_t *j = json_loads(json, 0, NULL);
    const char *name = json_string_value(json_object_get(j, "profile"));

    if (name && machine_parse(m, j))
        m->profile = pv_config_profile(config, name, err);
    else
        pv_err_set(err, PV_E_HOST, "the description of the machine makes no sense");
    json_decref(j);
    if (m->profile)
        return m;
    pv_machine_free(m);
    return NULL;
}
