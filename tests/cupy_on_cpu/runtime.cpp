// CUDA's runtime and driver on host memory, with the signatures by which CuPy's modules call them:
// a function `runtime_malloc` takes the place of `cupy_backends.cuda.api.runtime.malloc`. Work is
// done at once, unless its stream is being captured. CuPy holds Python's lock around every call.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <time.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "device.h"

typedef intptr_t Address;
extern "C" bool device_backwards;

// What a test may ask. Bytes are those asked of the runtime; without CuPy's pool, those of arrays.
extern "C" {
struct {
    long launches, replayed_launches, libraries, uploads, downloads, copies, waits, allocations;
    long uploaded_bytes, downloaded_bytes, bytes, peak_bytes, overruns;
} device_counts;
int device_count = 1;
long device_memory = 80L << 30;
PyObject* device_error_class;
}

namespace {

enum Status {
    INVALID_VALUE = 1, MEMORY_ALLOCATION = 2, INVALID_DEVICE = 101, INVALID_HANDLE = 400,
    CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_IMPLICIT = 906,
    CAPTURED_EVENT = 907,
};

PyObject* done() { Py_RETURN_NONE; }

// CuPy's own CUDARuntimeError, with CUDA's name and sentence of the code.
PyObject* raise(int status) {
    PyObject* error = PyObject_CallFunction(device_error_class, "i", status);
    if (error) PyErr_SetObject(device_error_class, error);
    Py_XDECREF(error);
    return nullptr;
}
PyObject* result(int status) { return status ? raise(status) : done(); }

PyObject* result_of_kernel(int status) {
    if (status) return raise(status);
    if (const char* sentence = device_take_error()) {
        PyErr_Format(PyExc_RuntimeError, "[cupy_on_cpu] in a kernel: %s", sentence);
        return nullptr;
    }
    return done();
}

// ------------------------------------------------------------- memory

const size_t GUARD = 64;  // bytes behind every block that nobody may write
const int FRESH = 0xA5, FREED = 0xDD, WALL = 0x5C;

struct Block { size_t size; int device; };
std::map<Address, Block> blocks;
std::set<Address> pinned;
thread_local int current_device;

// The block that an address lies in.
std::map<Address, Block>::iterator block_of(Address p) {
    auto next = blocks.upper_bound(p);
    if (next == blocks.begin()) return blocks.end();
    --next;
    return p < next->first + Address(next->second.size) ? next : blocks.end();
}
bool is_pinned(Address p) {
    auto next = pinned.upper_bound(p);
    return next != pinned.begin();  // the tool makes few: any block below will do
}

Address allocate(size_t size) {
    auto& counts = device_counts;
    void* p = nullptr;
    if (long(size) > device_memory - counts.bytes || posix_memalign(&p, 512, size + GUARD))
        return raise(MEMORY_ALLOCATION), 0;
    memset(p, FRESH, size);
    memset(static_cast<char*>(p) + size, WALL, GUARD);
    blocks[Address(p)] = {size, current_device};
    counts.allocations++;
    counts.bytes += size;
    if (counts.bytes > counts.peak_bytes) counts.peak_bytes = counts.bytes;
    return Address(p);
}
PyObject* release(Address p) {
    auto found = blocks.find(p);
    if (found == blocks.end()) return p ? raise(INVALID_VALUE) : done();
    size_t size = found->second.size;
    char* data = reinterpret_cast<char*>(p);
    for (size_t i = 0; i < GUARD; i++)
        if (data[size + i] != WALL) {
            device_counts.overruns++;
            break;
        }
    memset(data, FREED, size);
    device_counts.bytes -= size;
    blocks.erase(found);
    free(data);
    return done();
}

// ------------------------------------------------------------- streams and what they capture

struct Work { std::function<void()> run; bool launch; };
struct Graph { std::vector<Work> works; bool broken; };
struct Stream { bool blocking; int priority; Graph* capture; };
struct Event { Graph* capture; double milliseconds; };
std::set<Stream*> streams;

Stream* stream_of(Address s) {  // 0, 1 and 2 are CUDA's default streams
    auto found = streams.find(reinterpret_cast<Stream*>(s));
    return found == streams.end() ? nullptr : *found;
}
Graph* capture_of(Address s) { return stream_of(s) ? stream_of(s)->capture : nullptr; }

// For calls that no capture allows: it is broken from here on, as on a GPU.
int refused_by_captures(bool blocking_only = false) {
    bool any = false;
    for (Stream* s : streams)
        if (s->capture && (s->blocking || !blocking_only)) s->capture->broken = any = true;
    return any ? CAPTURE_UNSUPPORTED : 0;
}

int enqueue(Address stream, bool launch, std::function<void()> run) {
    if (Graph* graph = capture_of(stream)) {
        graph->works.push_back({std::move(run), launch});
        return 0;
    }
    if (!stream_of(stream) && refused_by_captures(true)) return CAPTURE_IMPLICIT;
    run();
    return 0;
}

int waits(Graph* capture) {
    if (capture) return capture->broken = true, CAPTURE_UNSUPPORTED;
    device_counts.waits++;
    return 0;
}

enum Kind { UPLOAD = 1, DOWNLOAD = 2 };
void count_copy(int kind, size_t size) {
    auto& counts = device_counts;
    if (kind == UPLOAD) counts.uploads++, counts.uploaded_bytes += size;
    else if (kind == DOWNLOAD) counts.downloads++, counts.downloaded_bytes += size;
    else counts.copies++;
}
int copy(Address to, Address from, size_t size, int kind, Address stream, bool waiting) {
    if (waiting) {
        if (int status = refused_by_captures()) return status;
        if (kind == DOWNLOAD) device_counts.waits++;
    } else if (Graph* graph = capture_of(stream)) {
        // Pageable memory of the host may be gone when the graph runs.
        bool pageable = (kind == UPLOAD && !is_pinned(from)) || (kind == DOWNLOAD && !is_pinned(to));
        if (pageable) return graph->broken = true, CAPTURE_UNSUPPORTED;
    }
    count_copy(kind, size);
    return enqueue(stream, false, [=] {
        memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), size);
    });
}
int fill(Address p, int value, size_t size, Address stream) {
    return enqueue(stream, false, [=] { memset(reinterpret_cast<void*>(p), value, size); });
}

