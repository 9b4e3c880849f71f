/* SPDX-License-Identifier: MIT */
/*
 * Each save asks QEMU how it can be saved, and nothing depends on its version:
 *
 * - The first save of a booted VM is a migration with the capability x-ignore-shared, which leaves out memory
 *   that is a shared file; QEMU's ROMs, which are no file, are in the stream.  A loaded VM maps its memory
 *   privately, so the same capability would save all of it.  `xen-save-devices-state` saves the devices alone,
 *   in the same format, and the VM may go on after it.  It lacks the configuration and the ROMs, which do not
 *   change in a VM's life: they are the head of the VM's first stream, which is found by comparing it with the
 *   devices alone, and every save is that head and the device state behind it.
 * - A QEMU without one of these two, or whose head is not found, saves all of its memory into the stream by an
 *   ordinary migration, as do the VMs that were loaded from it.
 *
 * Tried and rejected: `xen-load-devices-state`, the counterpart of the save, ends QEMU 7.2 by an assertion,
 * and a machine that waits for a migration has empty ROMs; the mode cpr-reboot needs x-ignore-shared as well;
 * the mode cpr-transfer passes memory to one successor that runs at the same time.
 */
#include "vm/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/loop.h"
#include "util/copy.h"
#include "util/err.h"
#include "util/log.h"
#include "util/path.h"
#include "vm/internal.h"
#include "vm/qmp.h"
#include "vm/vmstate.h"

enum { STREAM_MAX = 64 << 20 };
#define BANDWIDTH "10000000000" /* bytes a second; QEMU's default is 128 MiB */

#define STR_(x) #x
#define STR(x) STR_(x)
#define FD_SAVE 33
#define FD_LOAD 34
_Static_assert(FD_SAVE == PV_QEMU_FD_SAVE && FD_LOAD == PV_QEMU_FD_LOAD, "descriptor numbers");

static int stream_read(int fd, size_t n, struct pv_buf *out, struct pv_err *err)
{
    ssize_t got;

    if (n > STREAM_MAX)
        return pv_err_set(err, PV_E_HOST, "the state of the VM is larger than %d MiB", STREAM_MAX >> 20);
    pv_buf_reserve(out, n);
    got = pv_pread_all(fd, out->data + out->len, n, 0);
    if (got < 0 || (size_t)got != n)
        return pv_err_sys(err, got < 0 ? errno : EIO, "cannot read the state of the VM");
    out->len += n;
    return 0;
}

static int saved_read(const struct pv_vm_migration *m, struct pv_buf *out, struct pv_err *err)
{
    struct stat st;

    if (fstat(m->save_fd, &st) < 0)
        return pv_err_sys(err, errno, "cannot read the state of the VM");
    return stream_read(m->save_fd, (size_t)st.st_size, out, err);
}

static int save_file_clear(const struct pv_vm_migration *m, struct pv_err *err)
{
    if (ftruncate(m->save_fd, 0) < 0 || lseek(m->save_fd, 0, SEEK_SET) < 0)
        return pv_err_sys(err, errno, "cannot save the VM");
    return 0;
}

static bool migration_is_over(void *arg)
{
    const struct pv_vm *vm = arg;
    const char *s = vm->migration.status;

    return vm->state == PV_VM_ENDED || !strcmp(s, "completed") || !strcmp(s, "failed") ||
           !strcmp(s, "cancelled");
}

/* Waits for a migration that has been started, in either direction.  what: "save the VM". */
static int migration_wait(struct pv_vm *vm, const char *what, int64_t deadline, struct pv_err *err)
{
    int r = pv_loop_run(vm->loop, migration_is_over, vm, deadline, err);

    if (r < 0)
        return -1;
    if (vm->state == PV_VM_ENDED)
        return pv_err_set(err, PV_E_GUEST_DIED, "cannot %s: the VM has ended: %s", what, vm->end.reason);
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT, "cannot %s: QEMU was not done in time", what);
    if (strcmp(vm->migration.status, "completed") != 0)
        return pv_err_set(err, PV_E_HOST, "cannot %s: QEMU says: %s", what, vm->migration.status);
    return 0;
}

/* Switches the capability that leaves out shared memory ("": there is none) on or off. */
static int migration_prepare(struct pv_vm *vm, const char *capability, bool on, int64_t deadline,
                             struct pv_err *err)
{
    cleanup_buf struct pv_buf b = {0};

