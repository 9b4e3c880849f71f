"use strict";
// SPDX-License-Identifier: MIT
// The page of --html. What tests and guests said is in `data` and gets into the page as text nodes only: no
// innerHTML, no attributes but those set below.
(function () {
const KINDS = ["wait", "build", "boot", "resume", "call", "network", "test"];
const FILES_AT_ONCE = 300, TESTS_AT_ONCE = 300, ROWS_AT_ONCE = 60;

function parse(cls) {
    return Array.from(document.querySelectorAll("script." + cls), s => JSON.parse(s.textContent));
}

function el(tag, cls, text) {
    const e = document.createElement(tag);
    if (cls) e.className = cls;
    if (text !== undefined && text !== null) e.textContent = text;
    return e;
}

function add(parent, ...children) {
    for (const c of children) if (c) parent.append(c);
    return parent;
}

function button(cls, text, fn) {
    const b = el("button", cls, text);
    b.type = "button";
    b.addEventListener("click", fn);
    return b;
}

function seconds(ns) {
    const s = ns / 1e9;
    if (s < 0.001) return (ns / 1e3).toFixed(0) + " µs";
    if (s < 1) return (s * 1e3).toFixed(0) + " ms";
    if (s < 100) return s.toFixed(2) + " s";
    return Math.floor(s / 60) + " min " + Math.round(s % 60) + " s";
}

function count(n, one, many) {
    return n + " " + (n === 1 ? one : many || one + "s");
}

// "owner=net area=tcp area=ipv6"
function metaText(t) {
    return Object.entries(t.meta).flatMap(([k, v]) => [].concat(v).map(x => k + "=" + x)).join(" ");
}

const run = parse("run")[0], end = parse("end")[0], files = parse("file"), totals = end.totals;
for (const f of files) {
    f.end_ns = f.begin_ns + f.duration_ns;
    f.state = f.flaky ? "flaky" : f.verdict === "interrupted" ? "not-run" : f.verdict === "todo" ? "skip"
        : f.verdict === "helper" ? "ok" : f.verdict;
    f.hay = [f.file, f.message, f.class].concat(f.tests.flatMap(t => [t.name, t.message, t.expect_fail, metaText(t)].concat(t.log)),
        f.findings.map(d => d.headline)).join("\n").toLowerCase();
}

// Ticks at round times: [[ns, text], ...]
function ticks(span) {
    let step = Math.pow(10, Math.floor(Math.log10(span / 6)));
    step *= span / step > 30 ? 5 : span / step > 12 ? 2 : 1;
    const unit = span >= 1e9 ? [1e9, " s"] : span >= 1e6 ? [1e6, " ms"] : [1e3, " µs"], all = [];
    for (let t = 0; t <= span; t += step) all.push([t, Math.round(t / unit[0] * 100) / 100 + unit[1]]);
    return all;
}

function rulerOf(span) {
    const ruler = el("div", "track ruler");
    for (const [t, text] of ticks(span)) {
        const tick = el("span", "tick", text);
        tick.style.left = 100 * t / span + "%";
        add(ruler, tick);
    }
    return add(el("div", "row"), el("div", "name"), ruler);
}

// ---- consoles ----

const encoder = new TextEncoder(), decoder = new TextDecoder();

function bytes(console_) {
    if (!console_.bytes) console_.bytes = encoder.encode(console_.text);
    return console_.bytes;
}

// The part of a VM's console between two times: [from, to) in its bytes, as near as steps tell.
function consolePart(f, c, t0, t1) {
    let from = -1, to = -1;
    for (const s of f.steps) {
        if (s.vm !== c.vm) continue;
        for (const [t, at] of [[s.begin_ns, s.console_begin], [s.end_ns, s.console_end]]) {
            if (t === null || at === null) continue;
            if (t <= t0 && at > from) from = at;
            if (t >= t1 && (to < 0 || at < to)) to = at;
        }
    }
    const n = bytes(c).length;
    if (from < 0) from = 0;
    if (to < 0) to = n;
    return [from, Math.max(from, to)];
}

// The console with the part marked and in view.
function consoleView(f, c, t0, t1) {
    const box = el("div", "console"), pre = el("pre"), b = bytes(c);
    const [from, to] = t0 === null ? [b.length, b.length] : consolePart(f, c, t0, t1);
    if (c.cut) add(pre, el("span", "note", "[" + c.cut + " bytes before this are not kept]\n"));
    add(pre, el("span", "before", decoder.decode(b.subarray(0, from))));
    const during = add(pre, el("span", "during", decoder.decode(b.subarray(from, to)))).lastChild;
    add(pre, el("span", "after", decoder.decode(b.subarray(to))));
    if (b.length === 0) add(pre, el("span", "note", "(the console is empty)"));
    const title = t0 === null || b.length === 0 ? "" : to === from ? ": nothing was printed at that time"
        : ": what was printed then is marked";
    add(box, el("h4", null, "console of " + c.vm + title), pre);
    requestAnimationFrame(() => {
        pre.scrollTop = t0 === null ? pre.scrollHeight : Math.max(0, during.offsetTop - pre.offsetTop - 60);
    });
    return box;
}

// ---- the timeline of a file ----

function outcomeClass(o) {
    return o === "fail" ? " failed" : o === "skip" || o === "todo" || o === "xfail" ? " skipped" : "";
}

// Tracks: sub-tests (nested ones below), the file, each VM, each task. A bar is {kind, text, vm, begin, end, cls, what}.
function tracksOf(f) {
    const tracks = [], vms = new Map();
    const open = [];
    for (const t of f.tests) {
        const bar = {kind: "test", text: t.name, vm: null, begin: t.begin_ns, end: t.begin_ns + t.duration_ns,
            cls: outcomeClass(t.outcome), what: t.outcome + (t.class ? " (" + t.class + ")" : ""), message: t.message};
        while (open.length && open[open.length - 1].end <= bar.begin) open.pop();
        const depth = open.length;
        open.push(bar);
        if (!tracks[depth]) tracks[depth] = {name: depth ? "" : "sub-tests", bars: []};
        tracks[depth].bars.push(bar);
    }
    const own = {name: "file", bars: []};
    for (const s of f.steps) {
        const bar = {kind: KINDS.includes(s.kind) ? s.kind : "call", text: s.text, vm: s.vm, begin: s.begin_ns,
            end: s.end_ns === null ? f.end_ns : s.end_ns, cls: s.end_ns === null || !s.ok ? " failed" : "",
            what: s.end_ns === null ? "did not finish" : s.ok ? "ok" : "failed"};
        if (s.vm === null) {
            own.bars.push(bar);
            continue;
        }
        if (!vms.has(s.vm)) vms.set(s.vm, {name: s.vm, bars: []});
        vms.get(s.vm).bars.push(bar);
    }
    if (own.bars.length) tracks.push(own);
    return tracks.concat(Array.from(vms.values()));
}

function showMoment(f, into, bar, t) {
    const t0 = bar ? bar.begin : t, t1 = bar ? bar.end : t;
    into.replaceChildren();
    if (bar) {
        const head = el("p", "step");
        add(head, el("span", "kind " + bar.kind, bar.kind), el("b", null, bar.text),
            el("span", null, " from " + seconds(bar.begin - f.begin_ns) + ", for " + seconds(bar.end - bar.begin) +
                ": "), el("span", bar.cls, bar.what));
        add(into, head);
        if (bar.message) add(into, el("pre", "message" + bar.cls, bar.message));
    } else {
        add(into, el("p", "step", "at " + seconds(t - f.begin_ns)));
    }
    const shown = f.consoles.filter(c => !bar || bar.vm === null || bar.vm.startsWith("task ") || c.vm === bar.vm);
    for (const c of shown) add(into, consoleView(f, c, t0, t1));
    if (!shown.length) add(into, el("p", "note", "No console was kept."));
}

function timeline(f) {
    const box = el("section", "timeline"), tracks = tracksOf(f), begin = f.begin_ns, span = Math.max(1, f.duration_ns);
    if (!tracks.length) return null;
    const scroll = el("div", "scroll"), grid = el("div", "tracks"), detail = el("div", "detail");
    let zoom = 1, chosen = null;
    const set = z => {
        const middle = (scroll.scrollLeft + scroll.clientWidth / 2) / Math.max(1, grid.clientWidth);
        zoom = Math.min(64, Math.max(1, z));
        grid.style.width = 100 * zoom + "%";
        scroll.scrollLeft = middle * grid.clientWidth - scroll.clientWidth / 2;
    };
    const head = add(el("div", "bar"), el("h4", null, "Timeline"), button("small", "+", () => set(zoom * 2)),
        button("small", "−", () => set(zoom / 2)), button("small", "whole", () => set(1)));
    for (const k of KINDS) add(head, el("span", "kind " + k, k));
    if (f.steps_cut) add(head, el("span", "note", count(f.steps_cut, "step") + " more were not kept"));
    add(grid, rulerOf(span));
    for (const track of tracks) {
        const strip = el("div", "track");
        strip.addEventListener("click", e => {
            const r = strip.getBoundingClientRect();
            if (e.target !== strip) return;
            if (chosen) chosen.classList.remove("chosen");
            showMoment(f, detail, null, begin + span * (e.clientX - r.left) / r.width);
        });
        for (const bar of track.bars) {
            const b = button("step-bar " + bar.kind + bar.cls, bar.text, () => {
                if (chosen) chosen.classList.remove("chosen");
                chosen = b;
                b.classList.add("chosen");
                showMoment(f, detail, bar);
            });
            b.title = bar.kind + ": " + bar.text + " (" + seconds(bar.end - bar.begin) + ")";
            b.style.left = 100 * (bar.begin - begin) / span + "%";
            b.style.width = "max(3px, " + 100 * Math.max(0, bar.end - bar.begin) / span + "%)";
            add(strip, b);
        }
        add(grid, add(el("div", "row"), el("div", "name", track.name), strip));
    }
    add(detail, el("p", "note", "Click a step to see it and the console at that moment."));
    add(scroll, grid);
    const bad = grid.querySelector(".step-bar.failed");
    if (bad) bad.click();
    return add(box, head, scroll, detail);
}

// ---- a file ----

function tails(f, i) {
    const box = document.createDocumentFragment();
    for (const d of f.findings)
        if (d.test === i)
            add(box, el("h4", null, d.class + " in " + d.vm + ": " + d.headline), el("pre", null, d.excerpt));
    for (const c of f.tails)
        if (c.test === i && c.text)
            add(box, add(el("details"), el("summary", null, (c.vm.startsWith("network ") ? "last frames of " : "last lines of ") + c.vm), el("pre", null, c.text)));
    return box;
}

function testList(f) {
    const box = el("div", "tests");
    const show = from => {
        for (let i = from; i < f.tests.length && i < from + TESTS_AT_ONCE; i++) {
            const t = f.tests[i], row = el("div", "sub-test");
            add(row, el("span", "badge " + t.outcome, t.outcome), el("span", "test-name", t.name),
                t.class ? el("span", "class", t.class) : null, t.flaky ? el("span", "badge flaky", "flaky") : null,
                el("span", "meta", metaText(t)), el("span", "time", seconds(t.duration_ns)));
            add(box, row);
            t.attempts.forEach((a, n) => add(box, el("pre", "message", "attempt " + (n + 1) + ": " + a.message)));
            if (t.expect_fail) add(box, el("p", "note", "expected to fail: " + t.expect_fail));
            if (t.log.length) add(box, el("pre", "log", t.log.join("\n")));
            if (t.message) add(box, el("pre", "message " + t.outcome, t.message));
            add(box, tails(f, i));
        }
        if (from + TESTS_AT_ONCE < f.tests.length) {
            const more = button("more", "show more of " + f.tests.length, () => {
                more.remove();
                show(from + TESTS_AT_ONCE);
            });
            add(box, more);
        }
    };
    show(0);
    return f.tests.length ? box : null;
}

function attempts(f) {
    if (!f.attempts || !f.attempts.length) return null;
    const box = el("div", "attempts");
    f.attempts.forEach((a, i) => {
        add(box, add(el("p"), el("span", "badge " + a.verdict, a.verdict), "attempt " + (i + 1) +
            (a.class ? " (" + a.class + ")" : "") + ", " + seconds(a.duration_ns)));
        if (a.message) add(box, el("pre", "message", a.message));
    });
    return box;
}

function fileBody(f) {
    const body = el("div", "file-body");
    if (f.message) add(body, el("pre", "message " + f.verdict, (f.class ? f.class + ": " : "") + f.message));
    add(body, attempts(f), tails(f, null), testList(f), timeline(f));
    if (!f.steps.length) for (const c of f.consoles) add(body, consoleView(f, c, null, null));
    if (f.log.length) add(body, el("h4", null, "log"), el("pre", "log", f.log.join("\n")));
    if (f.output)
        add(body, el("h4", null, "output" + (f.output_cut ? " (without the first " + f.output_cut + " bytes)" : "")),
            el("pre", null, f.output));
    for (const l of f.logs) add(body, el("p", "note", (l.vm.startsWith("network ") ? "frames of " : "console log of ") + l.vm + ": " + l.path));
    if (f.incomplete) add(body, el("p", "note", "The file said more than is kept."));
    if (body.childElementCount === 0) add(body, el("p", "note", "Nothing was said."));
    return body;
}

function fileItem(f) {
    const item = el("article", "file " + f.state);
    const head = button("file-head", null, () => toggle());
    const failed = f.tests.filter(t => t.outcome === "fail").length;
    add(head, el("span", "badge " + f.state, f.flaky ? "flaky" : f.verdict), el("span", "file-name", f.file),
        f.class ? el("span", "class", f.class) : null,
        el("span", "note", f.tests.length ? count(f.tests.length, "test") + (failed ? ", " + failed + " failed" : "") : ""),
        f.findings.length ? el("span", "found", count(f.findings.length, "kernel report")) : null,
        el("span", "time", f.verdict === "not-run" ? "" : seconds(f.duration_ns)));
    add(item, head);
    head.setAttribute("aria-expanded", "false");
    function toggle(open) {
        const is = item.childElementCount > 1;
        if (open === is) return;
        head.setAttribute("aria-expanded", String(!is));
        if (is) item.lastChild.remove();
        else add(item, fileBody(f));
    }
    return {f, item, toggle};
}

// ---- the page ----

// What failed first, otherwise as it ended.
const rank = {"fail": 0, "not-run": 1, "flaky": 2};
const items = files.map(fileItem).sort((a, b) => (rank[a.f.state] ?? 3) - (rank[b.f.state] ?? 3));
const filter = {state: null, text: ""};
const list = el("div", "files"), overview = el("div", "overview");

function matches(f) {
    return (!filter.state || f.state === filter.state) && filter.text.split(/\s+/).every(w => f.hay.includes(w));
}

function showFiles(all, from) {
    for (const i of all.slice(from, from + FILES_AT_ONCE)) add(list, i.item);
    if (from + FILES_AT_ONCE < all.length) {
        const more = button("more", "show more of " + all.length, () => {
            more.remove();
            showFiles(all, from + FILES_AT_ONCE);
        });
        add(list, more);
    }
}

// A row for each file: when it ran, and what its time went into.
function showOverview(all) {
    const ran = all.filter(i => i.f.verdict !== "not-run").sort((a, b) => a.f.begin_ns - b.f.begin_ns);
    const span = Math.max(1, end.duration_ns, ...ran.map(i => i.f.end_ns));
    const rows = n => {
        overview.replaceChildren();
        add(overview, rulerOf(span));
        for (const i of ran.slice(0, n)) {
            const f = i.f, strip = el("div", "track");
            const bar = button("step-bar whole " + f.state, null, () => choose(i));
            bar.title = f.file + ": " + seconds(f.duration_ns);
            bar.style.left = 100 * f.begin_ns / span + "%";
            bar.style.width = "max(3px, " + 100 * f.duration_ns / span + "%)";
            for (const s of f.steps) {
                if (s.kind === "call") continue;
                const part = el("span", "part " + s.kind), last = s.end_ns === null ? f.end_ns : s.end_ns;
                part.style.left = 100 * (s.begin_ns - f.begin_ns) / Math.max(1, f.duration_ns) + "%";
                part.style.width = 100 * (last - s.begin_ns) / Math.max(1, f.duration_ns) + "%";
                add(bar, part);
            }
            add(strip, bar);
            add(overview, add(el("div", "row"), el("div", "name", f.file), strip));
        }
        if (n < ran.length) add(overview, button("more", "show all " + ran.length, () => rows(ran.length)));
    };
    rows(ROWS_AT_ONCE);
}

function choose(i) {
    if (!i.item.isConnected) add(list, i.item);
    i.toggle(true);
    i.item.scrollIntoView({block: "start"});
}

function refresh() {
    const all = items.filter(i => matches(i.f));
    list.replaceChildren();
    showFiles(all, 0);
    if (!all.length) add(list, el("p", "note", "No file matches."));
    showOverview(all);
    for (const t of document.querySelectorAll(".tile"))
        t.classList.toggle("chosen", (t.dataset.state || null) === filter.state && filter.state !== null);
}

function tile(state, n, text) {
    const t = button("tile " + state, null, () => {
        filter.state = filter.state === state ? null : state;
        refresh();
    });
    t.dataset.state = state;
    return add(t, el("b", null, n), el("span", null, text));
}

function header() {
    const failed = end.exit_code !== 0;
    const word = end.exit_code === null ? "running, or died" : end.stopped_by ? "stopped by " + end.stopped_by
        : failed ? "failed" : "passed";
    const h = el("header", failed ? "bad" : "good");
    add(h, el("h1", null, "provium test: " + word));
    add(h, el("p", "note", [run.started, run.host, "provium " + run.version, seconds(end.duration_ns),
        run.shard ? "shard " + run.shard.index + " of " + run.shard.count : ""].filter(Boolean).join(" · ")));
    add(h, el("p", "note args", run.directory + " $ provium " + run.args.join(" ")));
    const n = s => files.filter(f => f.state === s).length;
    const tiles = add(el("div", "tiles"), tile("fail", n("fail"), "failed"), tile("ok", n("ok"), "passed"),
        tile("skip", n("skip"), "skipped"));
    if (n("flaky")) add(tiles, tile("flaky", n("flaky"), "flaky"));
    if (n("not-run") || end.totals.not_run)
        add(tiles, tile("not-run", Math.max(n("not-run"), totals.not_run + totals.interrupted), "not run to the end"));
    add(tiles, add(el("div", "sum"), el("b", null, totals.tests), el("span", null, totals.tests === 1 ? "sub-test"
        : "sub-tests"), totals.tests_failed ? el("span", "failed", totals.tests_failed + " failed") : null));
    return add(h, tiles);
}

const search = el("input", "search");
search.type = "search";
search.placeholder = "search names and messages";
search.setAttribute("aria-label", search.placeholder);
search.addEventListener("input", () => {
    filter.text = search.value.trim().toLowerCase();
    refresh();
});
const tools = add(el("div", "tools"), search,
    button("small", "open all", () => items.filter(i => i.item.isConnected).slice(0, 50).forEach(i => i.toggle(true))),
    button("small", "close all", () => items.forEach(i => i.toggle(false))));
add(document.getElementById("page"), header(), tools, list, el("h2", null, "Run"), overview);
refresh();
const wanted = items.find(i => "#" + encodeURIComponent(i.f.file) === location.hash);
if (wanted) choose(wanted);
else if (items.length && totals.failed === 1) items.filter(i => i.f.state === "fail").forEach(i => i.toggle(true));
})();
