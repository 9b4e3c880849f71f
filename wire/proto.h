/* SPDX-License-Identifier: MIT */
/*
 * The protocol between the host and the agent in a guest.  This file is its specification; docs/protocol.md
 * says the same in prose and changes with it.
 *
 * A connection carries frames, in both directions:
 *
 *     [type: u8][length: u32 little-endian][payload: length bytes]
 *
 * length is at most PV_FRAME_MAX.  A longer frame, an unknown type, or a type that goes the other way ends
 * the connection.  All integers are little-endian.  In the tables below `str` and `bytes` are a u32 length
 * and that many bytes (no terminator).  A `str` that is a path or an argument holds no NUL byte.
 *
 * The agent sends READY when the connection is made.  Then the host sends requests.  Each begins with a u32
 * id that the host chooses, and all frames that belong to the request carry that id.  The agent works on
 * one request at a time per connection; PING and CANCEL may come at any time.  The host drops replies that
 * carry another id than the current request's.
 *
 * The reply to a request ends with exactly one of OK, ERROR, EXIT, PONG, SYSRET, JOB, JOB_STATE, WORKER or
 * FILE_STAT.
 * DATA, STDOUT, STDERR, ENTRY, HOLE, STARTED, TAKEN and COVERAGE frames come before it.
 */
#ifndef PV_WIRE_PROTO_H
#define PV_WIRE_PROTO_H

#include <inttypes.h>

enum {
    PV_WIRE_VERSION = 1,
    PV_AGENT_PORT = 5123,       /* vsock port on which the agent listens */
    PV_FRAME_HEADER = 5,        /* bytes before the payload */
    PV_FRAME_MAX = 1024 * 1024, /* largest payload */
    PV_CHUNK = 256 * 1024,      /* most data bytes that a sender puts into one frame */
    PV_PATH_MAX = 4096,         /* longest path in a request */
    PV_BUFS_MAX = 64,           /* most buffers, and most pointers, of one SYSCALL */
    PV_ARGS_MAX = 65536,        /* most arguments, and most environment entries, of one EXEC */
};

#define PV_WIRE_MAGIC UINT32_C(0x314d5650) /* "PVM1" */

/* As the mode of WRITE_FILE: a new file gets 0644 (no umask), an existing one keeps its mode. */
#define PV_MODE_KEEP UINT32_C(0xffffffff)

