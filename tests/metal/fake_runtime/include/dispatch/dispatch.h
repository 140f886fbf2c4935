#pragma once

#include <stddef.h>

typedef struct dispatch_queue_s* dispatch_queue_t;
typedef void (^dispatch_block_t)(void);
// An object of the fake runtime: bytes that newLibrary reads.
typedef struct dispatch_data_s* dispatch_data_t;

#define DISPATCH_DATA_DESTRUCTOR_DEFAULT nullptr  // the bytes are copied

extern "C" {
dispatch_data_t dispatch_data_create(const void* bytes, size_t size, dispatch_queue_t queue,
                                     dispatch_block_t destructor);
void dispatch_release(dispatch_data_t data);
}
