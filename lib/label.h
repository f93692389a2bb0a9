/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Labels of blobs, leases, snapshots, images and containers: "KEY=value" strings, as bus/options.h reads an
 * a{ss}. Keys that begin with "org.crt." have a meaning, and only these are taken:
 *
 *   org.crt.gc.root                  any value: the collection leaves it, and what it refers to
 *   org.crt.gc.ref.content[.x]       a digest: refers to that blob
 *   org.crt.gc.ref.snapshot[.x]      a key: refers to that snapshot
 *   org.crt.gc.ref.image[.x]         a name: refers to that image
 *   org.crt.gc.expire                RFC 3339: from then on it does not count as a root; a lease ends
 */

#include <stdbool.h>
#include <stdint.h>

#include "lib/fault.h"

#define LABEL_GC_ROOT "org.crt.gc.root"
#define LABEL_GC_REF_CONTENT "org.crt.gc.ref.content"
#define LABEL_GC_REF_SNAPSHOT "org.crt.gc.ref.snapshot"
#define LABEL_GC_REF_IMAGE "org.crt.gc.ref.image"
#define LABEL_GC_EXPIRE "org.crt.gc.expire"

/* 0, -EINVAL or -EDQUOT with a sentence. own: further reserved keys that this kind of thing has, NULL or
 * ending with NULL. An empty value (of a change: the key goes) is always right. */
int label_check(char *const *labels, const char *const *own, Fault *fault);

/* Whether key is name, or name with something after a dot. */
bool label_key_is(const char *key, const char *name);

/* The labels after a change, in the order of their keys: those with an empty value go; with replace, all
 * that are not named go as well. *labels is freed and replaced. -EDQUOT beyond LIMIT_LABELS_PER_OBJECT. */
int label_change(char ***labels, char *const *changes, bool replace, Fault *fault);

/* Nothing comes with it, and nothing gets another value. */
bool label_change_only_takes(char *const *changes);

/* The key as the owners of things tell it in their lists for a collection: of a reference without what is
 * behind the dot. NULL: it means nothing to one. */
const char *label_collected_key(const char *key);

/* The same of a "KEY=value": whether there is one. */
bool label_is_collected(const char *label);

/* A "KEY=value" whose key begins as those that refer to others. */
bool label_refers(const char *label);

/* What has after for labels where it had before may keep something that it did not keep then. */
bool label_keeps_more(char *const *before, char *const *after);

/* RFC 3339, in microseconds since 1970. -EINVAL. */
int label_parse_time(const char *text, uint64_t *ret);
