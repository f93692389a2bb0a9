/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "runtime/seccomp-facts.h"

#include <seccomp.h>
#include <stdio.h>

#include "lib/strv.h"

bool seccomp_facts_has_architecture(const char *word) {
        char name[32] = "";
        const char *rest = string_after(word, "SCMP_ARCH_");
        for (size_t i = 0; rest && rest[i] && i + 1 < sizeof(name); i++)
                name[i] = (char) (rest[i] >= 'A' && rest[i] <= 'Z' ? rest[i] - 'A' + 'a' : rest[i]);
        return seccomp_arch_resolve_name(name) != 0;
}

void seccomp_facts_version(char *text, size_t size) {
        const struct scmp_version *version = seccomp_version();
        (void) snprintf(text, size, "%u.%u.%u", version->major, version->minor, version->micro);
}
