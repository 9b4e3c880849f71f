/* SPDX-License-Identifier: MIT */
/* provium run: boots a kernel and runs a command in it, with its output as it comes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/hand.h"
#include "cli/options.h"
#include "config/config.h"
#include "config/diskformat.h"
#include "guest/guest.h"
#include "util/err.h"
#include "util/parse.h"
#include "util/path.h"

enum {
    OPT_KERNEL,
    OPT_ROOTFS,
    OPT_RW,
    OPT_SHARE,
    OPT_PROFILE,
    OPT_MEM,
    OPT_CPUS,
    OPT_DISK,
    OPT_NET,
    OPT_FILES,
    OPT_APPEND,
    OPT_CWD,
    OPT_WAIT_SYSTEM,
    OPT_COLD,
    OPT_GDB,
    OPT_QUIET,
    OPT_CONFIG,
    OPT_ACCEL
};

static const struct pv_opt options[] = {
    [OPT_KERNEL] = {"kernel", 'k', "WHAT", "bzImage, build tree, .deb, or version (/boot, Debian)"},
    [OPT_ROOTFS] = {"rootfs", 0, "IMAGE|DIR|host", "root: image, directory, the host's own; only read"},
    [OPT_RW] = {"rw", 0, NULL, "write to DIR, with host to the working directory"},
    [OPT_SHARE] = {"share", 0, "virtiofs|9p", "how DIR gets there (default: virtiofs where it works)"},
    [OPT_PROFILE] = {"profile", 0, "PROFILE", "profile of provium.toml (default: default)"},
    [OPT_MEM] = {"mem", 'm', "SIZE", "memory of the VM (default: 512M)"},
    [OPT_CPUS] = {"cpus", 'c', "N", "CPUs of the VM (default: 1)"},
    [OPT_DISK] = {"disk", 0, "SPEC", "more disks: FILE (kept as it is), FILE,rw, size=SIZE"},
    [OPT_NET] = {"net", 0, NULL, "an uplink: the VM reaches what the host reaches (NAT)"},
    [OPT_FILES] = {"files", 0, "A=B", "file or directory A of the host is B in the guest"},
    [OPT_APPEND] = {"append", 0, "TEXT", "more words for the kernel command line"},
    [OPT_CWD] = {"cwd", 0, "DIR", "working directory of the command in the guest"},
    [OPT_WAIT_SYSTEM] = {"wait-system", 0, NULL, "begin when systemd has started everything"},
    [OPT_COLD] = {"cold", 0, NULL, "boot, also where a cached boot is as good"},
    [OPT_GDB] = {"gdb", 0, NULL, "the kernel waits for `provium gdb`"},
    [OPT_QUIET] = {"quiet", 'q', NULL, "no line about the boot on standard error"},
    [OPT_CONFIG] = {"config", 0, "FILE", "this provium.toml (default: the nearest one upward)"},
    [OPT_ACCEL] = {"accel", 0, "auto|kvm|tcg", "how the VM is run, over what the profile says"},
    {NULL},
};

static int run_disk(struct hand_opts *o, const char *spec, struct pv_err *err)
{
    struct pv_guest_disk d = {.snapshot = true};
    size_t n = strlen(spec);
    bool rw = n > 3 && !strcmp(spec + n - 3, ",rw");
    struct stat st;

    if (!strncmp(spec, "size=", 5)) {
        d.snapshot = false;
        if (pv_parse_size(spec + 5, &d.size, err) < 0)
            return pv_err_wrap(err, "run: --disk");
        d.format = pv_xstrdup("raw");
    } else {
        cleanup_free char *path = pv_xasprintf("%.*s", (int)(rw ? n - 3 : n), spec);

        if (stat(path, &st) < 0)
            return pv_err_set(err, PV_E_USAGE,
                              "run: --disk '%s': there is no such image; expected FILE, FILE,rw or size=SIZE",
                              path);
        if (S_ISDIR(st.st_mode))
            return pv_err_set(
                err, PV_E_USAGE,
                "run: --disk '%s': is a directory; expected an image file (--files HOST=GUEST takes "
                "directories)",
                spec);
        const char *format = pv_disk_format(path, err);

        if (!format)
            return pv_err_wrap(err, "run: --disk '%s'", path);
        d.path = pv_realpath(path);
        d.format = pv_xstrdup(format);
        d.snapshot = !rw;
    }
    o->boot.disks = pv_xrealloc(o->boot.disks, (o->boot.n_disks + 1) * sizeof(d));
    o->boot.disks[o->boot.n_disks++] = d;
    return 0;
}

static int run_files(struct hand_opts *o, const char *spec, struct pv_err *err)
{
    const char *eq = strchr(spec, '=');
    struct pv_guest_file f = {.mode = PV_GUEST_FILE_KEEP};

    if (!eq || eq == spec || eq[1] != '/')
        return pv_err_set(err, PV_E_USAGE,
                          "run: --files takes HOST=GUEST with an absolute path in the guest, got '%s'", spec);
    cleanup_free char *host = pv_xasprintf("%.*s", (int)(eq - spec), spec);

    f.host_path = pv_realpath(host);
    if (!f.host_path)
        return pv_err_set(err, PV_E_USAGE, "run: --files '%s': there is no '%s' on the host", spec, host);
    f.guest_path = pv_xstrdup(eq + 1);
    o->boot.files = pv_xrealloc(o->boot.files, (o->boot.n_files + 1) * sizeof(f));
    o->boot.files[o->boot.n_files++] = f;
    return 0;
}

static int run_share(struct hand_opts *o, const char *by, struct pv_err *err)
{
    o->boot.root.by = !strcmp(by, "virtiofs") ? PV_BY_VIRTIOFS : !strcmp(by, "9p") ? PV_BY_9P : PV_BY_DEFAULT;
    if (o->boot.root.by == PV_BY_DEFAULT)
        return pv_err_set(err, PV_E_USAGE, "run: --share is virtiofs or 9p, not '%s'", by);
    return 0;
}

static int run_append(struct hand_opts *o, const char *words)
{
    char *both = o->boot.append ? pv_xasprintf("%s %s", o->boot.append, words) : pv_xstrdup(words);

    free(o->boot.append);
    o->boot.append = both;
    return 0;
}

static int run_option(struct hand_opts *o, int i, const char *value, struct pv_err *err)
{
    const struct {
        const char **text;
    } texts[] = {[OPT_KERNEL] = {&o->kernel}, [OPT_ROOTFS] = {&o->rootfs}, [OPT_PROFILE] = {&o->profile},
                 [OPT_CWD] = {&o->cwd},       [OPT_CONFIG] = {&o->config}, [OPT_ACCEL] = {NULL}};

    if (texts[i].text) {
        *texts[i].text = value;
        return 0;
    }
    switch (i) {
    case OPT_RW:
        o->rw = true;
        return 0;
    case OPT_SHARE:
        return run_share(o, value, err);
    case OPT_NET:
        o->net = true;
        return 0;
    case OPT_WAIT_SYSTEM:
        o->boot.wait_system = PV_CHOICE_YES;
        return 0;
    case OPT_COLD:
        o->cold = true;
        return 0;
    case OPT_GDB:
        o->gdb = true;
        return 0;
    case OPT_QUIET:
        o->quiet = true;
        return 0;
    case OPT_MEM:
        return pv_hand_parse_memory(o, value, err);
    case OPT_CPUS:
        return pv_hand_parse_cpus(o, value, err);
    case OPT_DISK:
        return run_disk(o, value, err);
    case OPT_FILES:
        return run_files(o, value, err);
    case OPT_APPEND:
        return run_append(o, value);
    default:
        return pv_hand_parse_accel(o, value, err);
    }
}

/* The command: all words from the first one that is no option on. */
static void run_command(struct hand_opts *o, int n, char **words)
{
    if (n == 1 && strpbrk(words[0], " \t\n")) {
        pv_strv_add(&o->argv, "/bin/sh");
        pv_strv_add(&o->argv, "-c");
    }
    for (int i = 0; i < n; i++)
        pv_strv_add(&o->argv, words[i]);
}

