/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What crt-imagesd makes of the records of a crt-document that something has taken over. */

#include <string.h>

#include "lib/fd.h"
#include "lib/limits.h"
#include "lib/media-type.h"
#include "lib/oci-annotations.h"
#include "lib/strv.h"
#include "services/images/document.h"
#include "tests/fuzz/fuzz.h"

static void require_text(char *const *strings, size_t limit) {
        FUZZ_REQUIRE(strv_length(strings) <= limit);
        for (; strings && *strings; strings++)
                FUZZ_REQUIRE(string_is_utf8(*strings, strlen(*strings)));
}

static void require_descriptor(const OciDescriptor *descriptor) {
        FUZZ_REQUIRE(media_type_is_valid(descriptor->media_type));
        FUZZ_REQUIRE(descriptor->size <= (uint64_t) INT64_MAX);
        FUZZ_REQUIRE(!descriptor->has_platform ||
                     (descriptor->platform.os && descriptor->platform.architecture));
}

static void require_config(const OciImageConfig *config) {
        char *const names[] = { config->created, config->user, config->working_directory,
                                config->stop_signal };
        for (size_t i = 0; i < ELEMENTS_OF(names); i++)
                FUZZ_REQUIRE(!names[i] || string_is_printable(names[i]));
        FUZZ_REQUIRE(config->platform.os && config->platform.architecture);
        FUZZ_REQUIRE(config->diff_id_count <= LIMIT_MANIFEST_LAYERS);
        require_text(config->environment, LIMIT_CONFIG_STRINGS);
        require_text(config->entrypoint, LIMIT_CONFIG_STRINGS);
        require_text(config->command, LIMIT_CONFIG_STRINGS);
        require_text(config->exposed_ports, LIMIT_ANNOTATIONS);
        require_text(config->volumes, LIMIT_ANNOTATIONS);
        require_text(config->labels, 2 * LIMIT_ANNOTATIONS);
        FUZZ_REQUIRE(strv_length(config->labels) % 2 == 0);
        for (char **variable = config->environment; variable && *variable; variable++)
                FUZZ_REQUIRE(strchr(*variable, '=') > *variable);
        for (char **label = config->labels; label && *label; label += 2)
                FUZZ_REQUIRE(!string_after(*label, OCI_ANNOTATION_RESERVED));
}

static void require_sound(const Document *document) {
        switch (document->kind) {
        case DOCUMENT_INDEX:
                FUZZ_REQUIRE(document->index.media_type);
                FUZZ_REQUIRE(document->index.manifest_count <= LIMIT_INDEX_MANIFESTS);
                for (size_t i = 0; i < document->index.manifest_count; i++)
                        require_descriptor(&document->index.manifests[i]);
                break;
        case DOCUMENT_MANIFEST:
                FUZZ_REQUIRE(document->manifest.media_type);
                FUZZ_REQUIRE(document->manifest.layer_count <= LIMIT_MANIFEST_LAYERS);
                FUZZ_REQUIRE(oci_manifest_layers_size(&document->manifest) <= (uint64_t) INT64_MAX);
                require_descriptor(&document->manifest.config);
                for (size_t i = 0; i < document->manifest.layer_count; i++)
                        require_descriptor(&document->manifest.layers[i]);
                break;
        default:
                require_config(&document->config);
        }
}

static size_t write_all(const Document *document, char **ret) {
        _cleanup_(record_writer_freep) RecordWriter *writer = NULL;
        size_t size;
        FUZZ_REQUIRE(record_writer_new("fuzz", &writer) >= 0);
        FUZZ_REQUIRE(document_write(document, writer) >= 0);
        _cleanup_close_ int fd = record_writer_finish(writer);
        FUZZ_REQUIRE(fd_read_all(fd, SIZE_MAX / 2, ret, &size) >= 0);
        return size;
}

static int read_all(const char *data, size_t size, Document *ret, Fault *fault) {
        RecordFile file = { .data = data, .size = size };
        return document_read(&file, ret, fault);
}

/* Written and read again it is the same. */
int fuzz_parse(const uint8_t *data, size_t size) {
        Fault fault = FAULT_NULL;
        _cleanup_(document_done) Document document = { 0 }, again = { 0 };
        _cleanup_free_ char *first = NULL, *second = NULL;

        int r = read_all((const char *) data, size, &document, &fault);
        if (r >= 0) {
                require_sound(&document);
                size_t length = write_all(&document, &first);
                FUZZ_REQUIRE(read_all(first, length, &again, NULL) >= 0);
                FUZZ_REQUIRE(write_all(&again, &second) == length && memcmp(first, second, length) == 0);
        }
        return fuzz_result(r, &fault);
}