/* Name and number of each message.  An X-macro, so that the table of names cannot drift. */
#define PV_MESSAGES(X) \
    /* ---- host to guest ---- */ \
    /* PING: u32 id, bytes data.  Reply: PONG with the same data. */ \
    X(PING, 0x01) \
    /* EXEC: u32 id, u32 flags (PV_EXEC_*), u64 timeout in ms (0: none), with PV_EXEC_PTY: u32 rows, u32 columns \
     * (each at most 65535), with PV_EXEC_LOOKUP: str path, with \
     * PV_EXEC_USER: str user, str cwd ("": /), u32 argc, argc x str, u32 envc, envc x str "KEY=VALUE" (the \
     * whole environment).  Reply: STDOUT and STDERR frames, then EXIT; or ERROR when the command could not be \
     * started.  With PV_EXEC_PROCESS also STARTED, and TAKEN frames, with PV_EXEC_COVERAGE at most one COVERAGE. */ \
    X(EXEC, 0x02) \
    /* STDIN: u32 id, bytes data.  Empty data ends stdin (on a terminal: is Ctrl-D).  Only with PV_EXEC_STDIN. */ \
    X(STDIN, 0x03) \
    /* READ_FILE: u32 id, str path, u64 offset, u64 length (PV_READ_ALL: to the end).  Reply: DATA frames, then \
     * OK with the number of bytes; fewer than length when the file ends before. */ \
    X(READ_FILE, 0x04) \
    /* WRITE_FILE: u32 id, u32 mode or PV_MODE_KEEP, u32 flags (PV_WRITE_*), str path.  Then WDATA frames, the last \
     * of them empty.  Reply: OK with the number of bytes, or ERROR as soon as it fails; after an ERROR the \
     * agent drops WDATA up to and including the empty one. */ \
    X(WRITE_FILE, 0x05) \
    /* WDATA: u32 id, bytes data. */ \
    X(WDATA, 0x06) \
    /* MOUNT_VFS: u32 id.  Mounts proc, sysfs, securityfs and devtmpfs.  Reply: OK or ERROR. */ \
    X(MOUNT_VFS, 0x07) \
    /* SHUTDOWN: u32 id, u32 how (PV_SHUTDOWN_*).  Reply: OK, then the machine goes down. */ \
    X(SHUTDOWN, 0x08) \
    /* CANCEL: u32 id.  Ends the request if the agent still works on it (of an EXEC, kills the whole \
     * process tree); the request's reply still comes.  CANCEL itself has none. */ \
    X(CANCEL, 0x09) \
    /* SYSCALL: u32 id, u64 timeout in ms (0: none), u32 flags (PV_SYSCALL_*), u64 number, 6 x u64 argument, u32 n, n x {u32 slot \
     * (0..5), bytes data}: the argument becomes the address of a copy of data; u32 m, m x {u32 buffer \
     * (0..n-1, or n + k: the memory of the k-th pointer, one in front of this), u32 offset, u32 length, u32 flags (PV_PTR_*), bytes data}: the address of `length` bytes of \
     * memory that begin with data (then zeros) is stored in that buffer at offset.  Reply: SYSRET, in front of it \
     * with PV_SYSCALL_COVERAGE at most one COVERAGE; or \
     * ERROR: ETIMEDOUT when the timeout interrupted it, EPROTO when slots, buffers or offsets are wrong. \
     * While the call blocks, the agent reads no other frame, not even CANCEL. */ \
    X(SYSCALL, 0x0a) \
    /* JOB_START: u32 id, str cwd, u32 argc, argc x str, u32 envc, envc x str (as in EXEC).  Reply: JOB or \
     * ERROR. */ \
    X(JOB_START, 0x0b) \
    /* JOB_WAIT: u32 id, u32 job, u64 longest wait in ms (0: none).  Reply: all output so far as \
     * STDOUT and STDERR frames, then JOB_STATE; ERROR ENOENT for an unknown job. */ \
    X(JOB_WAIT, 0x0c) \
    /* JOB_KILL: u32 id, u32 job.  Kills it with all its descendants.  Reply: as to JOB_WAIT. */ \
    X(JOB_KILL, 0x0d) \
    /* SPAWN: u32 id, u32 flags (PV_SPAWN_*).  Starts a worker, which waits 10 s for a connection to its \
     * own port and sends READY there.  Reply: WORKER or ERROR. */ \
    X(SPAWN, 0x0e) \
    /* STATUS: u32 id, u32 pid of a session (READY) or worker (WORKER).  Reply: JOB_STATE; or ERROR. */ \
    X(STATUS, 0x0f) \
    /* DMESG: u32 id.  The kernel log as text.  Reply: DATA frames, then OK with the number of bytes. */ \
    X(DMESG, 0x10) \
    /* TREE_PUT: u32 id, str path.  Then WENTRY frames; behind that of a file its WDATA (none empty) and \
     * WHOLE frames; the last WENTRY is PV_ENTRY_END.  Reply: OK with the number of entries, or ERROR as soon as \
     * it fails; after an ERROR the agent drops the rest up to and including PV_ENTRY_END. */ \
    X(TREE_PUT, 0x11) \
    /* WENTRY: u32 id, u32 kind (PV_ENTRY_*), u32 mode (07777), u64 size (of a file; a hint only), \
     * str name (below path; "" is path itself, which comes first), str target (of a link).  A name \
     * has no empty component, no "." and no ".."; a directory comes before its entries. */ \
    X(WENTRY, 0x12) \
    /* WHOLE: u32 id, u64 length of a hole in the file. */ \
    X(WHOLE, 0x13) \
    /* TREE_GET: u32 id, str path.  Reply: ENTRY frames, each file's followed by its DATA and HOLE frames, \
     * then OK with the number of entries (no PV_ENTRY_END); or ERROR, also in the middle.  An entry of kind \
     * PV_ENTRY_SKIPPED stands for something that is not sent: its mode has the file type bits (S_IFMT) too, \
     * its size is the errno of the failure (0: it is no file, directory or link).  It has the name of the \
     * file or directory before it when that could not be read to its end. */ \
    X(TREE_GET, 0x14) \
    /* RESUME: u32 id, u64 wall clock of the host in ns since 1970 (UTC), bytes entropy (16 to 512 bytes), \
     * str host name of at most 63 bytes ("": kept). \
     * First request to a machine resumed from a saved state: sets CLOCK_REALTIME, credits the entropy to \
     * the random pool and reseeds the kernel's generator; sets the host name if it is the one that the boot \
     * set.  Reply: OK with the guest's CLOCK_REALTIME in ns, \
     * read after that; or ERROR. */ \
    X(RESUME, 0x15) \
    /* NIC: u32 id, bytes MAC (6) that a network interface has, bytes MAC (6) that it gets, str name ("": kept), \
     * u32 MTU (0: kept), u32 up (0 or 1), bytes address (0, 4 or 16), u32 its prefix, bytes gateway (0, 4 or 16). \
     * An interface with either MAC is set up as told; when the two differ and it has the first one, its \
     * addresses are dropped before.  Reply: OK with the interface's index; ENODEV: there is none yet; or ERROR. */ \
    X(NIC, 0x16) \
    /* SIGNAL: u32 id of an EXEC with PV_EXEC_PROCESS, u32 signal (1 to 64).  Sends it to the command's first \
     * process, if that runs.  No reply. */ \
    X(SIGNAL, 0x20) \
    /* WINDOW: u32 id of an EXEC with PV_EXEC_PTY, u32 rows, u32 columns (each at most 65535).  The size of its \
     * terminal from now on.  No reply. */ \
    X(WINDOW, 0x22) \
    /* FOLLOW: u32 id, u32 from (PV_FOLLOW_*), u64 offset (of no meaning but for PV_FOLLOW_OFFSET), str path. \
     * Reply: STARTED with pid 0, then DATA frames with bytes as they are appended, until CANCEL; or ERROR. */ \
    X(FOLLOW, 0x21) \
    /* STAT: u32 id, u32 follow (0 or 1), str path.  Reply: FILE_STAT or ERROR. */ \
    X(STAT, 0x30) \
    /* LIST: u32 id, str path of a directory.  Reply: DATA frames, whose data is whole names with a NUL behind \
     * each, without "." and "..", in the directory's order; then OK with the number of names; or ERROR. */ \
    X(LIST, 0x31) \
    /* FILE_OP: u32 id, u32 operation (PV_FILE_OPS), u32 a, u32 b, str path, str other.  Reply: OK or ERROR. */ \
    X(FILE_OP, 0x32) \
    /* REMOVE_TREE: u32 id, str path.  Removes a file, a link, or a directory with all that is in it.  Reply: \
     * OK with the number of entries removed, or ERROR, also in the middle. */ \
    X(REMOVE_TREE, 0x33) \
    /* MEM_ALLOC: u32 id, u64 size (not 0), u32 flags (PV_MEM_*).  Zeroed memory of the session's process, with \
     * an inaccessible page behind it.  Reply: OK with its address, or ERROR. */ \
    X(MEM_ALLOC, 0x34) \
    /* MEM_FREE: u32 id, u64 address from MEM_ALLOC.  Reply: OK, or ERROR (EINVAL: there is no such block). */ \
    X(MEM_FREE, 0x35) \
    /* MEM_READ: u32 id, u64 address, u64 length.  Reply: DATA frames, then OK with the length; or ERROR. */ \
    X(MEM_READ, 0x36) \
    /* MEM_WRITE: u32 id, u64 address.  Then WDATA frames, the last of them empty.  Reply: OK with the number of \
     * bytes, or ERROR as soon as it fails; after an ERROR the agent drops WDATA as after WRITE_FILE. */ \
    X(MEM_WRITE, 0x37) \
    /* ---- guest to host ---- */ \
    /* READY: u32 PV_WIRE_MAGIC, u32 PV_WIRE_VERSION, u32 pid, str kernel release (uname -r). */ \
    X(READY, 0x80) \
    /* PONG: u32 id, bytes data. */ \
    X(PONG, 0x81) \
    /* OK: u32 id, u64 value. */ \
    X(OK, 0x82) \
    /* ERROR: u32 id, u32 errno (Linux x86-64), str action that failed ("open '/x'"). */ \
    X(ERROR, 0x83) \
    /* DATA: u32 id, bytes data. */ \
    X(DATA, 0x84) \
    /* STDOUT, STDERR: u32 id, bytes data. */ \
    X(STDOUT, 0x85) \
    X(STDERR, 0x86) \
    /* EXIT: u32 id, u32 exit code (128 + signal when killed), u32 signal (0: none), \
     * u32 flags (PV_EXIT_*), u64 duration in ns. */ \
    X(EXIT, 0x87) \
    /* SYSRET: u32 id, u64 return value (two's complement; -errno on failure), u32 n, n x bytes: every \
     * buffer of the request in order, as the kernel left it, then the memory of the pointers with \
     * PV_PTR_OUTPUT, in order. */ \
    X(SYSRET, 0x88) \
    /* JOB: u32 id, u32 job, u32 pid. */ \
    X(JOB, 0x89) \
    /* JOB_STATE: u32 id, u32 running (0 or 1), u32 exit code, u32 signal (both 0 while running). */ \
    X(JOB_STATE, 0x8a) \
    /* WORKER: u32 id, u32 vsock port, u32 pid (of a thread: its thread id). */ \
    X(WORKER, 0x8b) \
    /* ENTRY, HOLE: like WENTRY and WHOLE. */ \
    X(ENTRY, 0x8c) \
    X(HOLE, 0x8d) \
    /* STARTED: u32 id, u32 pid.  The command runs, or the file is open. */ \
    X(STARTED, 0xa0) \
    /* TAKEN: u32 id, u64 data bytes of STDIN that the command's pipe has taken so far, u32 closed (1: the \
     * command has closed its stdin, and later bytes are dropped). */ \
    X(TAKEN, 0xa1) \
    /* COVERAGE: u32 id, u32 full (1: there was more), bytes: u64 addresses of the kernel's code, ascending, as KCOV \
     * has them (without the offset of KASLR), which the command's first process or the system call has executed. */ \
    X(COVERAGE, 0xa2) \
    /* FILE_STAT: u32 id, u32 type (PV_TYPE_*), u32 mode (07777), u32 uid, u32 gid, u64 size, u64 nlink, u64 ino, \
     * u64 dev, u64 rdev, then atime, mtime and ctime: u64 seconds (two's complement) and u32 nanoseconds. */ \
    X(FILE_STAT, 0xb0)

