/* SPDX-License-Identifier: MIT */
/*
 * The first save of a booted VM is a migration with the capability x-ignore-shared, which leaves out memory
 * that is a shared file; QEMU's ROMs, which are no file, are in the stream.  A loaded VM maps its memory
 * privately, so the same capability would save all of it.  `xen-save-devices-state` saves the devices alone,
 * in the same format, and the VM may go on after it.  It lacks the configuration and the ROMs, which do not
 * change in a VM's life: they are the head of the VM's first stream, and each later save is that head and
 * the new device state behind it.
 */
#include "vm/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/loop.h"
#include "util/err.h"
#include "util/path.h"
#include "vm/internal.h"
#include "vm/qmp.h"
#include "vm/vmstate.h"

enum { STREAM_MAX = 64 << 20 };

#define STR_(x) #x
#define STR(x) STR_(x)
#define FD_SAVE 33
#define FD_LOAD 34
_Static_assert(FD_SAVE == PV_QEMU_FD_SAVE && FD_LOAD == PV_QEMU_FD_LOAD, "descriptor numbers");

static int stream_read(int fd, struct pv_buf *out, struct pv_err *err)
{
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0 || st.st_size > STREAM_MAX)
        return pv_err_set(err, PV_E_HOST, "the state of the VM is larger than %d MiB", STREAM_MAX >> 20);
    pv_buf_reserve(out, (size_t)st.st_size);
    n = pv_pread_all(fd, out->data + out->len, (size_t)st.st_size, 0);
    if (n != st.st_size)
        return pv_err_sys(err, n < 0 ? errno : EIO, "cannot read the state of the VM");
    out->len += (size_t)n;
    return 0;
}

static int fail_unknown_format(struct pv_err *err)
{
    return pv_err_set(err, PV_E_HOST, "cannot save the VM: this QEMU's state is of an unknown shape");
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

static int migration_set_capabilities(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    return pv_vm_qmp(vm, "migrate-set-capabilities",
                     "{\"capabilities\":[{\"capability\":\"x-ignore-shared\",\"state\":true},"
                     "{\"capability\":\"events\",\"state\":true}]}",
                     NULL, deadline, err);
}

/* The first stream of a booted VM; keeps its head. */
static int save_by_migration(struct pv_vm *vm, struct pv_buf *out, int64_t deadline, struct pv_err *err)
{
    struct pv_vm_migration *m = &vm->migration;
    size_t head;

    m->status[0] = '\0';
    if (ftruncate(m->save_fd, 0) < 0 || lseek(m->save_fd, 0, SEEK_SET) < 0)
        return pv_err_sys(err, errno, "cannot save the VM");
    if (migration_set_capabilities(vm, deadline, err) < 0 ||
        pv_qmp_pass(vm->qmp, m->save_fd, "state", deadline, err) < 0 ||
        pv_vm_qmp(vm, "migrate", "{\"uri\":\"fd:state\"}", NULL, deadline, err) < 0 ||
        migration_wait(vm, "save the VM", deadline, err) < 0 || stream_read(m->save_fd, out, err) < 0)
        return -1;
    head = pv_vmstate_head(out->data, out->len);
    if (!head)
        return fail_unknown_format(err);
    pv_buf_add(&m->head, out->data, head);
    return 0;
}

static int save_devices(struct pv_vm *vm, struct pv_buf *out, int64_t deadline, struct pv_err *err)
{
    static const char no_description[] = {PV_VMSTATE_DESCRIPTION, 0, 0, 0, 0};
    cleanup_buf struct pv_buf devices = {0};
    struct pv_vm_migration *m = &vm->migration;

    if (ftruncate(m->save_fd, 0) < 0)
        return pv_err_sys(err, errno, "cannot save the VM");
    if (pv_vm_qmp(vm, "xen-save-devices-state",
                  "{\"filename\":\"/proc/self/fd/" STR(FD_SAVE) "\",\"live\":false}", NULL, deadline,
                  err) < 0 ||
        stream_read(m->save_fd, &devices, err) < 0)
        return -1;
    if (devices.len < 9 || memcmp(devices.data, m->head.data, 8) != 0 || devices.data[8] != PV_VMSTATE_FULL ||
        devices.data[devices.len - 1] != 0)
        return fail_unknown_format(err);
    pv_buf_add(out, m->head.data, m->head.len);
    pv_buf_add(out, devices.data + 8, devices.len - 8);
    pv_buf_add(out, no_description, sizeof(no_description));
    return 0;
}

/* Keeps the head of the stream that the VM was loaded from. */
static int keep_loaded_head(struct pv_vm_migration *m, struct pv_err *err)
{
    cleanup_buf struct pv_buf loaded = {0};
    size_t head;

    if (stream_read(m->load_fd, &loaded, err) < 0)
        return -1;
    head = pv_vmstate_head(loaded.data, loaded.len);
    if (!head)
        return pv_err_set(err, PV_E_HOST,
                          "cannot save the VM: the state that it was loaded from is of an unknown shape");
    pv_buf_add(&m->head, loaded.data, head);
    return 0;
}

int pv_vm_save(struct pv_vm *vm, int *out, int64_t deadline, struct pv_err *err)
{
    cleanup_buf struct pv_buf stream = {0};
    cleanup_close int fd = -1;
    struct pv_vm_migration *m = &vm->migration;

    if (m->save_fd < 0)
        return pv_err_set(err, PV_E_USAGE, "this VM was not started to be saved");
    if (pv_vm_stop(vm, deadline, err) < 0)
        return -1;
    if (!m->head.len && m->load_fd >= 0 && keep_loaded_head(m, err) < 0)
        return -1;
    if ((m->head.len ? save_devices(vm, &stream, deadline, err)
                     : save_by_migration(vm, &stream, deadline, err)) < 0)
        return -1;
    fd = memfd_create("provium-state", MFD_CLOEXEC);
    if (fd < 0 || pv_write_all(fd, stream.data, stream.len) < 0)
        return pv_err_sys(err, errno, "cannot keep the state of the VM");
    *out = pv_steal_fd(&fd);
    return 0;
}

int pv_vm_load(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    vm->migration.status[0] = '\0';
    if (migration_set_capabilities(vm, deadline, err) < 0 ||
        pv_vm_qmp(vm, "migrate-incoming", "{\"uri\":\"fd:" STR(FD_LOAD) "\"}", NULL, deadline, err) < 0)
        return -1;
    return migration_wait(vm, "load the state of the VM", deadline, err);
}