static int run_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = options, .argc = argc, .argv = argv};
    struct hand_opts o = {.command = "run"};
    struct pv_err err = PV_ERR_INIT;
    const char *value;
    int i = 0, rc = 0;

    while (rc == 0 && (i = pv_opt_next(&p, &value, &err)) != PV_OPT_END && i != PV_OPT_WORD &&
           i != PV_OPT_HELP)
        rc = i == PV_OPT_BAD ? -1 : run_option(&o, i, value, &err);
    if (rc == 0 && i == PV_OPT_WORD)
        run_command(&o, argc - p.at + 1, argv + p.at - 1);
    if (rc == 0 && i == PV_OPT_HELP)
        pv_command_usage(&pv_command_run);
    else if (rc == 0)
        rc = pv_hand_run(&o, &err);
    rc = rc < 0 ? pv_hand_error(&err) : rc;
    pv_hand_opts_fini(&o);
    return rc;
}

const struct pv_command pv_command_run = {
    .name = "run",
    .run = run_main,
    .help = "boot a kernel and run a command in it",
    .usage = "run [options] [--] [COMMAND [ARGUMENT...]]",
    .about = "Boots a VM, runs the command in it and ends with its exit code (128 + N when\n"
             "signal N killed it). Output comes as it is printed; standard input is the\n"
             "command's. One COMMAND with spaces in it is given to /bin/sh. Without a command:\n"
             "a shell. --disk, --files and --append may be repeated.\n"
             "\n"
             "The root of --rootfs is only read; writes go to RAM. --rw lets them through: to\n"
             "all of DIR; with host, to the working directory and what is below.\n"
             "\n"
             "    provium run uname -a\n"
             "    provium run -k ~/linux -m 2G -- 'dmesg | grep -i error'\n"
             "\n"
             "126 and 127: the command could not be started; 1: the guest died; 2: it could\n"
             "not be booted.",
    .opts = options,
    .words = "COMMAND",
    .group = "A VM by hand",
};
