-- QEMU holds the machine before its first instruction.
test("boot", function() provium.create("held"):boot({timeout = 1}) end)
