// In the place of `multiply` of metal/kernels/ternary_gemv.metal, for a GPU that has integer dot products: codes are
// multiplied where they lie in their bytes, and their powers of four divided out of the sums.
METAL_FUNC int add_dot(uint unsigned_bytes, uint signed_bytes, int sum) {
  int result;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(unsigned_bytes), "r"(signed_bytes), "r"(sum));
  return result;
}

METAL_FUNC int4 multiply(device const uint4* panel, device const uint4* q, uint first, uint end, uint stride,
                         uint lane) {
  const uint kAhead = 4;  // steps whose loads are under way at a time
  int sums[4][4] = {};
  int offset = 0;
  for (uint step = first; step < end; step += kAhead * stride) {
    uint4 words[kAhead], codes[kAhead];
    for (uint n = 0; n < kAhead; ++n) {
      const uint at = step + n * stride;
      words[n] = at < end ? panel[4 * at + lane % 4] : uint4(0);
      codes[n] = at < end ? q[at] : uint4(0);
    }
    for (uint n = 0; n < kAhead && step + n * stride < end; ++n) {
      for (uint j = 0; j < 4; ++j) {
        offset = add_dot(0x01010101u, codes[n][j], offset);
        for (uint r = 0; r < 4; ++r) {
          sums[r][j] = add_dot(words[n][r] & (0x03030303u << (2 * j)), codes[n][j], sums[r][j]);
        }
      }
    }
  }
  int4 total = int4(0);
  for (uint r = 0; r < 4; ++r) {
    total[r] = sums[r][0] + (sums[r][1] >> 2) + (sums[r][2] >> 4) + (sums[r][3] >> 6) - offset;
  }
  return total;
}
