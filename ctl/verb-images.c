/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus-names.h"
#include "ctl/bus-json.h"
#include "ctl/pager.h"
#include "ctl/table.h"
#include "ctl/verb.h"
#include "lib/identifier.h"
#include "lib/strv.h"

/* ---- images ---- */

typedef struct ImagesOptions {
        bool quiet, full;
        char **filters;
} ImagesOptions;

typedef struct ImageRow {
        const char *name, *digest, *config_digest, *chain_id, *platform, *media_type;
        uint64_t size, created, pulled;
} ImageRow;

static const BusField image_fields[] = {
        { "Name", "s", offsetof(ImageRow, name) },
        { "Digest", "s", offsetof(ImageRow, digest) },
        { "ConfigDigest", "s", offsetof(ImageRow, config_digest) },
        { "ChainId", "s", offsetof(ImageRow, chain_id) },
        { "Platform", "s", offsetof(ImageRow, platform) },
        { "MediaType", "s", offsetof(ImageRow, media_type) },
        { "Size", "t", offsetof(ImageRow, size) },
        { "Created", "t", offsetof(ImageRow, created) },
        { "Pulled", "t", offsetof(ImageRow, pulled) },
        {},
};

enum {
        IMAGE_NAME,
        IMAGE_DIGEST,
        IMAGE_PLATFORM,
        IMAGE_SIZE,
        IMAGE_CREATED,
        IMAGE_PULLED,
        IMAGE_CONFIG_DIGEST,
        IMAGE_CHAIN_ID,
        IMAGE_MEDIA_TYPE,
        _IMAGE_COLUMN_MAX,
};

static const Column image_columns[_IMAGE_COLUMN_MAX] = {
        [IMAGE_NAME] = { "NAME", "name", CELL_STRING, .elastic = true },
        [IMAGE_DIGEST] = { "DIGEST", "digest", CELL_DIGEST },
        [IMAGE_PLATFORM] = { "PLATFORM", "platform", CELL_STRING, .elastic = true },
        [IMAGE_SIZE] = { "SIZE", "size", CELL_SIZE },
        [IMAGE_CREATED] = { "CREATED", "created", CELL_TIME },
        [IMAGE_PULLED] = { "PULLED", "pulled", CELL_TIME },
        [IMAGE_CONFIG_DIGEST] = { NULL, "config-digest", CELL_DIGEST },
        [IMAGE_CHAIN_ID] = { NULL, "chain-id", CELL_DIGEST },
        [IMAGE_MEDIA_TYPE] = { NULL, "media-type", CELL_STRING },
};

typedef struct ImagesList {
        const ImagesOptions *options;
        Table *table;
} ImagesList;

static int images_add(Table *table, const ImageRow *row) {
        const struct {
                size_t column;
                const char *value;
        } strings[] = {
                { IMAGE_NAME, row->name },         { IMAGE_DIGEST, row->digest },
                { IMAGE_PLATFORM, row->platform }, { IMAGE_CONFIG_DIGEST, row->config_digest },
                { IMAGE_CHAIN_ID, row->chain_id }, { IMAGE_MEDIA_TYPE, row->media_type },
        };
        int r = table_add_row(table);
        for (size_t i = 0; r >= 0 && i < ELEMENTS_OF(strings); i++)
                r = table_set_string(table, strings[i].column, strings[i].value);
        if (r < 0)
                return r;
        table_set_number(table, IMAGE_SIZE, row->size);
        table_set_number(table, IMAGE_CREATED, row->created);
        return table_set_number(table, IMAGE_PULLED, row->pulled);
}

static int images_on_item(sd_bus_message *message, void *userdata) {
        ImagesList *list = userdata;
        ImageRow row = { .name = "" };
        int r = bus_fields_read(message, image_fields, &row);
        if (r < 0)
                return r;
        if (!list->options->quiet)
                return images_add(list->table, &row);
        puts(row.name);
        return 0;
}

static int run_images(Context *context, void *userdata, char **operands, Fault *fault) {
        const ImagesOptions *options = userdata;
        _cleanup_(table_freep) Table *table = NULL;

        int r = table_new(image_columns, ELEMENTS_OF(image_columns), &table);
        if (r < 0)
                return r;
        ImagesList list = { options, table };
        const ClientList call = {
                .target = &target_images,
                .filters = options->filters,
                .on_item = images_on_item,
                .userdata = &list,
        };
        r = client_list(&context->client, &call, fault);
        if (r < 0 || options->quiet)
                return r;
        return table_show(table, context, options->full, fault);
}

static const Argument images_arguments[] = {
        { "quiet", 'q', NULL, "Only names", offsetof(ImagesOptions, quiet) },
        { "full", 'l', NULL, "Shorten nothing", offsetof(ImagesOptions, full) },
        { "filter", 'f', "FILTER", "Only what fits: name~=debian,labels.tier==base; of several one must",
          offsetof(ImagesOptions, filters), argument_list },
        {},
};

const Verb verb_images = {
        .name = "images",
        .help = "List images",
        .arguments = images_arguments,
        .options_size = sizeof(ImagesOptions),
        .run = run_images,
};

/* ---- tag ---- */

typedef struct TagOptions {
        bool replace;
} TagOptions;

