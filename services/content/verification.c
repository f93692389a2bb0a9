/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "services/content/verification.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/worker.h"
#include "lib/disk-sample.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "services/content/blob-seal.h"
#include "services/content/blob-store.h"
#include "services/content/verify-protocol.h"

#define DIGESTS_MAX 100

struct Verification {
        sd_event *event;
        ContentState *state; /* weak */
        VerificationSpec spec;
        char *namespace;
        bool one;
        Digest digest;
        char after[DIGEST_STRING_MAX]; /* the last one that was looked at */
        Worker *worker;
        sd_event_source *next;
        Blob blob;        /* in hand */
        struct stat file; /* which file that is */
        bool unsealed;    /* it has no fs-verity, and its owner may write to it so that it gets it */
        BlobSealing sealing;
        bool no_seals; /* the file system does not have it */
        bool told;     /* that one could not be sealed */
        VerificationResult result;
        int error; /* of the first one that was unreadable, and a sentence about it */
        Fault fault;
};

static void add_damaged(Verification *verification, const Digest *digest) {
        VerificationResult *result = &verification->result;
        char text[DIGEST_STRING_MAX], *longer;
        if (result->damaged++ >= DIGESTS_MAX)
                return;
        digest_to_string(digest, text);
        if (asprintf(&longer, "%s%s%s", result->digests ? result->digests : "", result->digests ? " " : "",
                     text) < 0)
                return;
        free(result->digests);
        result->digests = longer;
}

static void verification_end(Verification *verification, int r, Fault *fault) {
        const VerificationSpec *spec = &verification->spec;
        verification->worker = worker_free(verification->worker);
        verification->next = sd_event_source_disable_unref(verification->next);
        spec->ended(r, fault, &verification->result, spec->userdata);
}

/* It was not deleted meanwhile, nor repaired. */
static bool is_the_same_file(const Verification *verification) {
        struct stat st;
        _cleanup_close_ int fd = blob_open_file(verification->state, &verification->blob.digest);
        return fd >= 0 && fstat(fd, &st) >= 0 && st.st_ino == verification->file.st_ino &&
               st.st_dev == verification->file.st_dev;
}

static void add_unreadable(Verification *verification, int error) {
        char text[DIGEST_STRING_MAX];
        verification->result.unreadable++;
        verification->result.missed++;
        if (verification->error < 0)
                return;
        verification->error = error;
        fault_set_errno(&verification->fault, error, "%s can't be read",
                        digest_to_string(&verification->blob.digest, text));
}

/* A disk that fails says nothing of the bytes, which may be there again; fs-verity says that they are others
 * by the same error, and then the disk reads whatever else it is asked for. */
static const char *damage_of(const Verification *verification, const VerifyMessage *message) {
        if (message->error == -EUCLEAN)
                return "its bytes are others";
        return message->error == -EIO && verification->blob.verity && message->disk_reads
                       ? "its file can't be read, though others can"
                       : NULL;
}

static void on_verified(Verification *verification, const VerifyMessage *message) {
        const Digest *digest = &verification->blob.digest;
        VerificationResult *result = &verification->result;
        const char *damage = damage_of(verification, message);
        if (message->error < 0 && !damage) {
                add_unreadable(verification, message->error);
                return;
        }
        if (damage) {
                if (!is_the_same_file(verification)) {
                        result->missed++;
                        return;
                }
                (void) blob_mark_damaged(verification->state, digest, damage);
                add_damaged(verification, digest);
        }
        result->blobs++;
        result->bytes += verification->blob.size;
}

/* What has no fs-verity yet, because the file system had none when it came, gets it; once, if several
 * verifications come to it at the same time. */
static void begin_seal(Verification *verification) {
        const Blob *blob = &verification->blob;
        verification->unsealed =
                !blob->verity && !verification->no_seals &&
                blob_begin_sealing(verification->state, &verification->sealing, &blob->digest) >= 0;
}

static void tell_unsealed(Verification *verification, int error) {
        char text[DIGEST_STRING_MAX];
        if (!verification->told)
                log_warning("%s can't get fs-verity now: %s; the next Verify tries again",
                            digest_to_string(&verification->blob.digest, text), strerror(-error));
        verification->told = true;
}

/* seal: as of blob_seal(), or -ECANCELED. */
static void end_seal(Verification *verification, bool right, int seal) {
        const Digest *digest = &verification->blob.digest;
        if (!verification->unsealed)
                return;
        bool same = is_the_same_file(verification);
        verification->unsealed = false;
        verification->no_seals = seal == 0;
        blob_end_sealing(verification->state, &verification->sealing, same);
        if (seal < 0 && seal != -ECANCELED)
                tell_unsealed(verification, seal);
        if (same && right && seal > 0 && blob_mark_verity(verification->state, digest) < 0)
                log_warning("a blob has fs-verity, but that can't be recorded");
}

static int verification_step(Verification *verification);

static void go_on(Verification *verification) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        int r = verification_step(verification);
        if (r > 0)
                return;
        if (r < 0)
                fault_set_errno(&fault, r, "the blobs can't be verified");
        else if (verification->error < 0) {
                r = verification->error;
                fault_move(&fault, &verification->fault);
        }
        verification_end(verification, r, &fault);
}

