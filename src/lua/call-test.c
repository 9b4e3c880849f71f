/* SPDX-License-Identifier: MIT */
/*
 * Arguments of the methods of VMs and of provium.pack, provium.unpack: the refused ones, each with its
 * message.
 */
#include "lua/script-test.h"

#include <string.h>

static const struct bad_call bad_boots[] = {
    {"vm:boot{memroy = '1G'}",
     "unknown boot option 'memroy' (did you mean 'memory'?); known: memory, cpus, "
     "files, disks, timeout, append, transport, on_reboot, vsock, gdb, cached, wait_system, nets"},
    {"vm:boot{vsock = 'yes'}", "boot option 'vsock' must be true or false, got string \"yes\""},
    {"vm:boot{memory = '12Q'}",
     "boot option 'memory': '12Q' is not a size; expected a number with K, M, G or "
     "T, such as \"512M\" or \"1G\""},
    {"vm:boot{memory = 512}", "boot option 'memory' must be a string, got number 512"},
    {"vm:boot{memory = '1M'}", "boot option 'memory': '1M' is too small for a kernel; at least 32M"},
    {"vm:boot{disks = {{path = '/'}}}", "disk 1: '/' is a directory, expected an image file"},
    {"vm:boot{cpus = 0}", "boot option 'cpus' must be 1 to 255, got 0"},
    {"vm:boot{cpus = 1.5}", "boot option 'cpus' must be an integer, got number 1.5"},
    {"vm:boot{cpus = 'two'}", "boot option 'cpus' must be an integer, got string \"two\""},
    {"vm:boot{1}", "boot options are a table of names and values; it has a number as a key"},
    {"vm:boot('1G')", "boot options must be a table, got string \"1G\""},
    {"vm:boot{timeout = 'soon'}", "boot option 'timeout': 'soon' is not a time; expected seconds or a number "
                                  "with ms, s, m or h, such as \"30\", \"500ms\" or \"2m\""},
    {"vm:boot{files = {['etc/x'] = 't.lua'}}",
     "boot option 'files': guest path 'etc/x' must be absolute, such as \"/etc/x\""},
    {"vm:boot{files = {['/'] = 't.lua'}}",
     "boot option 'files': guest path '/' must be below the root, such as \"/etc/x\""},
    {"vm:boot{files = {['/x'] = '/none'}}",
     "boot option 'files': host file for '/x': '/none' does not exist on the host"},
    {"vm:boot{files = {'/x'}}", "boot option 'files' maps guest paths to host paths, such as {[\"/etc/x\"] = "
                                "\"x\"}; it has number 1 as a guest path"},
    {"vm:boot{disks = {{path = '/none.img'}}}", "disk 1: '/none.img' does not exist on the host"},
    {"vm:boot{disks = {{path = 't.lua', redonly = true}}}",
     "unknown disk 1 option 'redonly' (did you mean 'readonly'?); known: path, format, backing, readonly, "
     "snapshot, name, size, sector, bus, faults, state"},
    {"vm:boot{disks = {{format = 'raw'}}}",
     "disk 1 needs a path ({path = \"disk.img\"}) or a size ({size = \"64M\"}, a scratch disk)"},
    {"vm:boot{disks = {path = 't.lua'}}",
     "boot option 'disks' must be a list of tables: disks = {{path = \"disk.img\"}}"},
    {"provium.create('minimal', {memory = '1G'})",
     "unknown provium.create option 'memory'; known: name (vm:boot takes memory, cpus and others)"},
    {"provium.create('minimal', 'web')", "provium.create options must be a table, got string \"web\""},
    {"provium.create('minimal', {name = 7})", "provium.create option 'name' must be a string, got number 7"},
    {"provium.create('minimal', {name = 'a b'})", "provium.create option 'name': a VM's name has 1 to 63 "
                                                  "letters, digits, '-', '_' and '.', and begins with a "
                                                  "letter or a digit; got string \"a b\""},
    {"provium.create('minimal', {name = '-x'})", "provium.create option 'name': a VM's name has 1 to 63 "
                                                 "letters, digits, '-', '_' and '.', and begins with a "
                                                 "letter or a digit; got string \"-x\""},
    {"provium.create('minimal', {name = 'web'}) provium.create('minimal', {name = 'web'})",
     "provium.create option 'name': there is a VM called 'web' already; end it first, or choose another "
     "name"},
    {"vm:boot{files = {['/x'] = {}}}",
     "file '/x' needs 'content' (what is in it) or 'path' (a file of the host), and has neither"},
    {"vm:boot{files = {['/x'] = {content = '', path = 't.lua'}}}",
     "file '/x' needs 'content' (what is in it) or 'path' (a file of the host), and not both"},
    {"vm:boot{files = {['/x'] = {contnt = ''}}}",
     "unknown file '/x' option 'contnt' (did you mean 'content'?); known: content, path, mode, uid, gid"},
    {"vm:boot{files = {['/x'] = {content = 5}}}",
     "file '/x' option 'content' must be a string, got number 5"},
    {"vm:boot{files = {['/x'] = {content = '', mode = 644}}}",
     "file '/x' option 'mode': 644 is a decimal number here; write \"0644\" (octal, as a string)"},
    {"vm:boot{files = {['/x'] = {content = '', uid = -1}}}",
     "file '/x' option 'uid' must be from 0 to 4294967294, got -1"},
    {"vm:boot{files = {['/x'] = {content = '', gid = 4294967295}}}",
     "file '/x' option 'gid' must be from 0 to 4294967294, got 4294967295"},
    {"vm:boot{files = {['/x'] = {path = '/none'}}}", "file '/x': '/none' does not exist on the host"},
    {"vm:boot{files = {['/x'] = true}}",
     "boot option 'files': host file for '/x' must be a string, got boolean true"},
    {"vm:boot{['timeout\\0x'] = 1}", "unknown boot option: its name holds a NUL byte behind 'timeout'"},
    {"vm:boot{files = {['/x'] = ''}}", "boot option 'files': host file for '/x': the path on the host is "
                                       "empty; expected a file or a directory"},
    {"vm:boot{disks = {{path = ''}}}",
     "disk 1: the path on the host is empty; expected a file or a directory"},
    {"vm:boot{disks = {{size = '64M\\0x'}}}", "disk 1 option 'size' holds a NUL byte"},
    {"vm:boot{disks = {{size = '64M', bus = 'scsi\\0x'}}}",
     "disk 1 option 'bus' is 'scsi'; expected \"virtio\", \"nvme\" or \"scsi\""},
    {"vm:boot{timeout = 0/0}", "boot option 'timeout': NaN is not a time in seconds; expected 0 to a year"},
};