// ------------------------------------------------------------- kernels

struct Kernel {
    void (*launch)(void** arguments, const unsigned* grid_and_block);
    void (*copy)(void** from, void** to);
    int most_shared;  // dynamic bytes per block; more than 48 KB have to be asked for
};
const int SHARED = 48 * 1024, SHARED_AT_MOST = 227 * 1024;

int launch(Address f, const unsigned* size, unsigned shared, Address stream, void** arguments) {
    auto* kernel = reinterpret_cast<Kernel*>(f);
    unsigned threads = size[3] * size[4] * size[5];
    bool possible = size[0] && size[1] && size[2] && threads && threads <= 1024 && size[5] <= 64 &&
                    size[0] <= 0x7fffffff && size[1] <= 65535 && size[2] <= 65535;
    if (!possible || int(shared) > kernel->most_shared) return INVALID_VALUE;
    if (!capture_of(stream)) {
        device_counts.launches++;
        return enqueue(stream, true, [=] { kernel->launch(arguments, size); });
    }
    std::vector<void*> kept(64);  // CuPy's arguments are gone when the graph runs
    kernel->copy(arguments, kept.data());
    std::vector<unsigned> sizes(size, size + 6);
    return enqueue(stream, true, [=] {
        kernel->launch(const_cast<void**>(kept.data()), sizes.data());
    });
}

double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}

}  // namespace

