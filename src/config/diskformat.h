/* SPDX-License-Identifier: MIT */
/* What a disk image is, by its bytes.  Private to config. */
#ifndef PV_CONFIG_DISKFORMAT_H
#define PV_CONFIG_DISKFORMAT_H

struct pv_err;

/*
 * "raw" or "qcow2" for the image at `path`, static text; everything that is not recognised is raw.  A format
 * that is recognised and cannot be used (VMDK, VDI, a compressed file ...): NULL, class usage, the text
 * names it and the command that converts it ("is a VMDK image; ...").  The file cannot be read: class host.
 */
const char *pv_disk_format(const char *path, struct pv_err *err);

#endif