static void test_boot_options(void **state)
{
    (void)state;
    refuses(bad_boots, PV_ARRAY_LEN(bad_boots));
}

/* Names that VMs get by themselves, beside those of the script. */
static void test_names(void **state)
{
    (void)state;
    passes("local first = provium.create('minimal')\n"
           "local name = tostring(first):match('^vm%d+')\n"
           "assert_error(function() provium.create('minimal', {name = name}) end, 'already')\n"
           "assert_contains(tostring(provium.create('minimal', {name = 'vm5000'})), 'vm5000 (minimal)')\n"
           "assert_contains(tostring(provium.create('minimal')), 'vm5001 (minimal)')\n"
           "assert_contains(tostring(provium.create('minimal', {name = ('x'):rep(63)})), ('x'):rep(63))\n"
           "provium.create('minimal', {})\n");
}

static const struct bad_call bad_requests[] = {
    {"vm.exec('ls')",
     "vm.exec(...) got string \"ls\" where the VM belongs; call it with a colon: vm:exec(...)"},
    {"vm:exce('ls')", "a VM has no method 'exce' (did you mean 'exec'?)"},
    {"vm.x = 1", "a VM takes no fields of yours (tried to set 'x')"},
    {"vm:exec()", "exec needs a command: a string for the shell, or a list of a program and its "
                  "arguments; got nil"},
    {"vm:json({})", "json got an empty list; expected a program and its arguments"},
    {"vm:json('x', {mode = 1})",
     "unknown json option 'mode'; known: env, env_clear, cwd, stdin, user, timeout, max_output"},
    {"vm:background('x', {stdin = ''})",
     "unknown background option 'stdin'; known: env, cwd, timeout, max_output"},
    {"vm:job_wait()", "job_wait needs a job: what vm:background(...) returned, or its id; got nothing"},
    {"vm:job_wait({pid = 1})",
     "job_wait needs a job: what vm:background(...) returned, or its id; got table"},
    {"vm:job_kill(-1)", "job_kill: -1 is no job's id"},
    {"vm:job_wait(1, 'soon')", "job_wait: the time to wait: 'soon' is not a time; expected seconds or a "
                               "number with ms, s, m or h, such as \"30\", \"500ms\" or \"2m\""},
    {"vm:job_wait(1, true)", "job_wait options must be a table, got boolean true"},
    {"vm:dmesg(1)", "what dmesg looks for must be a string, got number 1"},
    {"vm:dmesg{tail = 1}", "unknown dmesg option 'tail'; known: timeout"},
    {"vm:push('/none', '/x')", "push: '/none' does not exist on the host"},
    {"vm:push('t.lua')", "the guest path of push must be a string, got no value"},
    {"vm:pull('/x', '')", "the host path of pull is empty"},
    {"vm:pull('/x', 'y', {mode = 1})",
     "unknown pull option 'mode'; known: timeout, max_size, max_entries, strict"},
    {"vm:pull('/x', 'y', {max_entries = 0})", "pull option 'max_entries' must be at least 1, got number 0"},
    {"vm:pull('/x', 'y', {max_size = 'big'})", "pull option 'max_size': 'big' is not a size; expected a "
                                               "number with K, M, G or T, such as \"512M\" or \"1G\""},
    {"vm:read_file('/x', {max_size = 0})",
     "read_file option 'max_size' must be a size such as \"64M\", or a number of bytes, got number 0"},
    {"vm:exec('x', {max_output = true})",
     "exec option 'max_output' must be a size such as \"64M\", or a number of bytes, got boolean true"},
    {"vm:spawn{threads = true}",
     "unknown spawn option 'threads' (did you mean 'thread'?); known: thread, timeout"},
    {"vm:exec({})", "exec got an empty list; expected a program and its arguments"},
    {"vm:exec('a\\0b')", "the command holds a NUL byte"},
    {"vm:exec('a', {env = {['A=B'] = 'x'}})", "exec option 'env' maps names to values, such as {LANG = "
                                              "\"C\"}; it has string \"A=B\" as a name"},
    {"vm:exec('a', {tiemout = 1})", "unknown exec option 'tiemout' (did you mean 'timeout'?); known: env, "
                                    "env_clear, cwd, stdin, user, timeout, max_output"},
    {"vm:write_file('/x')", "the data of write_file must be a string, got nothing"},
    {"vm:write_file('/x', '', {mode = 644})",
     "write_file option 'mode': 644 is a decimal number here; write \"0644\" (octal, as a string)"},
    {"vm:write_file('/x', '', {mode = '0999'})", "write_file option 'mode' must be permission bits, best "
                                                 "as a string such as \"0644\", got string \"0999\""},
    {"vm:reboot('5\\0x')", "the timeout of reboot: the time holds a NUL byte behind '5'"},
    {"vm:exec('a', {timeout = '5\\0x'})", "exec option 'timeout': the time holds a NUL byte behind '5'"},
    {"vm:job_wait(1, '5\\0x')", "job_wait: the time to wait: the time holds a NUL byte behind '5'"},
    {"vm:exec{'ls', timeout = 5}", "exec: the list of a command has string \"timeout\" as a key; it has a "
                                   "program and its arguments alone, and "
                                   "options are a table behind it: vm:exec({\"ls\", \"/\"}, {timeout = 5})"},
    {"vm:exec('a', {cwd = ''})", "exec option 'cwd' must have 1 to 4095 bytes, got 0"},
    {"vm:exec('a', {cwd = ('x'):rep(4096)})", "exec option 'cwd' must have 1 to 4095 bytes, got 4096"},
    {"vm:exec('a', {env = {['A\\0B'] = 'x'}})", "exec option 'env' maps names to values, such as {LANG = "
                                                "\"C\"}; it has string \"A\" as a name"},
    {"vm:chmod('/x', '644\\0x')",
     "the mode of chmod must be permission bits, best as a string such as \"0644\", "
     "got string \"644\""},
    {"vm:push('', '/x')", "push: the path on the host is empty; expected a file or a directory"},
    {"provium.depends('')", "provium.depends: the path on the host is empty; expected a file or a directory"},
    {"provium.recording('')", "recording: the path on the host is empty; expected a file or a directory"},
    {"provium.record(true)",
     "provium.record needs a list of 1 to 16 disks: provium.record{vm:disk(\"data\")}, got boolean true"},
    {"provium.record{}",
     "provium.record needs a list of 1 to 16 disks: provium.record{vm:disk(\"data\")}, got 0 of them"},
    {"provium.record{vm}", "provium.record: entry 1 must be a disk (vm:disk), got userdata"},
    {"vm:wait_until(1)", "wait_until needs a function, got number 1"},
    {"vm:wait_until(function() end, {timeout = '10ms', interval = '1ms', desc = 'rain'})",
     "waited 0.0 s for rain, which did not come true"},
};