extern "C" {

int device_enqueue(void* stream, void (*work)(void*), const void* data, size_t bytes) {
    std::string kept(static_cast<const char*>(data), bytes);
    device_counts.libraries++;
    return enqueue(Address(stream), false, [=] { work(const_cast<char*>(kept.data())); });
}

// The last argument of every function, `int`, is Cython's own and without meaning here.

// ------------------------------------------------------------- devices

PyObject* runtime__ensure_context() { return done(); }
int runtime_getDeviceCount(int) { return device_count; }
int runtime_getDevice(int) { return current_device; }
PyObject* runtime_setDevice(int device, int) {
    if (device < 0 || device >= device_count) return raise(INVALID_DEVICE);
    current_device = device;
    return done();
}
PyObject* runtime_deviceSynchronize(int) {
    int status = refused_by_captures();
    return result(status ? status : waits(nullptr));
}
int runtime_runtimeGetVersion(int) { return 13000; }
int runtime_driverGetVersion(int) { return 13000; }
int runtime_deviceCanAccessPeer(int, int, int) { return 0; }
int runtime_deviceGetAttribute(int attribute, int device, int) {
    if (device < 0 || device >= device_count) return raise(INVALID_DEVICE), -1;
    static const std::map<int, int> h100 = {
        {1, 1024},      // threads per block
        {8, SHARED},    // shared memory per block
        {10, 32},       // threads of a warp
        {12, 65536},    // registers per block
        {16, 132},      // multiprocessors
        {39, 2048},     // threads per multiprocessor
        {75, 9},        // compute capability 9.0
        {76, 0},
        {81, 233472},   // shared memory per multiprocessor
        {97, SHARED_AT_MOST},
    };
    auto found = h100.find(attribute);
    return found == h100.end() ? 1 : found->second;
}
PyObject* runtime_getDeviceProperties(int device, int) {
    if (device < 0 || device >= device_count) return raise(INVALID_DEVICE);
    return Py_BuildValue(
        "{s:y,s:L,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:(iii),s:(iii)}",
        "name", "CuPy on the CPU", "totalGlobalMem", (long long)device_memory,
        "warpSize", 32, "multiProcessorCount", 132, "major", 9, "minor", 0,
        "maxThreadsPerBlock", 1024, "sharedMemPerBlock", SHARED,
        "sharedMemPerBlockOptin", SHARED_AT_MOST, "regsPerBlock", 65536,
        "l2CacheSize", 50 << 20, "maxThreadsPerMultiProcessor", 2048,
        "maxGridSize", 2147483647, 65535, 65535, "maxThreadsDim", 1024, 1024, 64);
}
PyObject* runtime_deviceGetPCIBusId(int device, int) {
    if (device < 0 || device >= device_count) return raise(INVALID_DEVICE);
    return PyUnicode_FromFormat("0000:%02x:00.0", device);
}
PyObject* runtime_memGetInfo(int) {
    return Py_BuildValue("LL", (long long)(device_memory - device_counts.bytes),
                         (long long)device_memory);
}

// ------------------------------------------------------------- memory

Address runtime_malloc(size_t size, int) { return allocate(size); }
PyObject* runtime_free(Address p, int) { return release(p); }
Address runtime_mallocAsync(size_t size, Address, int) { return allocate(size); }
PyObject* runtime_freeAsync(Address p, Address, int) { return release(p); }
Address runtime_hostAlloc(size_t size, unsigned, int) {
    auto p = Address(malloc(size ? size : 1));
    pinned.insert(p);
    return p;
}
PyObject* runtime_freeHost(Address p, int) {
    pinned.erase(p);
    free(reinterpret_cast<void*>(p));
    return done();
}
PyObject* runtime_memcpy(Address to, Address from, size_t size, int kind, int) {
    return result(copy(to, from, size, kind, 0, true));
}
PyObject* runtime_memcpyAsync(Address to, Address from, size_t size, int kind, Address s, int) {
    return result(copy(to, from, size, kind, s, false));
}
PyObject* runtime_memcpyPeer(Address to, int, Address from, int, size_t size, int) {
    return result(copy(to, from, size, 3, 0, true));
}
PyObject* runtime_memcpyPeerAsync(Address to, int, Address from, int, size_t size, Address s, int) {
    return result(copy(to, from, size, 3, s, false));
}
PyObject* runtime_memset(Address p, int value, size_t size, int) {
    return result(fill(p, value, size, 0));
}
PyObject* runtime_memsetAsync(Address p, int value, size_t size, Address s, int) {
    return result(fill(p, value, size, s));
}
int runtime_pointerGetMemoryType(Address p, int) { return block_of(p) == blocks.end() ? 1 : 2; }

// ------------------------------------------------------------- streams, events, graphs

Address runtime_streamCreateWithPriority(unsigned flags, int priority, int) {
    auto* stream = new Stream{!(flags & 1), priority, nullptr};
    streams.insert(stream);
    return Address(stream);
}
Address runtime_streamCreateWithFlags(unsigned flags, int) {
    return runtime_streamCreateWithPriority(flags, 0, 0);
}
Address runtime_streamCreate(int) { return runtime_streamCreateWithPriority(0, 0, 0); }
PyObject* runtime_streamDestroy(Address s, int) {
    if (Stream* stream = stream_of(s)) streams.erase(stream), delete stream;
    return done();
}
unsigned runtime_streamGetFlags(Address s, int) {
    return stream_of(s) ? !stream_of(s)->blocking : 0;
}
int runtime_streamGetPriority(Address s, int) { return stream_of(s) ? stream_of(s)->priority : 0; }
PyObject* runtime_streamSynchronize(Address s, int) { return result(waits(capture_of(s))); }
PyObject* runtime_streamQuery(Address s, int) {
    if (Graph* graph = capture_of(s)) return graph->broken = true, raise(CAPTURE_UNSUPPORTED);
    return PyLong_FromLong(0);
}
int runtime_streamIsCapturing(Address s, int) { return capture_of(s) != nullptr; }

PyObject* runtime_streamBeginCapture(Address s, int, void*) {
    Stream* stream = stream_of(s);
    if (!stream || stream->capture) return raise(CAPTURE_UNSUPPORTED);
    stream->capture = new Graph{{}, false};
    return done();
}
Address runtime_streamEndCapture(Address s, int) {
    Graph* graph = capture_of(s);
    if (!graph) return raise(INVALID_VALUE), 0;
    for (Stream* stream : streams)  // also those that joined through an event
        if (stream->capture == graph) stream->capture = nullptr;
    return graph->broken ? (raise(CAPTURE_INVALIDATED), 0) : Address(graph);
}
Address runtime_graphInstantiate(Address g, int) { return Address(new Graph(*(Graph*)g)); }
PyObject* runtime_graphDestroy(Address g, int) { return delete (Graph*)g, done(); }
PyObject* runtime_graphExecDestroy(Address g, int) { return delete (Graph*)g, done(); }
PyObject* runtime_graphUpload(Address, Address, int) { return done(); }
PyObject* runtime_graphLaunch(Address g, Address s, int) {
    for (const Work& work : ((Graph*)g)->works) {
        device_counts.replayed_launches += work.launch;
        if (int status = enqueue(s, work.launch, work.run)) return raise(status);
    }
    return result_of_kernel(0);
}

Address runtime_eventCreateWithFlags(unsigned, int) { return Address(new Event{nullptr, 0}); }
Address runtime_eventCreate(int) { return runtime_eventCreateWithFlags(0, 0); }
PyObject* runtime_eventDestroy(Address e, int) { return delete (Event*)e, done(); }
PyObject* runtime_eventRecord(Address e, Address s, int) {
    *(Event*)e = {capture_of(s), now()};
    return done();
}
PyObject* runtime_eventQuery(Address e, int) {
    return ((Event*)e)->capture ? raise(CAPTURED_EVENT) : PyLong_FromLong(0);
}
PyObject* runtime_eventSynchronize(Address e, int) {
    return ((Event*)e)->capture ? raise(CAPTURED_EVENT) : result(waits(nullptr));
}
PyObject* runtime_streamWaitEvent(Address s, Address e, int, void*) {
    Graph* graph = ((Event*)e)->capture;
    if (graph && stream_of(s)) stream_of(s)->capture = graph;  // this stream joins the capture
    return done();
}
float runtime_eventElapsedTime(Address from, Address to, int) {
    return float(((Event*)to)->milliseconds - ((Event*)from)->milliseconds);
}

// ------------------------------------------------------------- the driver: modules and launches

// A compiled module is the path of a shared library (kernels.py).
Address driver_moduleLoadData(PyObject* path, int) {
    const char* name = PyBytes_AsString(path);
    void* module = name ? dlopen(name, RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (name && !module) PyErr_Format(PyExc_RuntimeError, "[cupy_on_cpu] %s", dlerror());
    return Address(module);
}
PyObject* driver_moduleUnload(Address, int) { return done(); }

const char* text_of(PyObject* name) {
    return PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : PyBytes_AsString(name);
}
Address driver_moduleGetFunction(Address module, PyObject* name, int) {
    std::string text = text_of(name);
    void* launch = dlsym((void*)module, ("launch_" + text).c_str());
    void* copy = dlsym((void*)module, ("copy_" + text).c_str());
    if (launch && copy) return Address(new Kernel{(decltype(Kernel::launch))launch,
                                                  (decltype(Kernel::copy))copy, SHARED});
    PyErr_Format(PyExc_RuntimeError, "[cupy_on_cpu] no kernel %s in this module", text.c_str());
    return 0;
}
Address driver_moduleGetGlobal(Address module, PyObject* name, int) {
    void* found = dlsym((void*)module, text_of(name));
    if (!found) PyErr_Format(PyExc_RuntimeError, "[cupy_on_cpu] no variable %s", text_of(name));
    return Address(found);
}
PyObject* driver_launchKernel(Address f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                              unsigned by, unsigned bz, unsigned shared, Address stream,
                              Address arguments, Address, int) {
    unsigned size[] = {gx, gy, gz, bx, by, bz};
    return result_of_kernel(launch(f, size, shared, stream, (void**)arguments));
}
PyObject* driver_launchCooperativeKernel(Address f, unsigned gx, unsigned gy, unsigned gz,
                                         unsigned bx, unsigned by, unsigned bz, unsigned shared,
                                         Address stream, Address arguments, int) {
    unsigned size[] = {gx, gy, gz, bx, by, bz};
    return result_of_kernel(launch(f, size, shared, stream, (void**)arguments));
}
int driver_funcGetAttribute(int attribute, Address f, int) {
    return attribute == 0 ? 1024 : attribute == 8 ? ((Kernel*)f)->most_shared : 0;
}
PyObject* driver_funcSetAttribute(Address f, int attribute, int value, int) {
    if (attribute == 8) {
        if (value > SHARED_AT_MOST) return raise(INVALID_VALUE);
        ((Kernel*)f)->most_shared = value;
    }
    return done();
}
PyObject* driver_occupancyMaxPotentialBlockSize(Address, size_t, int, int) {
    return Py_BuildValue("ii", 132, 512);
}
int driver_occupancyMaxActiveBlocksPerMultiprocessor(Address, int threads, size_t, int) {
    return 2048 / threads;
}
Address driver_ctxGetCurrent(int) { return 1 + current_device; }
int driver_ctxGetDevice(int) { return current_device; }

// What Python does in place of a library, now or whenever the graph runs.
PyObject* device_enqueue_python(Address stream, PyObject* work) {
    Py_INCREF(work);
    std::shared_ptr<PyObject> kept(work, [](PyObject* p) { Py_DECREF(p); });
    return result(enqueue(stream, false, [kept] { Py_XDECREF(PyObject_CallNoArgs(kept.get())); }));
}

}  // extern "C"