/*
 * The operations of FILE_OP, with what a, b and other mean; what is not named is 0 or "".  Modes are exact: no
 * umask, set-id bits included.  An id of 0xffffffff keeps the owner or the group.
 */
#define PV_FILE_OPS(X) \
    /* a: mode, b: 1 makes the directories above it too, and an existing directory is no error. */ \
    X(MKDIR, 1) \
    /* A file, a link or an empty directory. */ \
    X(REMOVE, 2) \
    /* other: the new name. */ \
    X(RENAME, 3) \
    /* other: the target. */ \
    X(SYMLINK, 4) \
    /* a: mode; follows links. */ \
    X(CHMOD, 5) \
    /* a: user id, b: group id; follows links. */ \
    X(CHOWN, 6)

enum pv_file_op_kind {
#define PV_FILE_OP_ENUM(name, number) PV_FILE_##name = (number),
    PV_FILE_OPS(PV_FILE_OP_ENUM)
#undef PV_FILE_OP_ENUM
};

enum pv_msg {
#define PV_MSG_ENUM(name, number) PV_MSG_##name = (number),
    PV_MESSAGES(PV_MSG_ENUM)
#undef PV_MSG_ENUM
};

/* As the length of READ_FILE: to the end of the file. */
#define PV_READ_ALL UINT64_MAX