    pv_buf_adds(&b, "{\"capabilities\":[");
    if (*capability)
        pv_buf_addf(&b, "{\"capability\":\"%s\",\"state\":%s},", capability, on ? "true" : "false");
    pv_buf_adds(&b, "{\"capability\":\"events\",\"state\":true}]}");
    vm->migration.status[0] = '\0';
    return pv_vm_qmp(vm, "migrate-set-capabilities", b.data, NULL, deadline, err);
}

/* ---- what QEMU offers ---- */

/* Whether a reply in JSON has this string. */
static bool reply_names(const char *reply, const char *name)
{
    cleanup_free char *quoted = pv_xasprintf("\"%s\"", name);

    return strstr(reply, quoted) != NULL;
}

static int ask_how_to_save(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    static const char *const names[] = {"ignore-shared", "x-ignore-shared"};
    cleanup_free char *capabilities = NULL, *commands = NULL;
    struct pv_vm_migration *m = &vm->migration;

    if (pv_vm_qmp(vm, "query-migrate-capabilities", NULL, &capabilities, deadline, err) < 0 ||
        pv_vm_qmp(vm, "query-commands", NULL, &commands, deadline, err) < 0)
        return -1;
    m->how = (struct pv_vmstate_record){0};
    if (reply_names(commands, "xen-save-devices-state"))
        for (size_t i = 0; i < PV_ARRAY_LEN(names) && !m->how.capability[0]; i++)
            if (reply_names(capabilities, names[i]))
                snprintf(m->how.capability, sizeof(m->how.capability), "%s", names[i]);
    /* mapped-ram needs "file:" URIs; later versions deprecate "fd:" for files. */
    m->how.by_file_uri = reply_names(capabilities, "mapped-ram");
    m->asked = true;
    m->with_memory = !m->how.capability[0];
    pv_debug("vm", "saves %s, by %s", m->with_memory ? "all memory" : "devices alone",
             m->how.by_file_uri ? "file:" : "fd:");
    return 0;
}

/* A device or an option that QEMU cannot save; xen-save-devices-state does not check that by itself. */
static int check_not_blocked(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    cleanup_free char *reply = NULL;
    json_t *status, *reasons;
    const char *why;

    if (pv_vm_qmp(vm, "query-migrate", NULL, &reply, deadline, err) < 0)
        return -1;
    status = json_loads(reply, 0, NULL);
    reasons = json_object_get(status, "blocked-reasons");
    why = json_string_value(json_array_get(reasons, 0));
    if (json_array_size(reasons) > 0)
        pv_err_set(err, PV_E_USAGE, "QEMU cannot save this machine: %.300s",
                   why ? why : "it gives no reason");
    reasons = json_array_size(reasons) > 0 ? reasons : NULL;
    json_decref(status);
    return reasons ? -1 : 0;
}

/* ---- save ---- */

static int save_by_migration(struct pv_vm *vm, bool with_memory, int64_t deadline, struct pv_err *err)
{
    struct pv_vm_migration *m = &vm->migration;
    const char *arguments =
        m->how.by_file_uri ? "{\"uri\":\"file:/proc/self/fd/" STR(FD_SAVE) "\"}" : "{\"uri\":\"fd:state\"}";

    if (save_file_clear(m, err) < 0 ||
        migration_prepare(vm, m->how.capability, !with_memory, deadline, err) < 0 ||
        (!m->how.by_file_uri && pv_qmp_pass(vm->qmp, m->save_fd, "state", deadline, err) < 0) ||
        pv_vm_qmp(vm, "migrate", arguments, NULL, deadline, err) < 0)
        return -1;
    return migration_wait(vm, "save the VM", deadline, err);
}

static int save_devices(struct pv_vm *vm, struct pv_buf *out, int64_t deadline, struct pv_err *err)
{
    if (save_file_clear(&vm->migration, err) < 0 ||
        pv_vm_qmp(vm, "xen-save-devices-state",
                  "{\"filename\":\"/proc/self/fd/" STR(FD_SAVE) "\",\"live\":false}", NULL, deadline,
                  err) < 0)
        return -1;
    return saved_read(&vm->migration, out, err);
}

/*
 * Makes sure of the head: that of the file that the VM was loaded from, or of a migration of the booted VM.
 * It stays empty where there is none.  devices: those of the stopped VM.
 */
