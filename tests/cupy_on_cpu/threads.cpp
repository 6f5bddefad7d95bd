// The threads of a block on one processor: each is a fiber with a stack of its own, and runs until
// it waits. A barrier opens when everybody it names has arrived; when nobody can go on any more, the
// kernel has a barrier that some threads never reach, and that is said.
#include "device.h"

#include <vector_types.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

extern "C" {
int device_thread, device_threads;
bool device_backwards;  // threads and blocks run in reverse order: a missing barrier shows
alignas(128) unsigned char device_shared[256 * 1024];  // `extern __shared__`
unsigned char device_exchange[1024 * 16];              // one slot per thread, for shuffles
}

namespace {

enum State { READY, WAITS_FOR_WARP, WAITS_FOR_BLOCK, LEFT };
const size_t STACK = 128 * 1024;

struct Fiber {
#if defined(__x86_64__)
    void* stack_pointer;
#else
    ucontext_t context;
#endif
    State state;
    unsigned mask;
    uint3 index;
};

std::string error;
std::vector<Fiber> fibers;
char* stacks;
Fiber scheduler;
void (*the_body)(void*);
void* the_argument;

#if defined(__x86_64__)
// Saves what the calling convention asks for, and goes on where the other fiber stopped. swapcontext
// does the same with two system calls more.
extern "C" void device_switch(void** from, void* to);
__asm__(
    ".text\n.globl device_switch\n.type device_switch,@function\ndevice_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
    ".size device_switch,.-device_switch\n");
void go(Fiber& from, Fiber& to) { device_switch(&from.stack_pointer, to.stack_pointer); }
#else
void go(Fiber& from, Fiber& to) { swapcontext(&from.context, &to.context); }
#endif

void entry() {
    the_body(the_argument);
    fibers[device_thread].state = LEFT;
    go(fibers[device_thread], scheduler);
    abort();  // nobody continues a thread that has left
}

void start(Fiber& fiber, char* stack) {
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(stack + STACK);
    *--top = nullptr;                           // keeps the stack aligned as after a call
    *--top = reinterpret_cast<void*>(&entry);   // where the first switch returns to
    for (int i = 0; i < 6; i++) *--top = nullptr;  // the six saved registers
    fiber.stack_pointer = top;
#else
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, entry, 0);
#endif
    fiber.state = READY;
}

void wait(State state, unsigned mask) {
    Fiber& me = fibers[device_thread];
    me.state = state;
    me.mask = mask;
    go(me, scheduler);
}

// Whether all that the first waiting lane of this warp names have arrived; then they go on.
bool open_warp(int first) {
    bool opened = false;
    for (int lane = first; lane < first + 32 && lane < device_threads; lane++) {
        if (fibers[lane].state != WAITS_FOR_WARP) continue;
        unsigned mask = fibers[lane].mask;
        bool arrived = true;
        for (int i = first; i < first + 32 && i < device_threads; i++) {
            if (!(mask >> (i - first) & 1)) continue;
            if (fibers[i].state == LEFT)
                device_fail("a shuffle or a warp barrier names a thread that has returned");
            arrived &= fibers[i].state == LEFT ||
                       (fibers[i].state == WAITS_FOR_WARP && fibers[i].mask == mask);
        }
        if (!arrived) continue;
        for (int i = first; i < first + 32 && i < device_threads; i++)
            if ((mask >> (i - first) & 1) && fibers[i].state == WAITS_FOR_WARP)
                fibers[i].state = READY, opened = true;
    }
    return opened;
}

bool open_block() {
    int waiting = 0, left = 0;
    for (int i = 0; i < device_threads; i++) {
        waiting += fibers[i].state == WAITS_FOR_BLOCK;
        left += fibers[i].state == LEFT;
    }
    if (!waiting || waiting + left < device_threads) return false;
    for (int i = 0; i < device_threads; i++)
        if (fibers[i].state == WAITS_FOR_BLOCK) fibers[i].state = READY;
    return true;
}

uint3 index_of(int i) {
    int x = blockDim.x, y = blockDim.y;
    return {unsigned(i % x), unsigned(i / x % y), unsigned(i / (x * y))};
}

// A warp goes as far as it can before the next one begins: forwards and backwards, that is what
// shows a missing barrier of the block.
void run_warp(int first) {
    int lanes = device_threads - first < 32 ? device_threads - first : 32;
    do {
        for (int turn = 0; turn < lanes; turn++) {
            int i = first + (device_backwards ? lanes - 1 - turn : turn);
            if (fibers[i].state != READY) continue;
            device_thread = i;
            threadIdx = fibers[i].index;
            go(scheduler, fibers[i]);
        }
    } while (open_warp(first));
}

void run_together() {
    if (!stacks) stacks = static_cast<char*>(malloc(STACK * 1024));
    fibers.resize(device_threads);
    for (int i = 0; i < device_threads; i++) {
        start(fibers[i], stacks + STACK * i);
        fibers[i].index = index_of(i);
    }
    int warps = (device_threads + 31) / 32;
    do {
        for (int turn = 0; turn < warps; turn++)
            run_warp(32 * (device_backwards ? warps - 1 - turn : turn));
    } while (open_block());
    for (int i = 0; i < device_threads; i++)
        if (fibers[i].state != LEFT)
            return device_fail("threads wait at a barrier that others never reach");
}

void run_one_by_one() {
    for (int turn = 0; turn < device_threads; turn++) {
        device_thread = device_backwards ? device_threads - 1 - turn : turn;
        threadIdx = index_of(device_thread);
        the_body(the_argument);
    }
}

}  // namespace

extern "C" {

void device_run(void (*body)(void*), void* argument, const unsigned* launch, bool together) {
    gridDim = dim3(launch[0], launch[1], launch[2]);
    blockDim = dim3(launch[3], launch[4], launch[5]);
    device_threads = launch[3] * launch[4] * launch[5];
    the_body = body, the_argument = argument;
    long blocks = long(launch[0]) * launch[1] * launch[2];
    for (long turn = 0; turn < blocks && error.empty(); turn++) {
        long i = device_backwards ? blocks - 1 - turn : turn;
        blockIdx.x = i % launch[0];
        blockIdx.y = i / launch[0] % launch[1];
        blockIdx.z = i / launch[0] / launch[1];
        together ? run_together() : run_one_by_one();
    }
}

void device_wait_for_warp(unsigned mask) { wait(WAITS_FOR_WARP, mask); }
void device_wait_for_block() { wait(WAITS_FOR_BLOCK, 0); }

void device_fail(const char* sentence) {
    if (error.empty()) error = sentence;
}

const char* device_take_error() {
    static std::string taken;
    taken.swap(error);
    error.clear();
    return taken.empty() ? nullptr : taken.c_str();
}
}
