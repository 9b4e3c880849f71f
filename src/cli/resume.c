/* SPDX-License-Identifier: MIT */
/* provium resume: into a VM as it was at the failure that provium test --save-failed has saved. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/hand.h"
#include "cli/options.h"
#include "cli/resume-check.h"
#include "config/config.h"
#include "guest/guest.h"
#include "guest/snapshot.h"
#include "loop/loop.h"
#include "pvsave/pvsave.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/parse.h"
#include "util/text.h"

#define RESUME_TIME (120 * PV_NSEC_PER_SEC)

enum { OPT_LIST, OPT_CONSOLE, OPT_CONFIG, OPT_COUNT };

static const struct pv_opt opts[] = {
    [OPT_LIST] = {"list", 'l', NULL, "show the failure, the VMs and what was saved of them"},
    [OPT_CONSOLE] = {"console", 0, "VM", "print the console log of VM"},
    [OPT_CONFIG] = {"config", 'c', "FILE", "provium.toml with the qemu_args of the VM's profile"},
    [OPT_COUNT] = {NULL},
};

struct resume_cmd {
    const char *file, *vm, *console, *config;
    char **command; /* NULL-terminated; NULL: a shell */
    bool list, help;
};

static int resume_parse(struct resume_cmd *c, int argc, char **argv, struct pv_err *err)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    const char *value;
    int i;

    for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        ;
    p.argc = i;
    if (i < argc) {
        if (i + 1 == argc)
            return pv_err_set(err, PV_E_USAGE, "resume: no command behind '--'");
        c->command = argv + i + 1;
    }
    while ((i = pv_opt_next(&p, &value, err)) >= 0)
        switch (i) {
        case OPT_LIST:
            c->list = true;
            break;
        case OPT_CONSOLE:
            c->console = value;
            break;
        case OPT_CONFIG:
            c->config = value;
            break;
        case PV_OPT_HELP:
            c->help = true;
            break;
        default:
            if (c->vm)
                return pv_err_set(err, PV_E_USAGE,
                                  "resume: too many arguments: '%s'; a command stands behind '--'", value);
            *(c->file ? &c->vm : &c->file) = value;
        }
    if (i == PV_OPT_BAD)
        return -1;
    if (!c->help && !c->file)
        return pv_err_set(err, PV_E_USAGE,
                          "resume: which file? provium test --save-failed DIR writes DIR/NAME%s",
                          PV_PVSAVE_SUFFIX);
    if ((c->list || c->console) && (c->command || (c->list && c->console)))
        return pv_err_set(err, PV_E_USAGE,
                          "resume: --list and --console resume nothing; give one of them, alone");
    return 0;
}

/* ---- what is shown ---- */

static void print_clean(FILE *out, const char *text, size_t n, const char *indent)
{
    cleanup_buf struct pv_buf clean = {0};

    pv_text_clean(&clean, text, n, indent);
    if (clean.len)
        fwrite(clean.data, 1, clean.len, out);
}

static void print_failure(FILE *out, const struct pv_pvsave_failure *f)
{
    print_clean(out, f->file, strlen(f->file), NULL);
    fputs(" failed at ", out);
    print_clean(out, f->time, strlen(f->time), NULL);
    fputs(":\n  ", out);
    print_clean(out, f->message, strlen(f->message), "  ");
    fputc('\n', out);
}

static void print_list(const struct pv_pvsave *s)
{
    const struct pv_strv *t = &s->failure.timeline;

    print_failure(stdout, &s->failure);
    for (size_t i = 0; i < s->n_vms; i++) {
        const struct pv_pvsave_vm *vm = &s->vms[i];
        char size[32];

        fputc('\n', stdout);
        print_clean(stdout, vm->name, strlen(vm->name), NULL);
        fputs(" (", stdout);
        print_clean(stdout, vm->profile, strlen(vm->profile), NULL);
        printf("): %s\n", vm->reason ? "not saved" : "saved");
        if (vm->reason) {
            fputs("  ", stdout);
            print_clean(stdout, vm->reason, strlen(vm->reason), "  ");
            fputc('\n', stdout);
        }
        for (size_t j = 0; j < vm->n_files; j++)
            printf("  %-10s %s\n", vm->files[j].name, pv_format_size(vm->files[j].size, size));
        printf("  %-10s %s\n", "console", pv_format_size(vm->console.len, size));
    }
    puts("\nthe last calls:");
    for (size_t i = t->n > 20 ? t->n - 20 : 0; i < t->n; i++) {
        print_clean(stdout, t->v[i], strlen(t->v[i]), NULL);
        putchar('\n');
    }
}

static int print_console(const struct pv_pvsave *s, const char *name, struct pv_err *err)
{
    cleanup_buf struct pv_buf names = {0};

    for (size_t i = 0; i < s->n_vms; i++) {
        const struct pv_pvsave_vm *vm = &s->vms[i];

        if (!strcmp(vm->name, name)) {
            if (isatty(STDOUT_FILENO))
                print_clean(stdout, vm->console.data ? vm->console.data : "", vm->console.len, NULL);
            else
                fwrite(vm->console.data ? vm->console.data : "", 1, vm->console.len, stdout);
            return 0;
        }
        pv_buf_addf(&names, "%s%.40s", i ? ", " : "", vm->name);
    }
    return pv_err_set(err, PV_E_USAGE, "resume: it has no VM '%s'; it has: %s", name,
                      names.data ? names.data : "none");
}