static void worker_on_message(Worker *worker, const void *data, size_t size, int *fds, size_t fd_count,
                              void *userdata) {
        Verification *verification = userdata;
        const VerifyMessage *message = data;
        uint64_t before = verification->result.bytes;
        if (size != sizeof(*message))
                return;
        if (message->type == VERIFY_PROGRESS)
                verification->spec.progress(before + message->bytes, verification->spec.userdata);
        if (message->type != VERIFY_VERIFIED)
                return;
        end_seal(verification, message->error >= 0, message->seal);
        on_verified(verification, message);
        verification->spec.progress(verification->result.bytes, verification->spec.userdata);
        go_on(verification);
}

static void worker_on_exit(Worker *worker, const siginfo_t *info, void *userdata) {
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        fault_set(&fault, -EAGAIN, "the worker of this verification died");
        verification_end(userdata, -EAGAIN, &fault);
}

static int take_blob(const Blob *blob, void *userdata) {
        *(Blob *) userdata = *blob;
        return 1;
}

/* 1 and the next blob in hand, 0 if there is none. */
static int next_blob(Verification *verification) {
        Blob *blob = &verification->blob;
        bool begun = verification->after[0];
        int r;
        if (verification->one)
                r = begun ? 0
                          : blob_find(verification->state, verification->namespace, &verification->digest,
                                      blob);
        else
                r = blob_visit(verification->state, verification->namespace, verification->after, take_blob,
                               blob);
        if (verification->one && !begun && r >= 0)
                r = 1;
        if (r > 0)
                digest_to_string(&blob->digest, verification->after);
        return r;
}

static int send_file(Verification *verification, int fd) {
        if (fstat(fd, &verification->file) < 0)
                return -errno;
        begin_seal(verification);
        const VerifyMessage order = {
                .type = VERIFY_FILE,
                .size = verification->blob.size,
                .seal = verification->unsealed,
                .digest = verification->blob.digest,
        };
        return worker_send(verification->worker, &order, sizeof(order), &fd, 1);
}

/* The next one that has to be read: 1 while it is, 0 at the end. */
static int verification_step(Verification *verification) {
        int r;
        while ((r = next_blob(verification)) > 0) {
                Blob blob;
                _cleanup_close_ int fd = blob_open(verification->state, verification->namespace,
                                                   &verification->blob.digest, &blob);
                if (fd >= 0) {
                        r = send_file(verification, fd);
                        return r < 0 ? r : 1;
                }
                if (fd == -EUCLEAN) {
                        add_damaged(verification, &verification->blob.digest);
                        verification->result.blobs++;
                } else if (fd == -ENOENT)
                        verification->result.missed++;
                else
                        add_unreadable(verification, fd);
        }
        return r;
}

/* What the disk can read, if it can read anything (verify-protocol.h). On one that is full there is none. */
static int make_sample(const ContentState *state) {
        int fd = disk_sample_new(state->ingests);
        if (fd >= 0)
                return fd;
        int none = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return none < 0 ? -errno : none;
}

static int start_worker(Verification *verification) {
        _cleanup_close_ int sample = make_sample(verification->state);
        if (sample < 0)
                return sample;
        const WorkerSpec spec = {
                .program = VERIFY_PROGRAM,
                .fds = &sample,
                .fd_count = 1,
                .on_message = worker_on_message,
                .on_exit = worker_on_exit,
                .userdata = verification,
        };
        return worker_new(verification->event, &spec, &verification->worker);
}

static int on_begin(sd_event_source *source, void *userdata) {
        Verification *verification = userdata;
        _cleanup_(fault_done) Fault fault = FAULT_NULL;
        verification->next = sd_event_source_disable_unref(verification->next);
        int r = start_worker(verification);
        if (r >= 0)
                go_on(verification);
        else {
                fault_set_errno(&fault, r, "the worker can't be started");
                verification_end(verification, r, &fault);
        }
        return 0;
}

int verification_new(sd_event *event, ContentState *state, const VerificationSpec *spec,
                     Verification **ret) {
        _cleanup_(verification_freep) Verification *verification = new0(Verification, 1);
        if (!verification)
                return -ENOMEM;
        verification->event = sd_event_ref(event);
        verification->state = state;
        verification->spec = *spec;
        verification->namespace = strdup(spec->namespace);
        if (!verification->namespace)
                return -ENOMEM;
        verification->one = spec->digest != NULL;
        if (spec->digest)
                verification->digest = *spec->digest;
        int r = sd_event_add_defer(event, &verification->next, on_begin, verification);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(verification);
        return 0;
}

Verification *verification_free(Verification *verification) {
        if (!verification)
                return NULL;
        worker_free(verification->worker);
        end_seal(verification, /* right= */ false, -ECANCELED);
        sd_event_source_disable_unref(verification->next);
        sd_event_unref(verification->event);
        free(verification->result.digests);
        fault_done(&verification->fault);
        free(verification->namespace);
        free(verification);
        return NULL;
}
