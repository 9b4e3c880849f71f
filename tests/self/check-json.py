#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check-json.py FILE WHOLE|CUT: every line is an object of the format, in an order that makes sense.

WHOLE: the last line is the end, and every file is accounted for. CUT: the run may have died at any moment."""
import json
import sys

FILE = {'type', 'file', 'verdict', 'class', 'message', 'flaky', 'begin_ns', 'duration_ns', 'attempts', 'tests', 'log', 'findings',
        'tails', 'logs', 'vmcores', 'saved', 'saved_vms', 'steps', 'steps_cut', 'consoles', 'output', 'output_cut', 'incomplete'}

TEST = {'name', 'outcome', 'class', 'message', 'begin_ns', 'duration_ns', 'expect_fail', 'meta', 'flaky', 'attempts', 'log'}


def constant(name):
    raise ValueError(name + ' is no JSON')


raw = open(sys.argv[1], 'rb').read()
whole = sys.argv[2] == 'WHOLE'
lines = raw.split(b'\n')
assert lines[-1] == b'' or not whole, 'the last line is cut'
lines = [json.loads(line.decode('utf-8', 'strict'), parse_constant=constant) for line in lines[:-1]]
if lines:
    assert lines[0]['type'] == 'run' and lines[0]['schema'] == 'provium-report/1', lines[0]
running, done = set(), []
for line in lines[1:]:
    assert not done or done[-1] is not None, 'a line behind the end'
    if line['type'] == 'file-begin':
        running.add(line['file'])
    elif line['type'] == 'file':
        assert FILE <= set(line), FILE - set(line)
        if line['verdict'] != 'not-run':
            running.discard(line['file'])
        done.append(line['file'])
        for test in line['tests']:
            assert TEST <= set(test), TEST - set(test)
        for step in line['steps']:
            assert step['end_ns'] is None or step['begin_ns'] <= step['end_ns'], step
            assert step['begin_ns'] >= line['begin_ns'], step
    else:
        assert line['type'] == 'end', line
        done.append(None)
if whole:
    assert done and done.pop() is None and not running, 'the end is missing'
    wanted, n = lines[0]['selected'] or lines[0]['files'], lines[0]['repeat']
    if n > 1:
        wanted = ['%s (%d of %d)' % (name, i + 1, n) for name in wanted for i in range(n)]
    assert sorted(done) == sorted(wanted), 'a file is missing'
    totals = lines[-1]['totals']
    assert totals['files'] + totals['not_run'] == len(done), totals
    assert totals['files'] == sum(totals[k] for k in ('passed', 'failed', 'skipped', 'interrupted', 'helpers')), totals
