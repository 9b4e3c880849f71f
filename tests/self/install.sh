#!/bin/bash
# SPDX-License-Identifier: MIT
# `make install` with DESTDIR and PREFIX, from a build directory that is up to date: what is there, and that it works.
. "$(dirname "$0")/../lib/shell.sh"
[ -s "$repo/build/scripts/provium.1" ] || skip "build/ has not been built"

# -o build: without setup and ninja, which a test must not run
make -s -C "$repo" -o build install DESTDIR="$work/dest" PREFIX=/opt/p >log 2>&1
is "make install" $? 0
share=$work/dest/opt/p/share
for f in man/man1/provium.1 man/man5/provium.toml.5 man/man7/provium-lua.7 bash-completion/completions/provium \
    zsh/site-functions/_provium fish/vendor_completions.d/provium.fish; do
    is "$f" "$([ -s "$share/$f" ] && stat -c %a "$share/$f")" 644
done
is "nothing beside bin and share" "$(ls "$work/dest/opt/p" | tr '\n' ' ')" "bin share "
is "the program" "$("$work/dest/opt/p/bin/provium" version)" "$("$PROVIUM" version)"
is "the completion is of this program" "$("$PROVIUM" completion bash | cmp - "$share/bash-completion/completions/provium" && echo same)" same
if [ -s "$guest/vmlinuz" ]; then
    (unset PROVIUM_GUEST_DIR; "$work/dest/opt/p/bin/provium" doctor >out 2>&1)
    contains "it finds the guest that was installed" out "$work/dest/opt/p/bin/../share/provium/guest"
fi
finish
