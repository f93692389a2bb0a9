/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lib/oci-reference.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/limits.h"
#include "lib/strv.h"

#define REPOSITORY_LENGTH_MAX 255
#define TAG_LENGTH_MAX 128
#define HOST_LENGTH_MAX 253
#define DEFAULT_REGISTRY "docker.io"
#define DEFAULT_TAG "latest"

static bool is_lower(char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_upper(char c) {
        return c >= 'A' && c <= 'Z';
}

/* Labels of letters, digits and inner hyphens, joined by dots. */
static bool host_name_is_valid(const char *host) {
        bool label_open = false; /* the last character may end a label */
        size_t length = strlen(host);
        if (length == 0 || length > HOST_LENGTH_MAX)
                return false;
        for (const char *p = host; *p; p++) {
                bool start = p == host || p[-1] == '.';
                if (is_lower(*p))
                        label_open = true;
                else if (start || (*p != '-' && *p != '.') || (*p == '.' && !label_open))
                        return false;
                else
                        label_open = false;
        }
        return label_open;
}

/* Splits host[:port] at what may be the port's colon; the port without it, or NULL. */
static char *host_copy(const char *registry, const char **ret_port) {
        const char *colon = registry[0] == '[' ? strstr(registry, "]:") : strchr(registry, ':');
        if (colon && registry[0] == '[')
                colon++;
        *ret_port = colon ? colon + 1 : NULL;
        return colon ? strndup(registry, (size_t) (colon - registry)) : strdup(registry);
}

static bool ipv6_host_to_address(const char *host, struct in6_addr *ret) {
        char text[INET6_ADDRSTRLEN];
        size_t length = strlen(host);
        if (length < 3 || host[0] != '[' || host[length - 1] != ']' || length - 2 >= sizeof(text))
                return false;
        memcpy(text, host + 1, length - 2);
        text[length - 2] = '\0';
        return inet_pton(AF_INET6, text, ret) == 1;
}

static int check_registry(const char *registry, Fault *fault) {
        const char *port;
        uint64_t number;
        _cleanup_free_ char *host = host_copy(registry, &port);
        if (!host)
                return -ENOMEM;
        if (host[0] == '[') {
                struct in6_addr address;
                if (!ipv6_host_to_address(host, &address))
                        return fault_set(fault, -EINVAL, "'%s' is not an IPv6 address in brackets", host);
        } else if (!host_name_is_valid(host))
                return fault_set(fault, -EINVAL, "'%s' is not the name of a registry's host", host);
        if (port && (string_to_uint64(port, 65535, &number) < 0 || number == 0 || port[0] == '0'))
                return fault_set(fault, -EINVAL, "'%s' is not a port", port);
        return 0;
}

/* Components of lower-case alphanumerics joined by '.', '_', "__" or any number of '-'. */
static bool repository_is_valid(const char *repository) {
        for (const char *p = repository;;) {
                if (!is_lower(*p))
                        return false;
                p += strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789");
                if (*p == '\0')
                        return true;
                size_t hyphens = strspn(p, "-"), underscores = strspn(p, "_");
                if (underscores > 2)
                        return false;
                if (*p == '/' || *p == '.')
                        p++;
                else if (hyphens + underscores > 0)
                        p += hyphens + underscores;
                else
                        return false;
        }
}

static int check_repository(const char *repository, Fault *fault) {
        size_t length = strlen(repository);
        if (length == 0)
                return fault_set(fault, -EINVAL, "the repository's name is missing");
        if (length > REPOSITORY_LENGTH_MAX)
                return fault_set(fault, -EINVAL, "the repository's name is longer than %i bytes",
                                 REPOSITORY_LENGTH_MAX);
        for (const char *p = repository; *p; p++)
                if (is_upper(*p))
                        return fault_set(fault, -EINVAL, "the repository's name '%s' must be in lower case",
                                         repository);
        if (!repository_is_valid(repository))
                return fault_set(fault, -EINVAL, "'%s' is not the name of a repository", repository);
        return 0;
}

static int check_tag(const char *tag, Fault *fault) {
        size_t length = strlen(tag);
        if (length == 0)
                return fault_set(fault, -EINVAL, "the tag is missing after ':'");
        if (length > TAG_LENGTH_MAX)
                return fault_set(fault, -EINVAL, "the tag is longer than %i bytes", TAG_LENGTH_MAX);
        for (size_t i = 0; i < length; i++)
                if (!is_lower(tag[i]) && !is_upper(tag[i]) && tag[i] != '_' &&
                    (i == 0 || (tag[i] != '.' && tag[i] != '-')))
                        return fault_set(fault, -EINVAL, "'%s' is not a tag", tag);
        return 0;
}

static int parse_digest(const char *string, OciReference *reference, Fault *fault) {
        int r = digest_parse(string, &reference->digest);
        if (r == -EOPNOTSUPP)
                return fault_set(fault, -EINVAL, "the digest has the unknown algorithm '%.*s'",
                                 (int) strcspn(string, ":"), string);
        if (r < 0)
                return fault_set(fault, -EINVAL, "'%s' is not a digest", string);
        reference->has_digest = true;
        return 0;
}

/* Docker's rule: the part before the first slash is a registry if nothing else could be meant. */
static bool looks_like_registry(const char *string, size_t size) {
        return memchr(string, '.', size) || memchr(string, ':', size) ||
               (size == strlen("localhost") && strncasecmp(string, "localhost", size) == 0);
}

/* path has no tag and no digest any more. */
static int split_registry(const char *path, OciReference *reference) {
        const char *slash = strchr(path, '/');
        size_t size = slash ? (size_t) (slash - path) : 0;
        bool is_default = true;

        if (slash && looks_like_registry(path, size)) {
                reference->registry = strndup(path, size);
                path = slash + 1;
                for (char *p = reference->registry; p && *p; p++)
                        if (is_upper(*p))
                                *p = (char) (*p - 'A' + 'a');
                if (string_equal(reference->registry, "index." DEFAULT_REGISTRY))
                        reference->registry[0] = '\0';
                is_default = reference->registry && (reference->registry[0] == '\0' ||
                                                     string_equal(reference->registry, DEFAULT_REGISTRY));
        }
        if (is_default) {
                free(reference->registry);
                reference->registry = strdup(DEFAULT_REGISTRY);
        }
        if (is_default && path[0] && !strchr(path, '/')) {
                if (asprintf(&reference->repository, "library/%s", path) < 0)
                        reference->repository = NULL;
        } else
                reference->repository = strdup(path);
        return reference->registry && reference->repository ? 0 : -ENOMEM;
}

static int make_name(OciReference *reference) {
        char digest[DIGEST_STRING_MAX] = "";
        if (reference->has_digest)
                digest_to_string(&reference->digest, digest);
        if (asprintf(&reference->name, "%s/%s%s%s%s%s", reference->registry, reference->repository,
                     reference->tag ? ":" : "", reference->tag ? reference->tag : "",
                     reference->has_digest ? "@" : "", digest) < 0) {
                reference->name = NULL;
                return -ENOMEM;
        }
        return 0;
}

/* A whole SHA-256 in hexadecimal names an image by its identifier in other programs, never a repository. */
static bool is_identifier(const char *string) {
        return strlen(string) == 64 && strspn(string, "0123456789abcdef") == 64;
}

/* string is cut into its parts in place. */
static int parse_parts(char *string, OciReference *reference, Fault *fault) {
        int r;
        if (is_identifier(string))
                return fault_set(fault, -EINVAL, "is an image's identifier, not its name");

        char *at = strchr(string, '@');
        if (at) {
                *at = '\0';
                r = parse_digest(at + 1, reference, fault);
                if (r < 0)
                        return r;
        }

        char *slash = strrchr(string, '/');
        char *colon = strchr(slash ? slash : string, ':');
        if (colon) {
                *colon = '\0';
                r = check_tag(colon + 1, fault);
                if (r < 0)
                        return r;
        }
        if (colon || !at) {
                reference->tag = strdup(colon ? colon + 1 : DEFAULT_TAG);
                if (!reference->tag)
                        return -ENOMEM;
        }

        r = split_registry(string, reference);
        if (r < 0)
                return r;
        r = check_registry(reference->registry, fault);
        if (r < 0)
                return r;
        r = check_repository(reference->repository, fault);
        if (r < 0)
                return r;
        return make_name(reference);
}

int oci_reference_parse(const char *string, OciReference *ret, Fault *fault) {
        if (string_is_empty(string))
                return fault_set(fault, -EINVAL, "the image's name is empty");
        if (strnlen(string, LIMIT_REFERENCE_LENGTH + 1) > LIMIT_REFERENCE_LENGTH)
                return fault_set(fault, -EINVAL, "the image's name is longer than %i bytes",
                                 LIMIT_REFERENCE_LENGTH);
        for (const char *p = string; *p; p++)
                if (*p <= ' ' || *p > '~')
                        return fault_set(fault, -EINVAL,
                                         "the image's name has a character other than printable ASCII");
        if (strstr(string, "://"))
                return fault_set(fault, -EINVAL, "%s: an image's name has no '://' in it", string);

        _cleanup_(oci_reference_done) OciReference reference = { 0 };
        _cleanup_free_ char *copy = strdup(string);
        if (!copy)
                return -ENOMEM;
        int r = parse_parts(copy, &reference, fault);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return fault_prefix(fault, r, "%s", string);
        if (strlen(reference.name) > LIMIT_REFERENCE_LENGTH)
                return fault_set(fault, -EINVAL, "%s: the image's full name is longer than %i bytes", string,
                                 LIMIT_REFERENCE_LENGTH);
        *ret = TAKE(reference, (OciReference){ 0 });
        return 0;
}

void oci_reference_done(OciReference *reference) {
        if (!reference)
                return;
        free(reference->registry);
        free(reference->repository);
        free(reference->tag);
        free(reference->name);
        *reference = (OciReference){ 0 };
}

bool oci_reference_is_loopback(const OciReference *reference) {
        const char *port;
        struct in_addr ipv4;
        struct in6_addr ipv6;
        _cleanup_free_ char *host = host_copy(reference->registry, &port);
        if (!host)
                return false;
        if (string_equal(host, "localhost"))
                return true;
        if (ipv6_host_to_address(host, &ipv6))
                return IN6_IS_ADDR_LOOPBACK(&ipv6);
        return inet_pton(AF_INET, host, &ipv4) == 1 && ntohl(ipv4.s_addr) >> 24 == 127;
}

const char *oci_reference_api_host(const OciReference *reference) {
        return string_equal(reference->registry, DEFAULT_REGISTRY) ? "registry-1." DEFAULT_REGISTRY
                                                                   : reference->registry;
}

const char *oci_reference_object(const OciReference *reference, char buffer[DIGEST_STRING_MAX]) {
        return reference->has_digest ? digest_to_string(&reference->digest, buffer) : reference->tag;
}