static int run_tag(Context *context, void *userdata, char **operands, Fault *fault) {
        const TagOptions *options = userdata;
        _cleanup_message_ sd_bus_message *message = NULL, *reply = NULL;
        Client *client = &context->client;

        int r = client_new_call(client, &target_images, "Tag", &message, fault);
        if (r < 0)
                return r;
        r = sd_bus_message_append(message, "ss", operands[1], operands[0]);
        if (r >= 0)
                r = client_open_options(client, message);
        if (r >= 0 && options->replace)
                r = sd_bus_message_append(message, "{sv}", "replace", "b", true);
        if (r >= 0)
                r = client_close_options(message);
        if (r < 0)
                return fault_set_errno(fault, r, "'%s' and '%s' cannot be sent", operands[0], operands[1]);
        return client_call(client, message, &reply, fault);
}

static const Argument tag_arguments[] = {
        { "replace", 'r', NULL, "Also if an image has that name already", offsetof(TagOptions, replace) },
        {},
};

const Verb verb_tag = {
        .name = "tag",
        .operands = "IMAGE NAME",
        .help = "Give an image another name",
        .arguments = tag_arguments,
        .options_size = sizeof(TagOptions),
        .operands_min = 2,
        .operands_max = 2,
        .run = run_tag,
};

/* ---- rmi ---- */

static int rmi_one(Context *context, void *userdata, const char *name, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r = client_invoke(&context->client, &target_images, "Remove", name, &reply, fault);
        return r < 0 ? fault_prefix(fault, r, "%s", name) : 0;
}

static int run_rmi(Context *context, void *options, char **operands, Fault *fault) {
        return verb_for_each(context, options, operands, rmi_one);
}

const Verb verb_rmi = {
        .name = "rmi",
        .operands = "IMAGE…",
        .help = "Remove images",
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_rmi,
};

/* ---- inspect ---- */

typedef struct InspectOptions {
        const char *type;
} InspectOptions;

static int write_properties(Context *context, JsonWriter *writer, const BusTarget *target, Fault *fault) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r = client_get_properties(&context->client, target, &reply, fault);
        return r < 0 ? r : bus_json_write_entries(writer, reply);
}

static int inspect_container(Context *context, JsonWriter *writer, const char *id, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        int r = client_get_object(&context->client, &target_tasks, "Get", id, &path, fault);
        if (r < 0)
                return r;
        const BusTarget container = { CRT_TASKS_NAME, path, CRT_CONTAINER_INTERFACE };
        json_writer_begin(writer, '{');
        r = write_properties(context, writer, &container, fault);
        json_writer_end(writer, '}');
        return r;
}

/* Its properties, and under "Config" what Resolve() says; that one has no answer for an image that was not
 * unpacked. */
static int inspect_image(Context *context, JsonWriter *writer, const char *name, Fault *fault) {
        _cleanup_free_ char *path = NULL;
        _cleanup_message_ sd_bus_message *reply = NULL;

        int r = client_get_object(&context->client, &target_images, "Get", name, &path, fault);
        if (r < 0)
                return r;
        const BusTarget image = { CRT_IMAGES_NAME, path, CRT_IMAGE_INTERFACE };
        json_writer_begin(writer, '{');
        r = write_properties(context, writer, &image, fault);
        if (r >= 0 && client_invoke(&context->client, &target_images, "Resolve", name, &reply, NULL) >= 0) {
                json_writer_key(writer, "Config");
                json_writer_begin(writer, '{');
                r = bus_json_write_entries(writer, reply);
                json_writer_end(writer, '}');
        }
        json_writer_end(writer, '}');
        return r;
}

static int inspect_one(Context *context, JsonWriter *writer, const char *type, const char *name,
                       Fault *fault) {
        if (string_equal(type, "container"))
                return inspect_container(context, writer, name, fault);
        if (!string_equal(type, "image") && identifier_is_valid(name)) {
                _cleanup_(fault_done) Fault first = FAULT_NULL;
                int r = inspect_container(context, writer, name, &first);
                if (r >= 0)
                        return 0;
                if (r != -ENOENT) {
                        fault_move(fault, &first);
                        return r;
                }
                r = inspect_image(context, writer, name, fault);
                if (r == -ENOENT) {
                        fault_done(fault);
                        return fault_set(fault, r, "neither a container nor an image of this name is here");
                }
                return r;
        }
        return inspect_image(context, writer, name, fault);
}

static int run_inspect(Context *context, void *userdata, char **operands, Fault *fault) {
        const InspectOptions *options = userdata;
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r = 0;

        if (options->type && !string_equal(options->type, "image") &&
            !string_equal(options->type, "container"))
                return fault_set(fault, -EINVAL, "--type=%s: image or container is expected", options->type);
        FILE *file = open_memstream(&text, &size);
        if (!file)
                return -ENOMEM;
        JsonWriter writer = JSON_WRITER_INIT(file, context->output != OUTPUT_JSON_SHORT);
        json_writer_begin(&writer, '[');
        for (char **name = operands; r >= 0 && *name; name++) {
                r = inspect_one(context, &writer, options->type, *name, fault);
                if (r < 0)
                        fault_prefix(fault, r, "%s", *name);
        }
        json_writer_end(&writer, ']');
        if (fclose(file) != 0 && r >= 0)
                r = -ENOMEM;
        return r < 0 ? r : pager_show(context, text, size, fault);
}

static const Argument inspect_arguments[] = {
        { "type", 0, "TYPE", "image or container, where a name could be both",
          offsetof(InspectOptions, type) },
        {},
};

const Verb verb_inspect = {
        .name = "inspect",
        .operands = "CONTAINER|IMAGE…",
        .help = "Show all that is known about containers or images, as JSON",
        .arguments = inspect_arguments,
        .options_size = sizeof(InspectOptions),
        .operands_min = 1,
        .operands_max = OPERANDS_ANY,
        .run = run_inspect,
};
