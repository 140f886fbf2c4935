// What kernel files ask of each compiler: to inline a function and unroll a loop whatever it thinks of their size, so
// that arrays of vectors become registers, and not to fuse a product with a sum.
#pragma once

#if defined(_MSC_VER)
#pragma fp_contract(off)
#define TRITIUM_INLINE static __forceinline
#else
#define TRITIUM_INLINE static inline __attribute__((always_inline))
#endif

#if defined(__clang__)
#define TRITIUM_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define TRITIUM_UNROLL _Pragma("GCC unroll 16")
#else
#define TRITIUM_UNROLL
#endif
