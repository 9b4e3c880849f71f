/* SPDX-License-Identifier: MIT */
/*
 * Guest init: the kernel's rdinit, which runs before the guest's own init.  It is on the path of every
 * boot, so it forks once and reads modules straight from the initramfs.  It leaves nothing behind: no mount
 * that the kernel would not have made, no file.
 */
#ifndef PV_AGENT_BOOT_H
#define PV_AGENT_BOOT_H

#include <stdbool.h>
#include <stddef.h>

#include "conf.h"
#include "wire/proto.h"

/* Mount points of guest init's own; gone when the guest's init starts. */
#define AG_DEV_DIR PV_BOOT_DIR "/dev"
#define AG_PROC_DIR PV_BOOT_DIR "/proc"
#define AG_SYS_DIR PV_BOOT_DIR "/sys"
#define AG_LOWER_DIR PV_BOOT_DIR "/lower"
#define AG_UPPER_DIR PV_BOOT_DIR "/upper"
#define AG_ROOT_DIR PV_BOOT_DIR "/root"
#define AG_KEEP_DIR PV_BOOT_DIR "/keep"

struct ag_switch;

struct ag_boot {
    struct ag_conf conf;
    int root_fd;                   /* root directory of the initramfs */
    bool btrfs;                    /* the root file system is one, which may have other roots in subvolumes */
    int proc_fd;                   /* private procfs */
    int sys_fd;                    /* private sysfs; -1 unless conf.serial */
    int dev_fd;                    /* private devtmpfs; -1: the kernel has none */
    int files_fd;                  /* injected files; -1: none */
    bool debug;                    /* provium.debug=1: print times */
    char init[PV_PATH_MAX];        /* the guest's init */
    char *sums;                    /* the records of PV_BOOT_SUMS; NULL: none */
    size_t sums_n;                 /* their bytes */
    struct ag_switch *root_switch; /* the initrd may switch to another root (switch.h); NULL: it does not */
    char trouble[512]; /* modules that failed to load, "; module NAME: ..." for a later fatal message */
};

/*
 * Loads PV_BOOT_MODULES/file (modules.c).  A module that is loaded already counts as a success; a failure is
 * printed and added to b->trouble, and boot goes on.
 */
void ag_module_load(struct ag_boot *b, const char *file);

/*
 * Opens the virtio-serial port of this name, non-blocking (port.c).  Waits for the driver to find it; fatal
 * after 10 s.  The caller owns the descriptor.
 */
int ag_port_open(const struct ag_boot *b, const char *name);

/*
 * Compares what lies in the initramfs with the records of PV_BOOT_SUMS (arrival.c): fatal, with the first entries
 * that differ, the sizes and the memory, when the kernel unpacked the archive in part.  Without conf.sums (an archive
 * made by hand) it does nothing.
 */
void ag_check_arrival(struct ag_boot *b);

/*
 * Compares the injected files in the present root with those records, which ag_check_arrival has kept: fatal, naming
 * the file, when one is not as it was sent.  where: for the message, what root it is.
 */
void ag_check_placed(const struct ag_boot *b, const char *where);

/* Unmaps those records. */
void ag_forget_sums(struct ag_boot *b);

/*
 * Moves everything below b->files_fd to its place in the current root (inject.c); fatal, naming the file,
 * when a file cannot be placed.
 */
void ag_inject(struct ag_boot *b);

/*
 * Copies everything below the directory `tree`, which stays, to its place below dst ("" for the current root); fatal as
 * ag_inject, with `where` behind the file's name.
 */
void ag_inject_copy(const struct ag_boot *b, int tree, const char *dst, const char *where);

/*
 * Mounts the root file system that conf.rootfs and conf.root, or conf.share, name, with an overlay in RAM on top and
 * devtmpfs on its /dev, and makes that the root of this process (rootfs.c).  Fatal on failure.
 */
void ag_rootfs_switch(struct ag_boot *b);

/*
 * For the built-in userland, conf.userland: mounts /proc, /sys, /dev, /run, /tmp and those below /dev, brings the
 * loopback device up and sets the host name (userland.c).  What the kernel does not have is left out; false: it
 * has no devtmpfs.
 */
bool ag_userland_prepare(const struct ag_boot *b);

/*
 * Checks b->init, replaces it by conf.init_fallback if it does not exist; fatal when neither can be run
 * (choose-init.c).  Called before the agent is forked, so that a guest without an init never sends READY.
 */
void ag_choose_init(struct ag_boot *b);

/* Runs as the kernel's first process: becomes the guest's init, or reboots. */
_Noreturn void ag_guest_init_main(char **argv, char **envp);

#endif