static void test_requests(void **state)
{
    (void)state;
    refuses(bad_requests, PV_ARRAY_LEN(bad_requests));
    passes("local vm <close> = provium.create('minimal')\n"
           "assert_eq('9.9', provium.version)\n"
           "assert_error(function() provium.fixture('x') end, 'there is no fixture')\n"
           "assert_contains(tostring(vm), 'minimal') assert_contains(tostring(vm), 'not booted')\n"
           "assert_eq(3, vm:wait_until(function() return 3 end))\n"
           "vm:kill() vm:kill()\n");
}

static const struct bad_call bad_syscalls[] = {
    {"vm:syscall()", "syscall: the system call (a number or a name) must be an integer, got nothing"},
    {"vm:syscall('getpdi')", "syscall: there is no system call 'getpdi' (did you mean 'getpid'?)"},
    {"vm:syscall('qqqqqqqqqqqq')", "syscall: there is no system call 'qqqqqqqqqqqq' in the kernel headers "
                                   "that Provium was built with; pass its number"},
    {"vm:syscall(1, nil)", "syscall: argument 0 (of 0 to 5) must be an integer, got nil"},
    {"vm:syscall(1, 1, true)", "syscall: argument 1 (of 0 to 5) must be an integer, got boolean true"},
    {"vm:syscall(1, 1, 2, '3')", "syscall: argument 2 (of 0 to 5) must be an integer, got string \"3\""},
    {"vm:syscall(1, 1.5)", "syscall: argument 0 (of 0 to 5) must be an integer, got number 1.5"},
    {"vm:syscall(1, 2^63)",
     "syscall: argument 0 (of 0 to 5) must be an integer, got number 9.2233720368548e+18"},
    {"vm:syscall(1, 1, 2, 3, 4, 5, 6, 7)", "syscall: a system call takes 6 arguments, got 7"},
    {"vm:syscall(1, {timeuot = 1})",
     "unknown syscall option 'timeuot' (did you mean 'timeout'?); known: timeout"},
    {"vm:syscall(1, {}, 1)", "syscall: argument 0 (of 0 to 5) must be an integer, got table"},
    {"vm:syscall_buf(1, 6, 'x')", "syscall_buf: the buffer's argument must be 0 to 5, got 6"},
    {"vm:syscall_buf(1, 0)", "syscall_buf: the buffer for argument 0 must be a string, got nothing"},
    {"vm:syscall_buf(1, 0, 5)", "syscall_buf: the buffer for argument 0 must be a string, got number 5"},
    {"vm:syscall_bufs(1)", "syscall_bufs: the buffers must be a table such as {[1] = data}, got nothing"},
    {"vm:syscall_bufs(1, {[6] = ''})", "syscall_bufs: the keys of the buffers are the arguments that they "
                                       "replace, 0 to 5; got number 6"},
    {"vm:syscall_bufs(1, {a = ''})", "syscall_bufs: the keys of the buffers are the arguments that they "
                                     "replace, 0 to 5; got string \"a\""},
    {"vm:syscall_bufs(1, {[2] = 1})",
     "syscall_bufs: the buffer for argument 2 must be a string, got number 1"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)})", "syscall_ptr: 'ptrs' must be a list of tables such as "
                                                 "{{ptr_offset = 0, data_len = 16}}, got nothing"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {buf_idx = 1})",
     "syscall_ptr: 'ptrs' must be a list of tables such as {{ptr_offset = 0, data_len = 16}}"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {7})", "syscall_ptr ptrs[1] must be a table such as "
                                                      "{ptr_offset = 0, data_len = 16}, got number 7"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 0, ptr_offset = 0, data_len = 1}})",
     "syscall_ptr ptrs[1]: 'buf_idx' 0 is no buffer; it is the argument that the buffer replaces, as in "
     "the table of buffers"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = 9, data_len = 1}})",
     "syscall_ptr ptrs[1]: a pointer at 'ptr_offset' 9 takes bytes 9 to 16 of its buffer, which has 16"},
    {"vm:syscall_ptr(1, {[1] = 'short'}, {{buf_idx = 1, ptr_offset = 0, data_len = 1}})",
     "syscall_ptr ptrs[1]: a pointer at 'ptr_offset' 0 takes bytes 0 to 7 of its buffer, which has 5"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = -1, data_len = 1}})",
     "syscall_ptr ptrs[1]: 'ptr_offset' must be from 0 to 4294967295, got -1"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = 0, data = 'ab', data_len = "
     "1}})",
     "syscall_ptr ptrs[1]: 'data' has 2 bytes, more than 'data_len' 1"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = 0}})",
     "syscall_ptr ptrs[1] needs 'data_len'"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, data = 'x'}})",
     "syscall_ptr ptrs[1] needs 'ptr_offset'"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{ptr_offset = 0, data_len = 1}})",
     "syscall_ptr ptrs[1] needs 'buf_idx' (the argument whose buffer holds the pointer) or 'ptr_idx' (an "
     "earlier "
     "entry), and has neither"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_idx = 1, ptr_offset = 0, data_len = 1}})",
     "syscall_ptr ptrs[1] needs 'buf_idx' (the argument whose buffer holds the pointer) or 'ptr_idx' (an "
     "earlier "
     "entry), and not both"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{ptr_idx = 1, ptr_offset = 0, data_len = 1}})",
     "syscall_ptr ptrs[1]: 'ptr_idx' must be the number of an earlier entry, of which there is none, got 1"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = 0, data_len = 8}, {ptr_idx = 2, "
     "ptr_offset = 0, data_len = 1}})",
     "syscall_ptr ptrs[2]: 'ptr_idx' must be the number of an earlier entry, 1 to 1, got 2"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = 0, data_len = 7}, {ptr_idx = 1, "
     "ptr_offset = 0, data_len = 1}})",
     "syscall_ptr ptrs[2]: a pointer at 'ptr_offset' 0 takes bytes 0 to 7 of its buffer, which has 7"},
    {"vm:alloc()", "alloc: the size must be an integer, got nothing"},
    {"vm:alloc(0)", "alloc: the size must be at least 1, got 0"},
    {"vm:alloc(1, {share = true})",
     "unknown alloc option 'share' (did you mean 'shared'?); known: shared, timeout"},
    {"vm:free('x')", "free: the address must be an integer, got string \"x\""},
    {"vm:read_mem(1)", "read_mem: the number of bytes must be an integer, got nothing"},
    {"vm:read_mem(1, -1)", "read_mem: the number of bytes must be 0 to 1073741824, got -1"},
    {"vm:write_mem(1)", "the data of write_mem must be a string, got nothing"},
    {"vm:syscall_ptr(1, {[1] = ('x'):rep(16)}, {{buf_idx = 1, ptr_offset = 0, data = 'x', buf_len = 1}})",
     "unknown syscall_ptr ptrs[1] option 'buf_len'; known: ptr_offset, data_len, data, output, ptr_idx, "
     "buf_idx"},
    {"vm:ioctl(1)", "ioctl: the command must be an integer, got nothing"},
    {"vm:ioctl(nil, 1)", "ioctl: the descriptor must be an integer, got nil"},
    {"vm:ioctl(1, 2, true)",
     "ioctl: data that is neither a string nor nil must be an integer, got boolean true"},
    {"vm:ioctl(1, 2, 'x', 'y')", "ioctl takes a descriptor, a command, data and options; got 4 arguments"},
    {"vm:ioctl_buf(1, 2)", "ioctl_buf: the struct must be a string, got nothing"},
    {"vm:ioctl_buf(1, 2, 'x')", "ioctl_buf: 'specs' must be a list of tables such as {{ptr_offset = 0, "
                                "buf_len = 16}}, got nothing"},
    {"vm:ioctl_buf(1, 2, 'x', {{ptr_offset = 0, buf_len = 16}})",
     "ioctl_buf specs[1]: a pointer at 'ptr_offset' 0 takes bytes 0 to 7 of its buffer, which has 1"},
    {"vm:ioctl_buf(1, 2, 'x', {{buf_idx = 1}})",
     "unknown ioctl_buf specs[1] option 'buf_idx'; known: ptr_offset, buf_len, data, "
     "output, ptr_idx"},
    {"vm:ioctl_buf(1, 2, ('x'):rep(8), {{ptr_offset = 0, buf_len = 8}, {ptr_idx = 2, ptr_offset = 0, buf_len "
     "= 1}})",
     "ioctl_buf specs[2]: 'ptr_idx' must be the number of an earlier entry, 1 to 1, got 2"},
};

