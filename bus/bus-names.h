/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every bus name, object path and interface of crt. Names are plain, interfaces carry a version. Objects of
 * one kind live at <root>/<kind>/<namespace>/<object>, escaped by sd_bus_path_encode(): bus/object-path.h.
 */

#define CRT_CONTENT_NAME "org.crt.Content"
#define CRT_CONTENT_PATH "/org/crt/Content"
#define CRT_CONTENT_INTERFACE "org.crt.Content1"
#define CRT_INGEST_INTERFACE "org.crt.Content1.Ingest"
#define CRT_LEASE_INTERFACE "org.crt.Content1.Lease"
#define CRT_CONTENT_JOB_INTERFACE "org.crt.Content1.Job"
#define CRT_CONTENT_COLLECTOR_INTERFACE "org.crt.Content1.Collector"

#define CRT_SNAPSHOTS_NAME "org.crt.Snapshots"
#define CRT_SNAPSHOTS_PATH "/org/crt/Snapshots"
#define CRT_SNAPSHOTS_INTERFACE "org.crt.Snapshots1"
#define CRT_SNAPSHOTS_JOB_INTERFACE "org.crt.Snapshots1.Job"
#define CRT_SNAPSHOTS_COLLECTOR_INTERFACE "org.crt.Snapshots1.Collector"

#define CRT_IMAGES_NAME "org.crt.Images"
#define CRT_IMAGES_PATH "/org/crt/Images"
#define CRT_IMAGES_INTERFACE "org.crt.Images1"
#define CRT_IMAGE_INTERFACE "org.crt.Images1.Image"
#define CRT_TRANSFER_INTERFACE "org.crt.Images1.Transfer"

#define CRT_TASKS_NAME "org.crt.Tasks"
#define CRT_TASKS_PATH "/org/crt/Tasks"
#define CRT_TASKS_INTERFACE "org.crt.Tasks1"
#define CRT_CONTAINER_INTERFACE "org.crt.Tasks1.Container"

/* System users (sysusers.d) by which siblings know each other. */
#define CRT_CONTENT_USER "crt-content"
#define CRT_IMAGES_USER "crt-images"

/* The polkit action that is asked in addition whenever a call names a namespace that is not the caller's
 * own. */
#define CRT_ACTION_OTHER_NAMESPACES "org.crt.other-namespaces"