/* ---- in the VM ---- */

static int saved_file_find(const char *name, void *arg)
{
    const struct pv_pvsave_file *f = pv_pvsave_vm_file(arg, name);

    return f ? f->fd : -1;
}

static void print_notice(const char *line, void *arg)
{
    (void)arg;
    fprintf(stderr, "provium: note: %s\n", line);
}

static int vm_run(const struct resume_cmd *c, struct pv_pvsave_vm *vm, struct pv_profile *p,
                  struct pv_err *err)
{
    struct pv_config config = {.profiles = p, .n_profiles = 1};
    struct pv_guest_env env = {
        .host = {.loop = pv_loop_new(err), .auto_transport = PV_TRANSPORT_SERIAL},
        .observer = {.notice = print_notice},
    };
    struct pv_resume_opts o = {.timeout_ns = RESUME_TIME};
    cleanup_strv struct pv_strv argv = {0};
    struct pv_snapshot *s =
        env.host.loop ? pv_snapshot_load(vm->json, saved_file_find, vm, &config, err) : NULL;
    struct pv_guest *g = s ? pv_guest_resume(&env, s, &o, err) : NULL;
    int code = -1;

    if (g) {
        fprintf(stderr, "%s is resumed as %s; its clock is set to now, all else is as it was.\n", vm->name,
                pv_guest_name(g));
        for (char **word = c->command; word && *word; word++)
            pv_strv_add(&argv, *word);
        code = pv_hand_serve(g, &argv, NULL, err);
    }
    pv_guest_free(g);
    pv_snapshot_unref(s);
    pv_loop_free(env.host.loop);
    return code;
}

static struct pv_pvsave_vm *vm_choose(const struct resume_cmd *c, struct pv_pvsave *s)
{
    for (size_t i = 0; i < s->n_vms; i++)
        if (c->vm ? !strcmp(s->vms[i].name, c->vm) : !s->vms[i].reason)
            return &s->vms[i];
    return NULL;
}

static int file_resume(const struct resume_cmd *c, struct pv_pvsave *s, struct pv_err *err)
{
    struct pv_pvsave_vm *vm = vm_choose(c, s);
    struct pv_config *config = pv_config_load(c->config, NULL, c->config ? err : NULL);
    cleanup_buf struct pv_buf notes = {0};
    struct pv_profile p = {0};
    int r;

    if (c->config && !config)
        return -1;
    if (vm->reason) {
        r = pv_err_set(err, PV_E_USAGE, "%s was not saved: %.2000s; --console %s shows its console", vm->name,
                       vm->reason, vm->name);
    } else {
        r = pv_resume_check(s, vm, config, &p, &notes, err);
        if (notes.len)
            print_clean(stderr, notes.data, notes.len - 1, NULL);
        if (notes.len)
            fputc('\n', stderr);
        print_failure(stderr, &s->failure);
        if (r == 0)
            r = vm_run(c, vm, &p, err);
    }
    pv_resume_profile_fini(&p);
    pv_config_free(config);
    return r;
}

static int resume_run(const struct resume_cmd *c, struct pv_err *err)
{
    cleanup_close int fd = open(c->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *want = c->list || c->console ? NULL : c->vm ? c->vm : "";
    struct pv_pvsave s;
    struct stat st;
    int r;

    if (fd < 0)
        return pv_err_set(err, PV_E_USAGE, "resume: cannot open '%s': %s", c->file, strerror(errno));
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        return pv_err_set(
            err, PV_E_USAGE,
            "resume: '%s' is a directory; expected a file NAME.pvsave, as provium test --save-failed "
            "writes into it",
            c->file);
    r = pv_pvsave_read(fd, want, &s, err);
    if (r == 0 && c->list)
        print_list(&s);
    else if (r == 0 && c->console)
        r = print_console(&s, c->console, err);
    else if (r == 0)
        r = file_resume(c, &s, err);
    pv_pvsave_fini(&s);
    return r < 0 ? pv_err_wrap(err, "resume: '%s'", c->file) : r;
}

static int resume_main(int argc, char **argv)
{
    struct pv_err err = PV_ERR_INIT;
    struct resume_cmd c = {.file = NULL};
    int rc = resume_parse(&c, argc, argv, &err);

    if (rc == 0 && c.help)
        pv_command_usage(&pv_command_resume);
    else if (rc == 0)
        rc = resume_run(&c, &err);
    return rc < 0 ? pv_cli_error(&err) : rc;
}

const struct pv_command pv_command_resume = {
    .name = "resume",
    .run = resume_main,
    .help = "go into a VM as it was at a failure",
    .usage = "resume [options] FILE [VM] [-- COMMAND...]",
    .about = "Resumes a VM (the first one that was saved) from a file of provium test\n"
             "--save-failed, as it was at the failure, and runs COMMAND in it, else a shell,\n"
             "as provium shell does. The exit code is the command's or the shell's; 2: the\n"
             "file is damaged, or cannot be resumed here.",
    .opts = opts,
    .words = "FILE",
};
