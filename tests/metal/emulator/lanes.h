// What runs a kernel's code on the host: the calls of the metal_stdlib here and of the generated glue. It includes
// nothing of the C and C++ libraries, so that kernels find no function that Metal has not.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace emulator {

inline constexpr uint32_t kSimdWidth = 32;

struct Size {
  uint32_t x = 1, y = 1, z = 1;
  uint32_t volume() const { return x * y * z; }
};

// A place in the source at which lanes meet.
struct Meeting {
  const char* name;
  int line;
};

// Of the lane that runs.
uint32_t lane();
uint32_t index_in_threadgroup();
Size position_in_threadgroup();
Size position_in_grid();
Size threadgroup_position();
Size threads_per_threadgroup();
Size threadgroups();

// Gives every live lane of the simdgroup the values of all, `size` bytes each; those of lanes that have returned are
// poison. Returns the mask of live lanes.
uint32_t exchange(Meeting meeting, const void* value, size_t size, void* all);
void threadgroup_barrier(int line);
// Ends the launch because not all lanes of a simdgroup are there.
void fault(const char* name);

// Constructed where a kernel declares them.
struct ThreadgroupArray {
  ThreadgroupArray(void* memory, size_t bytes);
};

// A function constant. To read one that the launch has not set is a fault.
struct FunctionConstant {
  FunctionConstant(const char* file, const char* name, const char* type, int index, size_t bytes);
  void read(void* value) const;

  const char* file;
  const char* name;
  const char* type;
  int index;
  size_t bytes;
};
template <class T>
struct ConstantOf : FunctionConstant {
  ConstantOf(const char* file_name, const char* name_of_it, const char* type_of_it, int index_of_it)
      : FunctionConstant(file_name, name_of_it, type_of_it, index_of_it, sizeof(T)) {}
  operator T() const {
    T value;
    read(&value);
    return value;
  }
};

// What a kernel is, for the table of kernels.
struct Parameter {
  int index;
  const char* name;
  size_t least_bytes;  // of what is bound to it
  size_t alignment;    // of its elements
  bool is_constant;    // in the constant address space
};
struct Kernel {
  const char* name;
  const char* file;
  void (*call)(void* const* buffers);
  const Parameter* parameters;
  int count;
  const char* const* constants;  // names of the function constants that it reads, or a function that it calls
  int constant_count;
  size_t threadgroup_bytes;
};
struct KernelEntry {
  explicit KernelEntry(const Kernel* kernel);
};

// What Metal's compiler would read: a .metal file with the files that it includes.
struct Source {
  Source(const char* file, const char* text);

  const char* file;
  const char* text;
};

}  // namespace emulator