/* Accepted arguments: the call gets as far as the state of the VM. */
static const char *const good_syscalls[] = {
    "vm:syscall('getpid')",
    "vm:syscall(39, 1, 2, 3.0, -4, 5, 6, {timeout = '1s'})",
    "vm:syscall_buf('write', 1, 'x', 1, 0, 1)",
    "vm:syscall_bufs('pipe', {[0] = ('\\0'):rep(8)})",
    ("vm:syscall_ptr('readv', {[1] = ('\\0'):rep(16)}, {{buf_idx = 1, ptr_offset = 8, data_len = 3}}, 0, "
     "0, 1)"),
    "vm:ioctl(1, 0x80045500)",
    "vm:ioctl(1, 2, 'x', {timeout = '1s'})",
    "vm:ioctl_buf(1, 0xc0105500, '', {{ptr_offset = 8, buf_len = 1}})", /* filled up to 16 bytes */
    ("vm:ioctl_buf(1, 0xc0105500, '', {{ptr_offset = 8, buf_len = 8}, {ptr_idx = 1, ptr_offset = 0, buf_len "
     "= 1}})"),
};

static void test_syscall_arguments(void **state)
{
    (void)state;
    refuses(bad_syscalls, PV_ARRAY_LEN(bad_syscalls));
    for (size_t i = 0; i < PV_ARRAY_LEN(good_syscalls); i++) {
        cleanup_free char *script = pv_xasprintf("local vm = provium.create('minimal')\n"
                                                 "assert_error(function() %s end, 'is not booted')",
                                                 good_syscalls[i]);

        passes(script);
    }
}