static int find_head(struct pv_vm *vm, const struct pv_buf *devices, int64_t deadline, struct pv_err *err)
{
    cleanup_buf struct pv_buf stream = {0};
    struct pv_vm_migration *m = &vm->migration;
    size_t n;

    if (m->head.len)
        return 0;
    if (m->load_fd >= 0) {
        struct pv_vmstate_record loaded;

        if (pv_vmstate_read(m->load_fd, &loaded, err) < 0)
            return -1;
        return loaded.head ? stream_read(m->load_fd, loaded.head, &m->head, err) : 0;
    }
    if (save_by_migration(vm, false, deadline, err) < 0 || saved_read(m, &stream, err) < 0)
        return -1;
    n = pv_vmstate_head(&stream, devices);
    pv_buf_add(&m->head, stream.data, n);
    return 0;
}

/* Saves the devices into fd; leaves it empty and sets m->with_memory when they have no head. */
static int save_without_memory(struct pv_vm *vm, int fd, int64_t deadline, struct pv_err *err)
{
    cleanup_buf struct pv_buf devices = {0}, stream = {0};
    struct pv_vm_migration *m = &vm->migration;

    if (save_devices(vm, &devices, deadline, err) < 0 || find_head(vm, &devices, deadline, err) < 0)
        return -1;
    m->with_memory = !m->head.len || !pv_vmstate_join(&m->head, &devices, &stream);
    if (m->with_memory)
        return 0;
    if (pv_write_all(fd, stream.data, stream.len) < 0)
        return pv_err_sys(err, errno, "cannot keep the state of the VM");
    m->how.head = m->head.len;
    return pv_vmstate_append(fd, &m->how, err);
}

static int save_with_memory(struct pv_vm *vm, int fd, int64_t deadline, struct pv_err *err)
{
    struct pv_vm_migration *m = &vm->migration;
    struct pv_vmstate_record record = {.by_file_uri = m->how.by_file_uri};
    int r;

    if (pv_vm_qmp(vm, "migrate-set-parameters", "{\"max-bandwidth\":" BANDWIDTH "}", NULL, deadline, err) <
            0 ||
        save_by_migration(vm, true, deadline, err) < 0)
        return -1;
    r = pv_copy_sparse(m->save_fd, fd, err);
    if (r == 0)
        r = pv_vmstate_append(fd, &record, err);
    return save_file_clear(m, r == 0 ? err : NULL) < 0 ? -1 : r;
}

int pv_vm_save(struct pv_vm *vm, int *out, bool *with_memory, int64_t deadline, struct pv_err *err)
{
    cleanup_close int fd = -1;
    struct pv_vm_migration *m = &vm->migration;

    if (m->save_fd < 0)
        return pv_err_set(err, PV_E_USAGE, "this VM was not started to be saved");
    fd = memfd_create("provium-state", MFD_CLOEXEC);
    if (fd < 0)
        return pv_err_sys(err, errno, "cannot keep the state of the VM");
    if (pv_vm_stop(vm, deadline, err) < 0 || (!m->asked && ask_how_to_save(vm, deadline, err) < 0) ||
        check_not_blocked(vm, deadline, err) < 0)
        return -1;
    if ((!m->with_memory && save_without_memory(vm, fd, deadline, err) < 0) ||
        (m->with_memory && save_with_memory(vm, fd, deadline, err) < 0))
        return -1;
    *with_memory = m->with_memory;
    *out = pv_steal_fd(&fd);
    return 0;
}

int pv_vm_load(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    struct pv_vmstate_record r;

    if (pv_vmstate_read(vm->migration.load_fd, &r, err) < 0 ||
        migration_prepare(vm, r.capability, true, deadline, err) < 0 ||
        pv_vm_qmp(vm, "migrate-incoming",
                  r.by_file_uri ? "{\"uri\":\"file:/proc/self/fd/" STR(FD_LOAD) "\"}"
                                : "{\"uri\":\"fd:" STR(FD_LOAD) "\"}",
                  NULL, deadline, err) < 0)
        return -1;
    return migration_wait(vm, "load the state of the VM", deadline, err);
}

/*
 * QEMU 10.0 and later leave a loaded VM's disks inactive until `cont`, and abort when something writes to one before.
 * Earlier versions activate them with the load, and have no such command.
 */
int pv_vm_activate_disks(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    struct pv_err e = PV_ERR_INIT;

    if (pv_vm_qmp(vm, "blockdev-set-active", "{\"active\":true}", NULL, deadline, &e) == 0 ||
        strstr(e.text, "has not been found"))
        return 0;
    if (err)
        *err = e;
    return -1;
}
