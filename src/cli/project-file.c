/* SPDX-License-Identifier: MIT */
#include "cli/project-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

int pv_project_file_write(const char *command, const char *dir, const struct project_file *f,
                          struct pv_err *err)
{
    cleanup_free char *path = pv_path_join(dir, f->path);
    cleanup_free char *parent = pv_path_dirname(path);
    cleanup_close int fd = -1;

    if (pv_mkdir_p(parent, 0777, err) < 0)
        return pv_err_wrap(err, "%s", command);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) {
        printf("kept  %s (it was there before)\n", path);
        return 0;
    }
    if (fd < 0)
        return pv_err_sys(err, errno, "%s: cannot make '%s'", command, path);
    if (pv_write_all(fd, f->text, f->len) < 0) {
        int errnum = errno;

        unlink(path);
        return pv_err_sys(err, errnum, "%s: cannot write '%s'", command, path);
    }
    printf("made  %s\n", path);
    return 1;
}
