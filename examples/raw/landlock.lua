-- landlock: a worker keeps one directory for reading and gives up the rest of the file system.

local vm = provium.create()
vm:boot()

-- linux/landlock.h
local RULE_PATH_BENEATH, CREATE_RULESET_VERSION = 1, 1
local READ_FILE, READ_DIR = 1 << 2, 1 << 3
local HANDLED = (1 << 13) - 1 -- every right of the first version, LANDLOCK_ACCESS_FS_EXECUTE to MAKE_SYM
local AT_FDCWD, O_PATH, O_RDONLY = -100, 0x200000, 0 -- asm-generic/fcntl.h
local PR_SET_NO_NEW_PRIVS = 38
local EACCES = 13

local function openat(who, path, flags)
    return who:syscall_buf("openat", 1, path .. "\0", AT_FDCWD, 0, flags)
end

assert(vm:exec("mkdir -p /tmp/open /tmp/shut && echo in >/tmp/open/file && echo out >/tmp/shut/file").ok)

test("this kernel has landlock", function()
    local abi = vm:syscall("landlock_create_ruleset", 0, 0, CREATE_RULESET_VERSION)
    assert(abi >= 1, "landlock_create_ruleset: " .. abi)
end)

test("a worker behind a rule", function()
    local worker = vm:spawn()
    -- struct landlock_ruleset_attr { u64 handled_access_fs; }: what is not allowed below is forbidden.
    local rules = worker:syscall_buf("landlock_create_ruleset", 0, provium.pack("u64", HANDLED), 0, 8, 0)
    assert(rules >= 0, "landlock_create_ruleset: " .. rules)
    -- struct landlock_path_beneath_attr { u64 allowed_access; s32 parent_fd; }, packed
    local dir = openat(worker, "/tmp/open", O_PATH)
    assert_eq(0, worker:syscall_buf("landlock_add_rule", 2, provium.pack("u64 i32", READ_FILE | READ_DIR, dir),
        rules, RULE_PATH_BENEATH, 0, 0))
    assert_eq(0, worker:syscall("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    assert_eq(0, worker:syscall("landlock_restrict_self", rules, 0))

    assert(openat(worker, "/tmp/open/file", O_RDONLY) >= 0)
    assert_eq(-EACCES, openat(worker, "/tmp/shut/file", O_RDONLY))
    assert_eq(-EACCES, openat(worker, "/tmp/open/file", 1)) -- for writing
    assert(openat(vm, "/tmp/shut/file", O_RDONLY) >= 0)
    worker:kill()
end)

vm:shutdown()