static const struct bad_call bad_packs[] = {
    {"provium.pack('u8', 256)", "field 1 (u8): 256 is out of range 0..255"},
    {"provium.pack('u8', -1)", "field 1 (u8): -1 is out of range 0..255"},
    {"provium.pack('i8 i8', 127, -129)", "field 2 (i8): -129 is out of range -128..127"},
    {"provium.pack('u8 i8 u16', 1, 2, 70000)", "field 3 (u16): 70000 is out of range 0..65535"},
    {"provium.pack('i16', 32768)", "field 1 (i16): 32768 is out of range -32768..32767"},
    {"provium.pack('u32', 4294967296)", "field 1 (u32): 4294967296 is out of range 0..4294967295"},
    {"provium.pack('i32', -2147483649)",
     "field 1 (i32): -2147483649 is out of range -2147483648..2147483647"},
    {"provium.pack('i64', 2^63)", "field 1 (i64): 9.2233720368548e+18 is out of range "
                                  "-9223372036854775808..9223372036854775807"},
    {"provium.pack('u64', 2^64)",
     "field 1 (u64): 1.844674407371e+19 is out of range 0..18446744073709551615"},
    {"provium.pack('u64', -1.0)", "field 1 (u64): -1.0 is out of range 0..18446744073709551615"},
    {"provium.pack('u8', 1/0)", "field 1 (u8): inf is out of range 0..255"},
    {"provium.pack('u8', 1.5)", "field 1 (u8): 1.5 is no integer"},
    {"provium.pack('u8', '1')", "field 1 (u8): expected an integer, got string \"1\""},
    {"provium.pack('u8', nil)", "field 1 (u8): expected an integer, got nil"},
    {"provium.pack('u8 u16', 1)", "field 2 (u16): there is no value for it (1 given)"},
    {"provium.pack('u8', 1, 2)", "the format of provium.pack has 1 fields, but 2 values were given"},
    {"provium.pack('u8 u24', 1, 2)",
     "field 2: 'u24' is no type; expected u8, i8, u16, i16, u32, i32, u64 or i64"},
    {"provium.pack('u8,u8', 1, 2)",
     "field 1: 'u8,u8' is no type; expected u8, i8, u16, i16, u32, i32, u64 or i64"},
    {"provium.pack(1)", "the format of provium.pack must be a string, got number 1"},
    {"provium.unpack('u8 u32', 'abcd')", "field 2 (u32) needs bytes 2 to 5, but the data has 4"},
    {"provium.unpack('u8', '')", "field 1 (u8) needs bytes 1 to 1, but the data has 0"},
    {"provium.unpack('u8')", "the data of provium.unpack must be a string, got nothing"},
    {"provium.unpack('x', 'abc')",
     "field 1: 'x' is no type; expected u8, i8, u16, i16, u32, i32, u64 or i64"},
};

