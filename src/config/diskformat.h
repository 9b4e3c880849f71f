/* SPDX-License-Identifier: MIT */
/* The format of a disk image by its magic number. */
#ifndef PV_CONFIG_DISKFORMAT_H
#define PV_CONFIG_DISKFORMAT_H

struct pv_err;

/*
 * "raw" or "qcow2" for the image at `path`, static text; unrecognised content is raw.  NULL: class usage for
 * an unsupported format (VMDK, VDI, a compressed file ...), with a text that names it and the command to
 * convert it ("is a VMDK image, ..."); class host if the file cannot be read.
 */
const char *pv_disk_format(const char *path, struct pv_err *err);

/* The same of the image of a root file system; NULL, class usage, also if it is text or begins with 256 KiB of zeros. */
const char *pv_root_format(const char *path, struct pv_err *err);

#endif
