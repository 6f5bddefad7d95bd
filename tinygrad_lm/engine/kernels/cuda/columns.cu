// Sums over rows, column by column, in two stages and a fixed order: stripes of rows are summed
// into `parts`, then the parts.

// A block takes a tile of 256 columns (x) of a stripe of rows (y): its eight warps a row each, in
// turn, and at the end the warps are added up.
extern "C" __global__ void __launch_bounds__(256)
    stripes(const T* g, float* parts, long long rows, long long width) {
    __shared__ float whole[8][256];
    int n = width, warp = threadIdx.x / 32;
    float sum[8] = {}, v[8];
#pragma unroll 4
    for (long long row = blockIdx.y * 8 + warp; row < rows; row += gridDim.y * 8) {
        load(g + row * n, blockIdx.x, n, v);
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] += v[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) whole[warp][place(0, i, n)] = sum[i];
    __syncthreads();
    float total = 0;
    for (int w = 0; w < 8; w++) total += whole[w][threadIdx.x];
    int column = blockIdx.x * 256 + threadIdx.x;
    if (column < n) parts[blockIdx.y * width + column] = total;
}

// parts (count, width): the first `half` columns' sums go to `first`, the others' to `second`. A
// block takes 32 columns; its warps share the parts.
extern "C" __global__ void __launch_bounds__(256)
    total(const float* parts, T* first, T* second, long long count, long long width,
          long long half) {
    __shared__ float whole[8][32];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    long long column = blockIdx.x * 32LL + lane;
    float sum = 0;
    if (column < width) {
#pragma unroll 8
        for (long long p = warp; p < count; p += 8) sum += parts[p * width + column];
    }
    whole[warp][lane] = sum;
    __syncthreads();
    if (warp || column >= width) return;
    for (int w = 1; w < 8; w++) sum += whole[w][lane];
    put(column < half ? &first[column] : &second[column - half], sum);
}