static void test_pack(void **state)
{
    (void)state;
    refuses(bad_packs, PV_ARRAY_LEN(bad_packs));
    passes("local pack, unpack = provium.pack, provium.unpack\n"
           "assert_eq('', pack('')) assert_eq(0, select('#', unpack('', 'x')))\n"
           "assert_eq('\\x01\\xfe\\x34\\x12\\xff\\xff', pack(' u8  i8\\nu16 i16 ', 1, -2, 0x1234, -1))\n"
           "assert_eq('\\x78\\x56\\x34\\x12', pack('u32', 0x12345678))\n"
           "assert_eq('\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff', pack('u64', 0xffffffffffffffff))\n"
           "assert_eq('\\0\\0\\0\\0\\0\\0\\0\\x80', pack('u64', 2^63))\n"
           "assert_eq(-1, (unpack('u64', ('\\xff'):rep(8)))) assert_eq(255, (unpack('u8', '\\xff')))\n"
           "assert_eq(1, (unpack('u8', 'x') == 120) and 1) assert_eq('\\5', pack('u8', 5.0))\n"
           "local a, b, c = unpack('u8 i16 i8', '\\1\\0\\x80\\xffrest')\n"
           "assert_eq({1, -32768, -1}, {a, b, c}) assert_eq('integer', math.type(a))\n");
}

