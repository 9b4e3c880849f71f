-- PV_SOAK_RESTORES rounds: snapshot, change memory, disk and mounts, restore, compare.

local N = tonumber(os.getenv("PV_SOAK_RESTORES"))

test("snapshot, change, restore, compare", function()
    local vm <close> = provium.fixture("soaked")
    local function state()
        return vm:exec("echo 3 >/proc/sys/vm/drop_caches; cat /proc/mounts /ram/f; ls /mnt /ram; sha256sum /dev/vda").stdout.value
    end
    vm:exec("mkdir -p /mnt")
    local want = state()
    for i = 1, N do
        local before <close> = vm:snapshot()
        assert(vm:exec(("echo %d >/ram/f; mount -t tmpfs none /mnt; touch /mnt/x; head -c 4096 /dev/urandom >/ram/new"):format(i)).ok)
        assert(vm:exec("dd if=/dev/urandom of=/dev/vda bs=64k seek=3 count=8 conv=fsync 2>/dev/null").ok)
        assert_ne(want, state())
        vm:restore(before)
        assert_eq(want, state())
    end
    print(("%d times snapshot, change, restore: as before"):format(N))
end)
