/* SPDX-License-Identifier: MIT */
/*
 * The wrapper: what runs as the kernel's rdinit, between the kernel and the guest's own init.
 *
 * It is on the path of every boot, so it forks once, reads modules straight from the initramfs, and leaves
 * nothing behind: no mount that the kernel would not have made, no file of its own.
 */
#ifndef PV_AGENT_BOOT_H
#define PV_AGENT_BOOT_H

#include <stdbool.h>

#include "conf.h"
#include "wire/proto.h"

/* Where the wrapper mounts things for itself; all of it is gone when init starts. */
#define AG_DEV_DIR PV_BOOT_DIR "/dev"
#define AG_PROC_DIR PV_BOOT_DIR "/proc"
#define AG_SYS_DIR PV_BOOT_DIR "/sys"
#define AG_LOWER_DIR PV_BOOT_DIR "/lower"
#define AG_UPPER_DIR PV_BOOT_DIR "/upper"
#define AG_ROOT_DIR PV_BOOT_DIR "/root"

struct ag_boot {
    struct ag_conf conf;
    int root_fd;            /* the initramfs' root directory */
    int proc_fd;            /* private procfs, mounted nowhere; outlives whatever init does */
    int sys_fd;             /* private sysfs, -1 unless conf.serial */
    int dev_fd;             /* private devtmpfs, -1 when the kernel has none */
    int files_fd;           /* injected files, -1 when there are none */
    bool debug;             /* provium.debug=1: times on the console */
    char init[PV_PATH_MAX]; /* what becomes PID 1 */
    char trouble[512];      /* modules that could not be loaded, for a later fatal message */
};

/* One line to the console: "provium: TEXT". */
void ag_say(const struct ag_boot *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "provium: fatal: TEXT" to the console and stderr, then reboots: QEMU runs with -no-reboot and exits. */
_Noreturn void ag_fatal(const struct ag_boot *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- modules.c ---- */

/*
 * Loads PV_BOOT_MODULES/file.  Loaded already is fine; another failure is told on the console and noted in
 * b->trouble, and the boot goes on.
 */
void ag_module_load(struct ag_boot *b, const char *file);

/* ---- port.c ---- */

/*
 * The virtio-serial port of this name, non-blocking; waits for the driver to find it.  Fatal when it does not
 * within 10 s.
 */
int ag_port_open(const struct ag_boot *b, const char *name);

/* ---- inject.c ---- */

/*
 * Moves everything below b->files_fd to its place in the root that this process has now; fatal, naming the
 * file, when one can not be placed.
 */
void ag_inject(struct ag_boot *b);

/* ---- rootfs.c ---- */

/*
 * Mounts the root file system that conf.rootfs and conf.root name, an overlay in RAM on top of it, and
 * makes that the root of this process (with devtmpfs on its /dev).  Fatal on failure.
 */
void ag_rootfs_switch(struct ag_boot *b);

/* ---- wrapper.c ---- */

/* Never returns: becomes init, or reboots. */
_Noreturn void ag_wrapper_main(char **argv, char **envp);

#endif
