/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "image/decompress.h"
#include "image/image.h"
#include "image/magic.h"
#include "util/err.h"
#include "util/path.h"

enum {
    MODULE_FILE_MAX = 256 << 20, /* a file of the tree */
    MODULE_MAX = 512 << 20,      /* an unpacked module */
};

static int buf_sink(void *arg, const void *data, size_t n, struct pv_err *err)
{
    (void)err; /* pv_buf_add does not fail; MODULE_MAX bounds the size */
    pv_buf_add(arg, data, n);
    return 0;
}

int pv_module_read(const char *path, struct pv_buf *out, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    cleanup_buf struct pv_buf packed = {0};
    char head[16];
    enum pv_comp comp;
    ssize_t n;

    if (fd < 0 || (n = pv_pread_all(fd, head, sizeof(head), 0)) < 0)
        return pv_err_set_at(err, PV_E_USAGE, errno, __FILE__, __LINE__, "cannot read module '%s': %s", path,
                             strerror(errno));
    comp = pv_magic_comp(head, (size_t)n);
    if (comp == PV_COMP_NONE) {
        if (n < 4 || memcmp(head, "\x7f\x45LF", 4) != 0)
            return pv_err_set(err, PV_E_USAGE, "module '%s' is %s, no kernel module", path,
                              pv_magic_describe(head, (size_t)n));
        return pv_read_file(path, MODULE_FILE_MAX, out, err);
    }
    if (pv_read_file(path, MODULE_FILE_MAX, &packed, err) < 0)
        return -1;
    if (pv_decompress(comp, packed.data, packed.len, MODULE_MAX, buf_sink, out, err) < 0)
        return pv_err_wrap(err, "module '%s'", path);
    return 0;
}
