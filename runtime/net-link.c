/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/net-link.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/macros.h"

#define ANSWER_SIZE 65536

typedef struct Request {
        struct nlmsghdr header;
        union {
                struct ifinfomsg link;
                struct ifaddrmsg address;
        };
        char attributes[512];
} Request;

static void request_init(Request *request, uint16_t type, uint16_t flags, size_t body) {
        memset(request, 0, sizeof(*request));
        request->header.nlmsg_type = type;
        request->header.nlmsg_flags = NLM_F_REQUEST | flags;
        request->header.nlmsg_len = (uint32_t) NLMSG_LENGTH(body);
}

static void request_add(Request *request, uint16_t type, const void *data, size_t size) {
        size_t at = NLMSG_ALIGN(request->header.nlmsg_len);
        struct rtattr attribute = { .rta_type = type, .rta_len = (uint16_t) RTA_LENGTH(size) };
        assert(at + RTA_SPACE(size) <= sizeof(*request));
        memcpy((char *) request + at, &attribute, sizeof(attribute));
        if (size > 0)
                memcpy((char *) request + at + RTA_LENGTH(0), data, size);
        request->header.nlmsg_len = (uint32_t) (at + RTA_LENGTH(size));
}

int net_link_open(void) {
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        return fd < 0 ? -errno : fd;
}

static int request_send(int socket, const Request *request) {
        ssize_t n = send(socket, request, request->header.nlmsg_len, 0);
        return n < 0 ? -errno : 0;
}

/* To the next message or attribute. */
static void *advance(void *at, size_t length, size_t *left) {
        length = MIN_OF(length, *left);
        *left -= length;
        return (char *) at + length;
}

/* visit is called for each answer; what ends them is the kernel's word about the request. */
static int receive(int socket, int (*visit)(const struct nlmsghdr *header, void *userdata), void *userdata) {
        _cleanup_free_ char *buffer = malloc(ANSWER_SIZE);
        if (!buffer)
                return -ENOMEM;
        for (;;) {
                ssize_t n = recv(socket, buffer, ANSWER_SIZE, MSG_TRUNC);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 || n > ANSWER_SIZE)
                        return n < 0 ? -errno : -EMSGSIZE;
                size_t left = (size_t) n;
                for (struct nlmsghdr *h = (void *) buffer; NLMSG_OK(h, left);
                     h = advance(h, NLMSG_ALIGN(h->nlmsg_len), &left)) {
                        if (h->nlmsg_type == NLMSG_DONE)
                                return 0;
                        if (h->nlmsg_type == NLMSG_ERROR)
                                return ((const struct nlmsgerr *) NLMSG_DATA(h))->error;
                        int r = visit ? visit(h, userdata) : 0;
                        if (r < 0)
                                return r;
                }
        }
}

static int perform(int socket, Request *request) {
        request->header.nlmsg_flags |= NLM_F_ACK;
        int r = request_send(socket, request);
        return r < 0 ? r : receive(socket, NULL, NULL);
}

int net_link_move(int socket, unsigned index, int namespace, const char *name) {
        Request request;
        request_init(&request, RTM_SETLINK, 0, sizeof(request.link));
        request.link.ifi_index = (int) index;
        request_add(&request, IFLA_NET_NS_FD, &namespace, sizeof(namespace));
        request_add(&request, IFLA_IFNAME, name, strlen(name) + 1);
        return perform(socket, &request);
}

int net_link_set_up(int socket, unsigned index) {
        Request request;
        request_init(&request, RTM_SETLINK, 0, sizeof(request.link));
        request.link.ifi_index = (int) index;
        request.link.ifi_flags = request.link.ifi_change = IFF_UP;
        return perform(socket, &request);
}

typedef struct AddressList {
        unsigned index;
        NetLinkAddress *items;
        size_t count;
} AddressList;

static void take_bytes(const struct rtattr *attribute, uint8_t bytes[static 16], uint8_t *size) {
        size_t n = RTA_PAYLOAD(attribute);
        if (n > 16)
                return;
        memcpy(bytes, RTA_DATA(attribute), n);
        *size = (uint8_t) n;
}

static int take_address(const struct nlmsghdr *header, void *userdata) {
        AddressList *list = userdata;
        struct ifaddrmsg *message = NLMSG_DATA(header);
        if (header->nlmsg_type != RTM_NEWADDR || message->ifa_index != list->index ||
            message->ifa_scope != RT_SCOPE_UNIVERSE)
                return 0;
        NetLinkAddress address = {
                .family = message->ifa_family,
                .prefix_length = message->ifa_prefixlen,
                .scope = message->ifa_scope,
                .flags = message->ifa_flags,
        };
        size_t left = IFA_PAYLOAD(header);
        for (struct rtattr *a = (void *) ((char *) message + NLMSG_ALIGN(sizeof(*message))); RTA_OK(a, left);
             a = advance(a, RTA_ALIGN(a->rta_len), &left))
                if (a->rta_type == IFA_LOCAL)
                        take_bytes(a, address.local, &address.local_size);
                else if (a->rta_type == IFA_ADDRESS)
                        take_bytes(a, address.address, &address.address_size);
                else if (a->rta_type == IFA_BROADCAST)
                        take_bytes(a, address.broadcast, &address.broadcast_size);
                else if (a->rta_type == IFA_FLAGS && RTA_PAYLOAD(a) == sizeof(address.flags))
                        memcpy(&address.flags, RTA_DATA(a), sizeof(address.flags));
        if (!(address.flags & IFA_F_PERMANENT))
                return 0;
        NetLinkAddress *larger = realloc(list->items, (list->count + 1) * sizeof(address));
        if (!larger)
                return -ENOMEM;
        list->items = larger;
        larger[list->count++] = address;
        return 0;
}

int net_link_get_addresses(int socket, unsigned index, NetLinkAddress **ret, size_t *ret_count) {
        AddressList list = { .index = index };
        Request request;
        request_init(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(request.address));
        int r = request_send(socket, &request);
        if (r >= 0)
                r = receive(socket, take_address, &list);
        if (r < 0) {
                free(list.items);
                return r;
        }
        *ret = list.items;
        *ret_count = list.count;
        return 0;
}

int net_link_add_address(int socket, unsigned index, const NetLinkAddress *address) {
        Request request;
        request_init(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(request.address));
        request.address = (struct ifaddrmsg){
                .ifa_family = address->family,
                .ifa_prefixlen = address->prefix_length,
                .ifa_scope = address->scope,
                .ifa_flags = IFA_F_PERMANENT,
                .ifa_index = index,
        };
        if (address->local_size > 0)
                request_add(&request, IFA_LOCAL, address->local, address->local_size);
        if (address->address_size > 0)
                request_add(&request, IFA_ADDRESS, address->address, address->address_size);
        if (address->broadcast_size > 0)
                request_add(&request, IFA_BROADCAST, address->broadcast, address->broadcast_size);
        return perform(socket, &request);
}
