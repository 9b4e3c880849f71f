/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target on each file of the given directories: the corpus is a regression test.
 *
 * To fuzz (from the top of the tree; the target and the room's sources, without this file):
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. -Isrc fuzz/fuzz-vring.c \
 *         src/vhost/v[mr]*g.c src/vhost/vmem.c src/util/[em]*.c -o build/san-vring
 *     build/san-vring CORPUS
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(int dir, const char *name)
{
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    uint8_t *p;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return 0;
    }
    p = malloc((size_t)st.st_size + 1);
    n = p ? read(fd, p, (size_t)st.st_size) : -1;
    close(fd);
    if (n >= 0)
        LLVMFuzzerTestOneInput(p, (size_t)n);
    free(p);
    return n < 0 ? -1 : 1;
}

int main(int argc, char **argv)
{
    int ran = 0;

    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);

        if (!d) {
            perror(argv[i]);
            return 1;
        }
        for (struct dirent *e; (e = readdir(d));) {
            int r = run_file(dirfd(d), e->d_name);

            if (r < 0) {
                perror(e->d_name);
                return 1;
            }
            ran += r;
        }
        closedir(d);
    }
    printf("%d inputs\n", ran);
    return ran == 0;
}
