/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target on each file of a corpus, then for SECONDS on mutations of these files: a regression test
 * without libFuzzer (`make fuzz` has it).  The mutations come from a fixed seed.  An input that ends the
 * process is left in the file fuzz-NAME.last of the working directory.
 *
 *     fuzz-NAME CORPUS SECONDS
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { INPUTS_MAX = 256, SIZE = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct input {
    uint8_t *data;
    size_t n;
} inputs[INPUTS_MAX];
static unsigned n_inputs;
static uint64_t seed = 0x9e3779b97f4a7c15;

/* xorshift64* */
static uint32_t next_random(uint32_t below)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (uint32_t)((seed * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % below;
}

static int input_read(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    struct input *in = &inputs[n_inputs];
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode) || n_inputs == INPUTS_MAX) {
        close(fd);
        return 0;
    }
    in->data = malloc((size_t)st.st_size + 1);
    n = in->data ? read(fd, in->data, (size_t)st.st_size) : -1;
    close(fd);
    if (n < 0)
        return -1;
    in->n = (size_t)n;
    n_inputs++;
    return 0;
}

static int corpus_read(const char *path)
{
    DIR *d = opendir(path);

    if (!d)
        return -1;
    for (struct dirent *e; (e = readdir(d));)
        if (input_read(dirfd(d), e->d_name) < 0) {
            closedir(d);
            return -1;
        }
    closedir(d);
    return 0;
}

/* A copy of one input with some bytes changed, removed, repeated, or taken from another input. */
static size_t mutate(uint8_t *out)
{
    const struct input *in = &inputs[next_random(n_inputs)];
    size_t n = in->n < SIZE ? in->n : SIZE;

    memcpy(out, in->data, n);
    for (uint32_t rounds = 1 + next_random(8); rounds && n; rounds--) {
        size_t at = next_random((uint32_t)n), len = 1 + next_random(16);
        const struct input *other = &inputs[next_random(n_inputs)];
        static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, '\n', '"', '0'};

        if (len > n - at)
            len = n - at;
        switch (next_random(5)) {
        case 0:
            out[at] ^= (uint8_t)(1U << next_random(8));
            break;
        case 1:
            memset(out + at, edges[next_random(sizeof(edges))], len);
            break;
        case 2:
            memmove(out + at, out + at + len, n - at - len);
            n -= len;
            break;
        case 3:
            if (n + len <= SIZE) {
                memmove(out + at + len, out + at, n - at);
                n += len;
            }
            break;
        case 4:
            if (other->n > at)
                memcpy(out + at, other->data + at, other->n - at < len ? other->n - at : len);
            break;
        }
    }
    return n;
}

/* The input's own heap block lets a sanitizer see reads behind its end. */
static void run_copy(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);

    if (!copy)
        abort();
    memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

int main(int argc, char **argv)
{
    char path[64];
    const char *name = strrchr(argv[0], '/');
    int length = snprintf(path, sizeof(path), "%.50s.last", name ? name + 1 : argv[0]);
    int fd = length < 0 ? -1 : open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint8_t *last = fd < 0 || ftruncate(fd, SIZE) < 0
                        ? MAP_FAILED
                        : mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    unsigned long ran = 0;
    time_t end;

    if (argc < 2 || last == MAP_FAILED || corpus_read(argv[1]) < 0) {
        perror(argc < 2 ? "usage: fuzz-NAME CORPUS [SECONDS]" : argv[1]);
        return 1;
    }
    for (; ran < n_inputs; ran++)
        run_copy(inputs[ran].data, inputs[ran].n);
    end = time(NULL) + (argc > 2 ? atoi(argv[2]) : 0);
    while (n_inputs && time(NULL) < end) {
        size_t n = mutate(last);

        if (ftruncate(fd, (off_t)(n ? n : 1)) < 0)
            break;
        run_copy(last, n);
        ran++;
        if (ftruncate(fd, SIZE) < 0)
            break;
    }
    unlink(path);
    printf("%u inputs, %lu executions\n", n_inputs, ran);
    return n_inputs == 0;
}