/* Every type at every edge, there and back, against string.pack. */
static void test_pack_edges(void **state)
{
    (void)state;
    passes("local edges = {}\n"
           "for bit = 0, 63 do for d = -2, 2 do edges[#edges + 1] = (1 << bit) + d end end\n"
           "for i = 1, 2000 do edges[#edges + 1] = math.random(0) >> math.random(0, 63) end\n"
           "local own = {u8 = 'B', i8 = 'b', u16 = '<H', i16 = '<h', u32 = '<I4', i32 = '<i4', u64 = '<J', "
           "i64 = '<j'}\n"
           "local n = 0\n"
           "for t, f in pairs(own) do for _, v in ipairs(edges) do\n"
           "  local ok, want = pcall(string.pack, f, v)\n"
           "  local mine, got = pcall(provium.pack, t, v)\n"
           "  if ok ~= mine or ok and want ~= got then fail(t .. ' ' .. v) end\n"
           "  if ok then n = n + 1 assert(provium.unpack(t, got) == v, t) end\n"
           "end end\n"
           "assert(n > 8000, n)\n");
}

static void test_wait_until(void **state)
{
    (void)state;
    passes("local vm, n = provium.create('minimal'), 0\n"
           "local function soon(k) return function() n = n + 1 return n >= k and n end end\n"
           "assert_eq(3, vm:wait_until(soon(3), {interval = '1ms'}))\n"
           /* in a coroutine, with yields inside, and nested */
           "local co = coroutine.wrap(function()\n"
           "  return vm:wait_until(function()\n"
           "    coroutine.yield('waiting')\n"
           "    return vm:wait_until(soon(5), {interval = 0}) == 6\n"
           "  end, {interval = '1ms'})\n"
           "end)\n"
           "assert_eq('waiting', co()) assert_eq('waiting', co()) assert_eq(true, co())\n"
           "assert_error(function() vm:wait_until(function() error('inner') end) end, 'inner')\n"
           "assert_eq(1, select('#', vm:wait_until(function() return 1, 2 end)))\n"
           "local ok, why = pcall(vm.wait_until, vm, function() end, {timeout = 0, desc = 'rain'})\n"
           "assert(not ok) assert_contains(why, 'waited 0.0 s for rain')\n"
           "local t = os.clock() provium.sleep(0.01) provium.sleep('1ms')\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot_options), cmocka_unit_test(test_names),
        cmocka_unit_test(test_requests),     cmocka_unit_test(test_syscall_arguments),
        cmocka_unit_test(test_pack),         cmocka_unit_test(test_pack_edges),
        cmocka_unit_test(test_wait_until),
    };

    return cmocka_run_group_tests(tests, script_set_up, script_tear_down);
}
