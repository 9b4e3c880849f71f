/* SPDX-License-Identifier: MIT */
#include "cli/coverage.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/find.h"
#include "testfile/coverage.h"
#include "testfile/kcov.h"
#include "testfile/outname.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"

enum { TOOL_LIMIT_MS = 15 * 60 * 1000 };

int pv_coverage_open(const char *dir, struct pv_err *err)
{
    cleanup_free char *lcov = pv_find_program("lcov"), *slash = pv_xasprintf("%s/", dir);

    if (!lcov)
        return pv_err_set(err, PV_E_MISSING, "--coverage needs lcov: apt-get install lcov");
    if (pv_mkdir_p(dir, 0777, err) < 0)
        return pv_err_wrap(err, "--coverage");
    /* with the '/', a file is an error, too */
    return access(slash, W_OK) < 0 ? pv_err_sys(err, errno, "--coverage: cannot write to '%s'", dir) : 0;
}

/* Runs lcov with its words at the end of DIR/lcov.log. */
static int lcov_run(const char *dir, char *const *argv, struct pv_err *err)
{
    cleanup_free char *log = pv_path_join(dir, "lcov.log");
    cleanup_close int fd = open(log, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0666);
    const struct pv_spawn_fd fds[] = {{fd, 1}, {fd, 2}};
    const struct pv_spawn sp = {.file = "lcov", .argv = argv, .fds = fds, .n_fds = 2};
    char how[64];
    int status = -1, pidfd = -1;
    pid_t pid;

    if (fd < 0)
        return pv_err_sys(err, errno, "cannot write '%s'", log);
    pid = pv_spawn(&sp, &pidfd, err);
    if (pid < 0)
        return -1;
    if (poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, TOOL_LIMIT_MS) <= 0)
        kill(pid, SIGKILL);
    pv_close(&pidfd);
    waitpid(pid, &status, 0);
    if (status == 0)
        return 0;
    return pv_err_set(err, PV_E_HOST, "lcov failed (%s): '%s' says why", pv_wait_status_text(status, how),
                      log);
}

/* DIR/FILE.info of what one test file has taken, if it has taken anything. */
static int file_capture(const char *dir, const char *path, struct pv_strv *infos, struct pv_err *err)
{
    cleanup_free char *file = pv_tf_outname(path);
    cleanup_free char *from = pv_xasprintf("%s/%s" TF_COVERAGE_DIR, dir, file);
    cleanup_free char *info = pv_xasprintf("%s/%s.info", dir, file);
    cleanup_free char *name = pv_tf_lcov_name(path);
    char *argv[] = {"lcov", "--capture",     "--directory", from, "--test-name",
                    name,   "--output-file", info,          NULL};

    unlink(info);
    if (access(from, F_OK) < 0)
        return 0;
    if (lcov_run(dir, argv, err) < 0)
        return pv_err_wrap(err, "--coverage: '%s'", from);
    pv_strv_add(infos, info);
    if (pv_rm_rf(from) < 0)
        return pv_err_sys(err, errno, "--coverage: cannot remove '%s'", from);
    return 0;
}

static int infos_merge(const char *dir, const char *whole, const struct pv_strv *infos, struct pv_err *err)
{
    cleanup_free char **argv = pv_xcalloc(infos->n * 2 + 4, sizeof(*argv));
    size_t n = 0;

    argv[n++] = "lcov";
    for (size_t i = 0; i < infos->n; i++) {
        argv[n++] = "--add-tracefile";
        argv[n++] = infos->v[i];
    }
    argv[n++] = "--output-file";
    argv[n++] = (char *)whole;
    return lcov_run(dir, argv, err) < 0 ? pv_err_wrap(err, "--coverage: '%s'", whole) : 0;
}

/* The last "  lines......: 83.3% (5 of 6 lines)" of lcov's words. */
static char *log_lines(const char *log)
{
    FILE *f = fopen(log, "re");
    char line[256], *found = NULL, *begin;

    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, "  lines", 7) && (begin = strstr(line, ": ")) != NULL) {
            free(found);
            found = pv_xstrndup(begin + 2, strcspn(begin + 2, "\n"));
        }
    if (f)
        fclose(f);
    return found;
}

/* A tracefile has a record for each test that reached a source file: lcov knows how to count them. */
static int whole_summary(const char *dir, char *whole, const char *log, int out, struct pv_err *err)
{
    char *argv[] = {"lcov", "--summary", whole, NULL};
    cleanup_free char *lines = lcov_run(dir, argv, err) < 0 ? NULL : log_lines(log);

    if (!lines)
        return err->cls != PV_E_NONE ? -1
                                     : pv_err_set(err, PV_E_HOST, "--coverage: '%s' has no summary", log);
    dprintf(out, "coverage: %s: %s\n", whole, lines);
    return 0;
}

/* Merges tracefiles into DIR/NAME and says how many lines they have; nothing without any. */
static int whole_make(const char *dir, const char *name, const struct pv_strv *infos, int out,
                      struct pv_err *err)
{
    cleanup_free char *whole = pv_path_join(dir, name), *log = pv_path_join(dir, "lcov.log");

    unlink(whole);
    if (!infos->n)
        return 0;
    return infos_merge(dir, whole, infos, err) < 0 ? -1 : whole_summary(dir, whole, log, out, err);
}

int pv_coverage_close(const char *dir, const struct pv_test_list *files, int out, struct pv_err *err)
{
    cleanup_strv struct pv_strv gcov = {0}, kcov = {0};
    cleanup_free char *log = pv_path_join(dir, "lcov.log");

    unlink(log);
    for (size_t i = 0; i < files->n; i++) {
        cleanup_free char *file = pv_tf_outname(files->v[i].path);
        cleanup_free char *info = pv_xasprintf("%s/%s" TF_KCOV_INFO, dir, file);

        if (access(info, F_OK) == 0)
            pv_strv_add(&kcov, info);
        if (file_capture(dir, files->v[i].path, &gcov, err) < 0)
            return -1;
    }
    if (!gcov.n && !kcov.n)
        dprintf(out, "coverage: none: no kernel of this run has counted anything\n");
    if (whole_make(dir, "coverage.info", &gcov, out, err) < 0)
        return -1;
    return whole_make(dir, "kcov.info", &kcov, out, err);
}
