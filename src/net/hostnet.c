/* SPDX-License-Identifier: MIT */
/* Interfaces and nameservers of the host, which an uplink needs. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>

#include "net/uplink.h"
#include "util/mem.h"

bool pv_host_has_network(void)
{
    struct ifaddrs *all;
    bool found = false;

    if (getifaddrs(&all) < 0)
        return false;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next)
        found = i->ifa_addr && i->ifa_addr->sa_family == AF_INET && i->ifa_flags & IFF_UP &&
                !(i->ifa_flags & IFF_LOOPBACK);
    freeifaddrs(all);
    return found;
}

bool pv_host_has_nameserver(void)
{
    cleanup_file FILE *f = fopen("/etc/resolv.conf", "re");
    char line[512], text[64];
    struct in_addr ip;

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "nameserver %63s", text) == 1 && inet_pton(AF_INET, text, &ip) == 1)
            return true;
    return false;
}
