#!/bin/bash
# SPDX-License-Identifier: MIT
# `--net` of `provium run` and `provium shell`: a VM of a cold and of a cached boot reaches a server on the host, whose
# loopback stays out of reach; a kernel and a machine without NICs are refused before the boot.
. "$(dirname "$0")/../lib/shell.sh"
needs_guest
cat >provium.toml <<EOF
[profile.default]
kernel = "$guest/vmlinuz"
boot_timeout = "120s"
[profile.pc]
kernel = "$guest/vmlinuz"
machine = "pc"
EOF

# serve ADDRESS FILE: a web server of www on a free port of ADDRESS; the port is in FILE when it listens.
serve() {
    python3 - "$1" "$2" >/dev/null 2>&1 <<'EOF' &
import functools, http.server, os, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="www")
server = http.server.HTTPServer((sys.argv[1], 0), handler)
with open(sys.argv[2] + ".new", "w") as f: f.write(str(server.server_address[1]))
os.rename(sys.argv[2] + ".new", sys.argv[2])
server.serve_forever()
EOF
    servers+=($!)
    for _ in $(seq 300); do [ -s "$2" ] && return; sleep 0.1; done
}
servers=()
mkdir www && echo 'the page' >www/page
host=$(python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("192.0.2.1", 9))
print(s.getsockname()[0])' 2>/dev/null) || skip "the host has no address besides its loopback's"
serve "$host" port
serve 127.0.0.1 loopback-port
page=http://$host:$(cat port)/page
for how in cold cached; do
    timeout 120 "$PROVIUM" run --net -- "wget -q -O - $page; ip route; cat /etc/resolv.conf" >out 2>err
    code=$?
    exits "$how" 0
    warns "$how: the boot" "$how boot"
    shows "$how: the page" 'the page'
    shows "$how: the default route" 'default via 10.7.0.'
    shows "$how: the nameserver" 'nameserver 10.7.0.'
done
provium run --net -- "wget -q -T 3 -O - http://10.7.0.254:$(cat loopback-port)/page http://127.0.0.1:$(cat loopback-port)/page"
is "the host's loopback" "$(cat out)" ''
provium run -- "wget -q -T 3 -O - $page"
is 'without --net' "$(cat out)" ''
echo "wget -q -O - $page" | timeout 120 "$PROVIUM" shell --net >out 2>err
is 'shell --net' "$(cat out)" 'the page'
mkdir fixtures
echo 'provium.create():boot()' >fixtures/base.lua
echo "wget -q -O - $page" | timeout 120 "$PROVIUM" shell --net --fixture base >out 2>err
is 'shell --net --fixture' "$(cat out)" 'the page'
kill "${servers[@]}"

provium run --net --profile pc true
exits 'a machine without a place for NICs' 2
warns 'a machine without a place for NICs: why' '--net needs a q35 machine'
kernel_tree tree
provium run --net --kernel tree true
exits 'a kernel without virtio_net' 2
warns 'a kernel without virtio_net: the option' CONFIG_VIRTIO_NET
cp -r "$guest/modules/kernel" "$guest"/modules/modules.{order,builtin} tree
rm tree/.config
find tree/kernel -name 'virtio_net.ko*' -delete
sed -i '/\/virtio_net\.ko/d' tree/modules.order
provium run --net --kernel tree true
exits 'modules without virtio_net' 2
warns 'modules without virtio_net: the driver' 'has no driver virtio_net'
is 'no file is left' "$(ls "$TMPDIR")" ''
finish
