/* SPDX-License-Identifier: MIT */
/* The test files that the fake guests go through.  Together they take every path of a VM's life. */
#ifndef TESTS_FAKE_SCENARIOS_H
#define TESTS_FAKE_SCENARIOS_H

static const struct scenario {
    const char *name;
    const char *script;
    const char *fixture; /* fixtures/f.lua; NULL: none */
} scenarios[] = {
    {"life",
     "local vm = provium.create('fake')\n"
     "vm:boot{memory = '64M'}\n"
     "test('calls', {timeout = 3}, function()\n"
     "  assert_eq('ok\\n', vm:exec('x').stdout.value)\n"
     "  vm:write_file('/x', 'content')\n"
     "  assert_eq('content', vm:read_file('/x'))\n"
     "end)\n"
     "test('end', {timeout = 3}, function() vm:shutdown() end)\n",
     NULL},
    {"snapshot",
     "local vm = provium.create('fake')\n"
     "vm:boot{memory = '64M'}\n"
     "test('clone and restore', {timeout = 6}, function()\n"
     "  local s = vm:snapshot{timeout = 2}\n"
     "  local c = vm:clone(s, {timeout = 2})\n"
     "  c:exec('x')\n"
     "  vm:restore(s, {timeout = 2})\n"
     "  vm:exec('x')\n"
     "  vm:restore(s, {timeout = 2})\n"
     "  provium.sleep(0.05)\n"
     "  vm:restore(s, {timeout = 2})\n"
     "  c:kill()\n"
     "  c:restore(s, {timeout = 2})\n"
     "end)\n",
     NULL},
    {"reset",
     "provium.reset_between_tests = true\n"
     "local vm = provium.create('fake')\n"
     "vm:boot{memory = '64M'}\n"
     "for i = 1, 3 do\n"
     "  test('t' .. i, {timeout = 3}, function() vm:exec('x') end)\n"
     "end\n",
     NULL},
    {"fixture",
     "test('fixture', {timeout = 8}, function()\n"
     "  for i = 1, 3 do\n"
     "    local vm = provium.fixture('f', {timeout = 4})\n"
     "    vm:exec('x')\n"
     "    if i == 2 then provium.sleep(0.05) end\n"
     "    if i == 3 then vm:shutdown() end\n"
     "  end\n"
     "end)\n",
     "local vm = provium.create('fake')\n"
     "vm:boot{memory = '64M', timeout = 2}\n"
     "vm:write_file('/x', 'content')\n"
     "vm:exec('x', {timeout = 1})\n"
     "open = vm:spawn{timeout = 1}\n" /* a worker that is left open ends with the script */},
};

#endif
