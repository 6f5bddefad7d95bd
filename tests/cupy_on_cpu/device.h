// What the parts of the emulated GPU share: the runtime, the threads of a block, the stand-ins for
// NVIDIA's libraries, and the kernels, which are compiled one by one against this file.
#pragma once
#include <cstddef>

extern "C" {
// Does the work now, or records it (with a copy of its data) where the stream is being captured.
// The answer is a CUDA error code, 0 for success.
int device_enqueue(void* stream, void (*work)(void*), const void* data, size_t bytes);

// Runs `body(argument)` once for every thread of every block. `together`: its threads wait for one
// another, so each needs a stack of its own. What goes wrong is kept for device_take_error().
void device_run(void (*body)(void*), void* argument, const unsigned* launch, bool together);

// Called by a thread: waits for the threads of its warp that `mask` names, or for its whole block.
void device_wait_for_warp(unsigned mask);
void device_wait_for_block();
// The number of the running thread in its block, and how many there are.
extern int device_thread, device_threads;
void device_fail(const char* sentence);
const char* device_take_error();
}