enum { PV_MEM_SHARED = 1 };   /* with workers that are forked later; else each has its own copy */
enum { PV_WRITE_APPEND = 1 }; /* adds to the file; else it is truncated first */
enum {
    PV_TYPE_FILE = 1,
    PV_TYPE_DIR = 2,
    PV_TYPE_LINK = 3,
    PV_TYPE_FIFO = 4,
    PV_TYPE_SOCKET = 5,
    PV_TYPE_BLOCK = 6,
    PV_TYPE_CHAR = 7,
};
enum {
    PV_EXEC_STDIN = 1, /* STDIN frames follow; else stdin is /dev/null */
    /*
     * The reaper and the command get pids from the top of the range (clone3's set_tid), so that later
     * processes have the pids that they would have had without it.  ERROR before Linux 5.5.
     */
    PV_EXEC_UNNUMBERED = 2,
    PV_EXEC_LOOKUP = 4, /* a program without a slash is looked up in `path`, not in the environment's PATH */
    PV_EXEC_USER =
        8, /* a name or a number: uid, gid, groups as login sets them, no capabilities but root's */
    PV_EXEC_HOME =
        16, /* with PV_EXEC_USER: HOME, USER, LOGNAME, SHELL too, unless the environment has them */
    PV_EXEC_PROCESS = 32, /* STARTED and TAKEN are sent, SIGNAL is accepted */
    /*
     * With PV_EXEC_STDIN and PV_EXEC_PROCESS: stdio is a new terminal, the controlling one of the command's session.
     * All output is STDOUT; WINDOW is accepted.
     */
    PV_EXEC_PTY = 64,
    PV_EXEC_COVERAGE = 128, /* COVERAGE is sent, if the kernel has KCOV */
};
enum { PV_FOLLOW_END = 0, PV_FOLLOW_START = 1, PV_FOLLOW_OFFSET = 2 };
enum { PV_EXIT_TIMED_OUT = 1, PV_EXIT_CANCELLED = 2 };
enum { PV_SYSCALL_COVERAGE = 1 }; /* likewise */
enum { PV_PTR_OUTPUT = 1 };       /* SYSRET returns the pointer's memory */
enum { PV_SPAWN_THREAD = 1 };     /* a thread of the session's process; else a fork of it */
enum { PV_ENTRY_END = 0, PV_ENTRY_DIR = 1, PV_ENTRY_FILE = 2, PV_ENTRY_LINK = 3, PV_ENTRY_SKIPPED = 4 };
enum { PV_SHUTDOWN_POWEROFF = 0, PV_SHUTDOWN_REBOOT = 1 };

