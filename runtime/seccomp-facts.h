/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the libseccomp that is linked can do. */

#include <stdbool.h>
#include <stddef.h>

/* "SCMP_ARCH_X86_64" */
bool seccomp_facts_has_architecture(const char *word);
/* "2.5.4" */
void seccomp_facts_version(char *text, size_t size);
