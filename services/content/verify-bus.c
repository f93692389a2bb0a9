/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Verify of org.crt.Content1: a verification as a job. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bus/authorize.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "bus/quota.h"
#include "lib/limits.h"
#include "lib/strv.h"
#include "services/content/blob-store.h"
#include "services/content/content-calls-bus.h"
#include "services/content/content-namespace.h"
#include "services/content/verification.h"

struct VerifyJob {
        VerifyJob *next;
        ContentBus *content; /* weak */
        uid_t owner;
        Job *job;
        Verification *verification;
};

static void verify_job_release(VerifyJob *work) {
        VerifyJob **place = &work->content->verifications;
        while (*place != work)
                place = &(*place)->next;
        *place = work->next;
        verification_free(work->verification);
        free(work);
}

static void verify_job_end(VerifyJob *work, int r, const Fault *fault) {
        Job *job = work->job;
        verify_job_release(work);
        job_finish(job, r, fault);
}

/* Each has a process that reads the disk. Root's are not held against those of users. */
static int check_share(const ContentBus *content, uid_t owner, sd_bus_error *error) {
        bool limited = quota_uid_is_limited(owner);
        unsigned own = 0, all = 0;
        for (const VerifyJob *work = content->verifications; work; work = work->next) {
                own += work->owner == owner;
                all += quota_uid_is_limited(work->owner) == limited;
        }
        if (limited && own >= LIMIT_VERIFIES_PER_UID)
                return sd_bus_error_setf(error, bus_error_name(-EDQUOT),
                                         "%u verifications run for you already", own);
        return all < LIMIT_VERIFIES ? 0
                                    : sd_bus_error_setf(error, bus_error_name(-EDQUOT),
                                                        "%u verifications run already", all);
}

static void on_progress(uint64_t bytes, void *userdata) {
        job_part_progress(((VerifyJob *) userdata)->job, 0, "verifying", bytes);
}

static void set_count(Job *job, const char *key, uint64_t value) {
        char text[24];
        (void) snprintf(text, sizeof(text), "%" PRIu64, value);
        (void) job_set_result(job, key, text);
}

static void on_ended(int r, const Fault *fault, const VerificationResult *result, void *userdata) {
        VerifyJob *work = userdata;
        set_count(work->job, "blobs", result->blobs);
        set_count(work->job, "bytes", result->bytes);
        set_count(work->job, "damaged", result->damaged);
        set_count(work->job, "missed", result->missed);
        set_count(work->job, "unreadable", result->unreadable);
        (void) job_set_result(work->job, "digests", result->digests ? result->digests : "");
        if (r >= 0)
                job_part_progress(work->job, 0, "done", result->bytes);
        verify_job_end(work, r, fault);
}

static void on_cancel(Job *job, void *userdata) {
        verify_job_end(userdata, -ECANCELED, NULL);
}

/* All or one: how many bytes that is. */
static int find_size(ContentState *state, const char *namespace, const Digest *digest, uint64_t *ret) {
        NamespaceUsage usage;
        Blob blob;
        int r = digest ? blob_find(state, namespace, digest, &blob)
                       : content_namespace_usage(state, namespace, &usage);
        if (r >= 0)
                *ret = digest ? blob.size : usage.bytes;
        return r;
}

static VerifyJob *verify_job_new(ContentBus *content, uid_t owner) {
        VerifyJob *work = new0(VerifyJob, 1);
        if (!work)
                return NULL;
        *work = (VerifyJob){ .next = content->verifications, .content = content, .owner = owner };
        content->verifications = work;
        return work;
}

static int job_begin(ContentBus *content, const JobSpec *about, const Digest *digest, uint64_t size,
                     Job **ret) {
        const JobPart part = {
                .id = digest ? about->object : about->namespace,
                .kind = digest ? "blob" : "namespace",
                .total = size,
        };
        JobSpec spec = *about;
        VerifyJob *work = verify_job_new(content, about->owner);
        if (!work)
                return -ENOMEM;
        spec.userdata = work;
        int r = job_new(content->jobs, &spec, &work->job);
        if (r < 0) {
                verify_job_release(work);
                return r;
        }
        *ret = work->job;
        const VerificationSpec verification = {
                .namespace = about->namespace,
                .digest = digest,
                .progress = on_progress,
                .ended = on_ended,
                .userdata = work,
        };
        r = job_set_parts(work->job, &part, 1);
        if (r >= 0)
                r = verification_new(sd_bus_get_event(content->bus), content->state, &verification,
                                     &work->verification);
        if (r < 0)
                verify_job_end(work, r, NULL);
        else
                job_set_phase(work->job, "verifying");
        return r;
}

static int read_verify(sd_bus_message *message, const char **ret_text, Digest *ret, sd_bus_error *error) {
        int r = sd_bus_message_read(message, "s", ret_text);
        if (r >= 0 && (*ret_text)[0])
                r = content_bus_parse_digest(*ret_text, "digest", ret, error);
        return r < 0 ? r : bus_options_read(message, NULL, 0, NULL, error);
}

int method_verify(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        ContentBus *content = userdata;
        const char *namespace = bus_call_namespace(message), *text;
        const Peer *peer = bus_current_peer(content->bus);
        _cleanup_free_ char *path = NULL;
        uint64_t size;
        Digest digest;

        int r = read_verify(message, &text, &digest, error);
        if (r < 0)
                return r;
        if (!peer)
                return -ENOTCONN;
        const Digest *one = text[0] ? &digest : NULL;
        r = find_size(content->state, namespace, one, &size);
        if (r == -ENOENT)
                return sd_bus_error_setf(error, bus_error_name(r), "the namespace %s has no blob %s",
                                         namespace, text);
        if (r < 0)
                return r;
        Job *job = job_table_find_running(content->jobs, namespace, text);
        const JobSpec spec = {
                .namespace = namespace,
                .verb = "verify",
                .object = text,
                .work = text,
                .owner = peer_uid(peer),
                .quota = QUOTA_JOBS,
                .cancel = on_cancel,
        };
        if (!job) {
                r = check_share(content, spec.owner, error);
                if (r < 0)
                        return r;
                r = job_begin(content, &spec, one, size, &job);
        }
        if (r >= 0)
                r = job_get_path(job, &path);
        if (r == -EDQUOT)
                return sd_bus_error_set(error, bus_error_name(r),
                                        "this user has as many jobs as one may have");
        return r < 0 ? r : sd_bus_reply_method_return(message, "o", path);
}