/*
 * Guest init (rdinit) takes its settings from the kernel command line (provium.init=) and from the text
 * file PV_BOOT_CONF of the supplementary initramfs: one setting a line, "KEY VALUE", in this order of keys:
 *
 *     module FILE         load PV_BOOT_DIR/modules/FILE, in the order of the lines
 *     fsmodule TYPE FILE  the same, but only when the root file system is of this type (ext4, xfs, ...)
 *     rootfs DEVICE       mount /dev/DEVICE ("vda") read-only, overlay in RAM on top, switch root
 *     share TAG           in place of rootfs: mount the host's directory of this tag (9p) in the same way
 *     sharerw TAG         the same with writes, which reach the host: no overlay
 *     sharetype TYPE      the file system of both: 9p (also without this line), virtiofs
 *     workshare TAG DIR   mount another one with writes on DIR of that root
 *     idle idle           guest init stays the guest's init, and reaps
 *     root SPEC           the root's partition: /dev/vda2, LABEL=..., UUID=...
 *     initfallback PATH   tried when provium.init does not exist
 *     serial NAME         the agent uses the virtio-serial port of this name (wire/mux.h), not vsock
 *     userland HOSTNAME   the built-in userland: mount /proc, /sys, /dev, /run and /tmp (not with share), bring the
 *                         loopback device up
 *     switchroot HOW      for an archive that may switch to another root: yes, no or auto (docs/provium-toml.md)
 *     sums sums           compare what arrived with PV_BOOT_SUMS
 *
 * PV_BOOT_SUMS lists the entries of the archive in front of it.  A record is PV_SUMS_FORMAT (type, size, digest as
 * in wire/sum.h), the entry's path and a NUL.  Guest init compares: the kernel unpacks an archive for which there is
 * not enough memory in part.
 *
 * Injected files lie below PV_BOOT_FILES with their final path.  Guest init moves them into the root of the
 * guest's init, through the symbolic links of that root, and then removes PV_BOOT_DIR.  When PID 1 of an archive with
 * switchroot auto or yes executes a program in another root, they have been copied there before it runs.
 *
 * Guest init reports a failure as one line "provium: fatal: TEXT" on the console and reboots; QEMU, which
 * runs with -no-reboot, exits.
 */
#define PV_BOOT_DIR "/.provium"
#define PV_BOOT_CONF PV_BOOT_DIR "/boot.conf"
#define PV_BOOT_SUMS PV_BOOT_DIR "/sums"
#define PV_SUMS_FORMAT "%c%016" PRIx64 "%016" PRIx64
enum { PV_SUMS_PATH = 33, PV_SUMS_DIR = 'd', PV_SUMS_FILE = 'f', PV_SUMS_LINK = 'l' };
#define PV_BOOT_MODULES PV_BOOT_DIR "/modules"
#define PV_BOOT_FILES PV_BOOT_DIR "/files"
#define PV_GUEST_INIT_PATH "/provium-wrapper"
#define PV_FATAL_MARK "provium: fatal: "

/* "EXEC", or NULL for a number that is no message. */
const char *pv_msg_name(unsigned type);

#endif
