/* SPDX-License-Identifier: MIT */
/* The modules are passed in the agent's memory: the guest may have no file system that can be written to. */
#include "guest/nic-driver.h"

#include <errno.h>
#include <sys/syscall.h>

#include "guest/agent.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/memory.h"
#include "image/image.h"
#include "image/kconfig.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"

static int module_init(struct pv_guest *g, const char *path, uint64_t address, size_t n, int64_t timeout,
                       struct pv_err *err)
{
    struct pv_sys_buf options = {.slot = 2, .data = "", .n = 1};
    struct pv_syscall c = {.nr = SYS_init_module,
                           .name = "init_module",
                           .args = {address, n},
                           .bufs = &options,
                           .n_bufs = 1,
                           .timeout_ns = timeout};
    struct pv_sysret r = {0};
    int64_t value;

    if (pv_agent_syscall(&g->agent, &c, &r, err) < 0)
        return -1;
    value = r.value;
    pv_sysret_fini(&r);
    if (value >= 0 || value == -EEXIST)
        return 0;
    return pv_err_set_at(err, PV_E_GUEST, (int)-value, __FILE__, __LINE__, "%s does not load the module '%s'",
                         g->name, path);
}

static int module_load(struct pv_guest *g, const char *path, int64_t deadline, struct pv_err *err)
{
    cleanup_buf struct pv_buf module = {0};
    int64_t timeout = pv_left(deadline);
    uint64_t address;
    int r;

    if (pv_module_read(path, &module, err) < 0 ||
        pv_agent_mem_alloc(&g->agent, module.len, false, timeout, &address, err) < 0)
        return -1;
    r = pv_agent_mem_write(&g->agent, address, module.data, module.len, timeout, err);
    if (r == 0)
        r = module_init(g, path, address, module.len, timeout, err);
    pv_agent_mem_free(&g->agent, address, timeout, NULL);
    return r;
}

int pv_guest_load_driver(struct pv_guest *g, const char *const names[static 3], int64_t deadline,
                         struct pv_err *err)
{
    struct pv_kernel kernel = {0};
    struct pv_modlist list = {0};
    cleanup_free char *tree = NULL;
    int r = 0;

    if (pv_kernel_open(g->profile->kernel, false, &kernel, err) < 0)
        return -1;
    tree = pv_modules_find(g->profile->modules, g->profile->kernel, kernel.release, NULL, NULL);
    for (size_t i = 0; tree && r == 0 && i < 3 && names[i]; i++)
        r = pv_modlist_add(&list, tree, names[i], err) < 0 ? -1 : 0;
    for (size_t i = 0; r == 0 && i < list.paths.n; i++)
        r = module_load(g, list.paths.v[i], deadline, err);
    pv_debug(g->name, "loaded %zu modules for a device", list.paths.n);
    pv_modlist_fini(&list);
    pv_kernel_fini(&kernel);
    return r;
}

/* -1: the tree, which lists the built-in drivers, lacks it. */
static int tree_check_driver(const char *tree, const char *release, const char *driver, struct pv_err *err)
{
    struct pv_modlist list = {0};
    int r = pv_modlist_add(&list, tree, driver, err);

    pv_modlist_fini(&list);
    if (r <= 0 || !pv_modules_know_builtin(tree))
        return r < 0 ? -1 : 0;
    return pv_err_set(err, PV_E_USAGE,
                      "kernel %s has no driver %s: it is neither built in nor a module of '%s'",
                      release ? release : "", driver, tree);
}

int pv_guest_check_nic_driver(const struct pv_profile *p, struct pv_err *err)
{
    struct pv_kernel kernel = {0};
    struct pv_err why = PV_ERR_INIT;
    cleanup_free char *tree = NULL, *config = NULL;
    int r = 0;

    if (pv_kernel_open(p->kernel, false, &kernel, err) < 0)
        return -1;
    tree = pv_modules_find(p->modules, p->kernel, kernel.release, NULL, &why);
    config = pv_kconfig_find(p->kernel, tree);
    if (!tree && why.cls != PV_E_NONE) {
        *err = why;
        r = -1;
    }
    if (r == 0 && config)
        r = pv_kconfig_check(config, PV_KNEED_NIC, err);
    if (r == 0 && tree)
        r = tree_check_driver(tree, kernel.release, "virtio_net", err);
    pv_kernel_fini(&kernel);
    return r;
}

int pv_guest_load_nic_driver(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    static const char *const names[3] = {"virtio_net"};

    return pv_guest_load_driver(g, names, deadline, err) < 0
               ? pv_err_wrap(err, "cannot give %s a driver for its NIC", g->name)
               : 0;
}
