// Metal on a host without it: what metal-cpp calls lands in objects of this runtime, and kernels run in the emulator.
// A test says here which devices there are and what fails, and asks what went wrong.
#pragma once

#include <climits>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace fake_metal {

struct DeviceSettings {
  std::string name = "Fake M1";
  bool is_apple = true;             // family Apple 7 with unified memory; otherwise family Mac 2 with memory of its own
  size_t memory = size_t{4} << 30;  // recommendedMaxWorkingSetSize; an allocation that exceeds it fails
  size_t max_buffer_length = size_t{2} << 30;
  double threads_per_second = 1e9;  // by the GPU's clock, and no faster by the host's

  // The n-th of the device, from 1; 0 is none.
  int failing_allocation = 0;             // newBuffer returns nothing
  int failing_command_buffer = 0;         // this one and later ones end with command_buffer_error
  int failing_command_buffers = INT_MAX;  // how many of them
  uint64_t command_buffer_error = 11;     // MTL::CommandBufferErrorDeviceRemoved
};

struct Settings {
  std::vector<DeviceSettings> devices = {{}};               // the first is the system's default
  long macos_version = 15;                                  // the major one
  std::string compile_error = {};                           // of every newLibrary
  std::map<std::string, std::string> pipeline_errors = {};  // by kernel, of newComputePipelineState
  std::map<std::string, size_t> max_threads = {};           // by kernel: maxTotalThreadsPerThreadgroup
  // A command buffer begins when something waits for it, or so long after it was committed.
  double seconds_of_latency = 1e-3;
};

// For devices that are got from now on.
void configure(Settings settings);

// What Metal's validation would have stopped the program for, or a kernel did wrong, since the last call. A program
// that ends with faults that it has not taken fails.
std::vector<std::string> take_faults();

// Objects that are not released, all or of a class such as "MTLBuffer".
size_t live_objects();
size_t live_objects(const std::string& class_name);

// The options of the last newLibrary from source.
struct CompileOptions {
  uint64_t language_version = 0;  // MTL::LanguageVersion; 0 if it was not set
  bool fast_math = true;
};
CompileOptions last_compile_options();

// The text of each .metal file that was compiled for the emulator, by its name without suffix: what newLibrary knows.
std::map<std::string, std::string> sources();
// The bytes of a .metallib of the text.
std::string metallib(const std::string& source);

}  // namespace fake_metal
