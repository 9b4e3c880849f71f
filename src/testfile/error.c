/* SPDX-License-Identifier: MIT */
#include "testfile/error.h"

#include "util/err.h"

enum pv_class pv_tf_err_class(const struct pv_err *err)
{
    switch (err->cls) {
    case PV_E_TIMEOUT:
        return PV_CLASS_TIMEOUT;
    case PV_E_GUEST_DIED:
        return err->died == PV_DIED_PANIC   ? PV_CLASS_PANIC
               : err->died == PV_DIED_STUCK ? PV_CLASS_STUCK
               : err->died == PV_DIED_QEMU  ? PV_CLASS_QEMU_DIED
                                            : PV_CLASS_AGENT_LOST;
    case PV_E_PROTOCOL: /* of the agent, or of the guest's driver */
        return PV_CLASS_AGENT_LOST;
    case PV_E_MISSING:
    case PV_E_HOST:
        return PV_CLASS_HARNESS;
    case PV_E_NONE:
    case PV_E_USAGE:
    case PV_E_GUEST: /* the guest's reply, which the test did not expect */
    case PV_E_CLASS_COUNT:
        break;
    }
    return PV_CLASS_LUA;
}
