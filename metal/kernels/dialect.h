// What differs between the compilers that read these sources: Apple's, and the host's (tests/metal/emulator).
// Under Apple's compiler each macro is the language's own construct.
#pragma once

#if defined(__METAL_VERSION__)

#define FUNCTION_CONSTANT(T, name, index) constant T name [[function_constant(index)]]
#define THREADGROUP_ARRAY(T, name, count) threadgroup T name[count]
#define HOST_NAME(name) [[host_name(name)]]
#ifndef METAL_FUNC
#define METAL_FUNC inline __attribute__((__always_inline__))
#endif

// Results equal the CPU's to the bit: every operation rounds once, in the order written.
#if __METAL_VERSION__ >= 320
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#endif

#endif
