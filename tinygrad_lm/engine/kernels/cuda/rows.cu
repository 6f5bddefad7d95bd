// Rows of a table at ids, and gradients added into rows: sorted by id, equal ids are neighbours. A
// warp adds up the rows of one chunk, run after run; of a run that crosses from chunk to chunk it
// leaves its part in `parts`, and a second kernel adds those. No atomics: the order is fixed.
#define CHUNK 32

// A negative id counts from the end; whether it is in range at all is checked elsewhere.
__device__ inline long long within(long long id, long long rows) {
    id += id < 0 ? rows : 0;
    return id < 0 ? 0 : id < rows ? id : rows - 1;
}

extern "C" __global__ void __launch_bounds__(256)
    gather(const T* table, const long long* ids, T* out, long long n, long long rows,
           long long width) {
    long long i = blockIdx.x * 8LL + threadIdx.x / 32;
    if (i >= n) return;
    const T* row = table + within(ids[i], rows) * width;
    float v[8];
    for (int t = blockIdx.y; t * 256 < width; t += gridDim.y) {
        load(row, t, width, v);
        store(out + i * width, t, width, v);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    sort_keys(const long long* ids, KEY* keys, long long n, long long rows) {
    long long i = blockIdx.x * 256LL + threadIdx.x;
    if (i < n) keys[i] = within(ids[i], rows);
}

template <class X>
__device__ inline void add(X* row, int tile, int n, float* sum) {
    float v[8];
    load(row, tile, n, v);
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] += sum[i];
    store(row, tile, n, v);
}

// A warp: chunk blockIdx.x * 8 + its number, tile blockIdx.y of the columns. parts (chunks, 2,
// width): the part of a run that began in an earlier chunk, and of one that begins here and goes
// on.
extern "C" __global__ void __launch_bounds__(256)
    add_runs(const T* g, const KEY* keys, const long long* order, T* total, float* parts,
             long long n, long long width) {
    long long chunk = blockIdx.x * 8LL + threadIdx.x / 32, j = chunk * CHUNK;
    if (j >= n) return;
    long long end = j + CHUNK < n ? j + CHUNK : n;
    KEY key = keys[order[j]];
    bool earlier = j && keys[order[j - 1]] == key;
    float sum[8] = {}, v[8];
#pragma unroll 4
    for (; j < end; j++) {
        load(g + order[j] * width, blockIdx.y, width, v);
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += v[i];
        bool goes_on = j + 1 < n && keys[order[j + 1]] == key;
        if (goes_on && j + 1 < end) continue;
        if (goes_on || earlier)
            store(parts + (chunk * 2 + !earlier) * width, blockIdx.y, width, sum);
        else
            add(total + key * width, blockIdx.y, width, sum);
        if (j + 1 == end) break;
        key = keys[order[j + 1]];
        earlier = false;
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] = 0;
    }
}

// The same warps: if a run begins in this chunk and goes on, all of its parts.
extern "C" __global__ void __launch_bounds__(256)
    add_crossing(const KEY* keys, const long long* order, T* total, const float* parts,
                 long long n, long long width) {
    long long chunk = blockIdx.x * 8LL + threadIdx.x / 32, end = (chunk + 1) * CHUNK;
    if (end >= n) return;
    KEY key = keys[order[end - 1]];
    if (keys[order[end]] != key) return;
    long long start = chunk * CHUNK;
    if (start && keys[order[start - 1]] == key) return;  // it began earlier
    long long last = chunk + 1, beyond = (n + CHUNK - 1) / CHUNK;  // bisect for its last chunk
    while (beyond - last > 1) {
        long long middle = (last + beyond) / 2;
        if (keys[order[middle * CHUNK]] == key)
            last = middle;
        else
            beyond = middle;
    }
    float sum[8], v[8];
    load(parts + (chunk * 2 + 1) * width, blockIdx.y, width, sum);
#pragma unroll 8
    for (long long c = chunk + 1; c <= last; c++) {
        load(parts + c * 2 * width, blockIdx.y, width, v);
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += v[i];
    }
    add(total + key * width, blockIdx.y, width, sum);
}
