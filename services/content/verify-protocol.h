/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What contentd and crt-verify say to each other: one struct, of which each message uses a part.
 *
 * Descriptors of crt-verify: 3 this socket; 4 a file of the same disk that was written just now, empty if
 * there is no room for one: fs-verity and a disk that fails give the same error, and so it is seen whether
 * the disk can read anything else.
 *
 *   contentd                       crt-verify
 *   VERIFY + file ---------------->            digest, size, seal: it is to have fs-verity before it is read
 *          <----------------------- PROGRESS   bytes of this file
 *          <----------------------- VERIFIED   error: 0, -EUCLEAN other bytes, or why they can't be
 *                                              read, now and once more; disk_reads: other things can be;
 *                                              seal: what came of that, as of blob_seal()
 *
 * And so on; the end of the socket is the end. */

#include <stdint.h>

#include "lib/digest.h"

#define VERIFY_PROGRAM "crt-verify"
#define VERIFY_FD_CONTROL 3
#define VERIFY_FD_SAMPLE 4

typedef enum VerifyMessageType {
        VERIFY_FILE,
        VERIFY_PROGRESS,
        VERIFY_VERIFIED,
} VerifyMessageType;

typedef struct VerifyMessage {
        uint32_t type;
        int32_t error;
        uint64_t bytes;
        uint64_t size;
        int32_t seal;
        uint32_t disk_reads;
        Digest digest;
} VerifyMessage;
