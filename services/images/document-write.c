/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdlib.h>

#include "lib/digest.h"
#include "services/images/document.h"

static int write_descriptor(RecordWriter *writer, const char *name, const OciDescriptor *descriptor) {
        char digest[DIGEST_STRING_MAX];
        digest_to_string(&descriptor->digest, digest);
        if (!descriptor->has_platform)
                return record_writer_add(writer, "sssu", name, descriptor->media_type, digest,
                                         descriptor->size);
        const OciPlatform *platform = &descriptor->platform;
        return record_writer_add(writer, "sssussss", name, descriptor->media_type, digest, descriptor->size,
                                 platform->os, platform->architecture, platform->variant,
                                 platform->os_version);
}

static int write_index(RecordWriter *writer, const OciIndex *index, uint64_t *count) {
        int r = record_writer_add(writer, "ss", "index", index->media_type);
        for (size_t i = 0; r >= 0 && i < index->manifest_count; i++)
                r = write_descriptor(writer, "entry", &index->manifests[i]);
        *count = 1 + index->manifest_count;
        return r;
}

static int write_manifest(RecordWriter *writer, const OciManifest *manifest, uint64_t *count) {
        int r = record_writer_add(writer, "ss", "manifest", manifest->media_type);
        if (r >= 0)
                r = write_descriptor(writer, "config", &manifest->config);
        for (size_t i = 0; r >= 0 && i < manifest->layer_count; i++)
                r = write_descriptor(writer, "layer", &manifest->layers[i]);
        *count = 2 + manifest->layer_count;
        return r;
}

static int write_strings(RecordWriter *writer, const char *name, char *const *strings, uint64_t *count) {
        int r = 0;
        for (; r >= 0 && strings && *strings; strings++, (*count)++)
                r = record_writer_add(writer, "st", name, *strings);
        return r;
}

static int write_labels(RecordWriter *writer, char *const *labels, uint64_t *count) {
        int r = 0;
        for (; r >= 0 && labels && labels[0]; labels += 2, (*count)++)
                r = record_writer_add(writer, "stt", "label", labels[0], labels[1]);
        return r;
}

static int write_config(RecordWriter *writer, const OciImageConfig *config, uint64_t *count) {
        const OciPlatform *platform = &config->platform;
        char digest[DIGEST_STRING_MAX];

        int r = record_writer_add(writer, "ssssstttt", "image", platform->os, platform->architecture,
                                  platform->variant, platform->os_version, config->created, config->user,
                                  config->working_directory, config->stop_signal);
        for (size_t i = 0; r >= 0 && i < config->diff_id_count; i++)
                r = record_writer_add(writer, "ss", "diff", digest_to_string(&config->diff_ids[i], digest));
        *count = 1 + config->diff_id_count;
        if (r >= 0)
                r = write_strings(writer, "env", config->environment, count);
        if (r >= 0)
                r = write_strings(writer, "entrypoint", config->entrypoint, count);
        if (r >= 0)
                r = write_strings(writer, "cmd", config->command, count);
        if (r >= 0)
                r = write_strings(writer, "port", config->exposed_ports, count);
        if (r >= 0)
                r = write_strings(writer, "volume", config->volumes, count);
        return r < 0 ? r : write_labels(writer, config->labels, count);
}

int document_write(const Document *document, RecordWriter *writer) {
        uint64_t count = 0;
        int r = document->kind == DOCUMENT_INDEX      ? write_index(writer, &document->index, &count)
                : document->kind == DOCUMENT_MANIFEST ? write_manifest(writer, &document->manifest, &count)
                                                      : write_config(writer, &document->config, &count);
        return r < 0 ? r : record_writer_add(writer, "su", "end", count);
}
