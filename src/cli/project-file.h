/* SPDX-License-Identifier: MIT */
/* Files that commands make in a user's directory: a file that is there stays as it is. */
#ifndef PV_CLI_PROJECT_FILE_H
#define PV_CLI_PROJECT_FILE_H

#include <stddef.h>

struct pv_err;

struct project_file {
    const char *path; /* below the project's directory */
    const unsigned char *text;
    size_t len;
};

/*
 * Makes the file below dir, with the directories above it, and says so on standard output.  1: made; 0: kept, because
 * something was there; -1 with *err, which begins with the command's name.
 */
int pv_project_file_write(const char *command, const char *dir, const struct project_file *f,
                          struct pv_err *err);

#endif
