// What does not run: devices, memory, libraries and pipelines.
#pragma once

#include <Metal/Metal.hpp>
#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "emulator.h"
#include "fake_metal.h"
#include "foundation.h"
#include "runtime.h"

namespace fake_metal {

// MTL::StorageMode of MTL::ResourceOptions.
constexpr unsigned long storage_mode_of(unsigned long options) { return options >> 4 & 15; }

class Labeled : public Object {
 public:
  using Object::Object;

  Object* label() const { return label_.get(); }
  void set_label(String* label) { label_ = Ref<String>(label); }
  std::string label_text() const { return label_ ? label_->text() : ""; }

 private:
  Ref<String> label_;
};

class CompileOptionsObject;
class Function;
using Deallocator = void (^)(void* bytes, unsigned long length);

class Device : public Object {
 public:
  Device(DeviceSettings device_settings, unsigned long registry_id);
  ~Device() override;

  const DeviceSettings settings;

  Object* name() const { return name_.get(); }
  unsigned long registry_id() const { return registry_id_; }
  bool is_apple() const { return settings.is_apple; }
  bool no() const { return false; }
  unsigned long max_buffer_length() const { return settings.max_buffer_length; }
  unsigned long recommended_working_set() const { return settings.memory; }
  unsigned long allocated() const { return allocated_; }
  unsigned long threadgroup_memory() const { return 32 * 1024; }
  MTL::Size max_threads() const { return MTL::Size(1024, 1024, 1024); }
  bool supports_family(MTL::GPUFamily family) const;

  Object* new_buffer(unsigned long length, unsigned long options);
  Object* new_buffer_from(const void* bytes, unsigned long length, unsigned long options);
  Object* new_buffer_over(void* bytes, unsigned long length, unsigned long options, Deallocator deallocator);
  Object* new_library(String* source, CompileOptionsObject* options, Error** error);
  Object* new_library_from_url(Url* url, Error** error);
  Object* new_library_from_data(Data* data, Error** error);
  Object* new_pipeline(Function* function, Error** error);
  Object* new_queue();
  Object* new_queue_of(unsigned long max_command_buffers);
  Object* new_event();

  // Whether the allocation is possible; counts it.
  bool allocate(size_t bytes);
  void free(size_t bytes) { allocated_ -= bytes; }
  // Whether the device still runs a further command buffer.
  bool runs_next();

 private:
  const Ref<String> name_;
  const unsigned long registry_id_;
  std::atomic<size_t> allocated_ = 0;
  std::atomic<int> allocations_ = 0, command_buffers_ = 0;
};

class Buffer : public Labeled {
 public:
  // Its own memory, or that of the caller with what frees it.
  Buffer(Device* device, size_t length, unsigned long options);
  Buffer(Device* device, void* bytes, size_t length, unsigned long options, Deallocator deallocator);
  ~Buffer() override;

  std::byte* bytes() const { return bytes_; }
  void* contents() const;
  unsigned long length() const { return length_; }
  unsigned long options() const { return options_; }
  unsigned long storage_mode() const { return storage_mode_of(options_); }
  Object* device() const { return device_.get(); }

 private:
  const Ref<Device> device_;
  std::byte* bytes_;
  const size_t length_;
  const unsigned long options_;
  const bool owns_;
  const Deallocator deallocator_;
};

class CompileOptionsObject : public Object {
 public:
  CompileOptionsObject() : Object("MTLCompileOptions") {}

  unsigned long language_version() const { return options.language_version; }
  void set_language_version(unsigned long version) { options.language_version = version; }
  long math_mode() const { return options.fast_math ? MTL::MathModeFast : MTL::MathModeSafe; }
  void set_math_mode(long mode) { options.fast_math = mode != MTL::MathModeSafe; }
  bool fast_math() const { return options.fast_math; }
  void set_fast_math(bool fast) { options.fast_math = fast; }

  CompileOptions options;
};

class FunctionConstantValues : public Object {
 public:
  struct Value {
    unsigned long type;
    std::vector<std::byte> bytes;
  };

  FunctionConstantValues() : Object("MTLFunctionConstantValues") {}

  void set_by_index(const void* value, unsigned long type, unsigned long index);
  void set_by_name(const void* value, unsigned long type, String* name);
  void reset();
  // Null if the constant has none.
  const Value* of(const emulator::FunctionConstant& constant) const;

 private:
  std::map<unsigned long, Value> by_index_;
  std::map<std::string, Value> by_name_;
};

class Library : public Labeled {
 public:
  Library(Device* device, std::string file) : Labeled("MTLLibrary"), device_(device), file_(std::move(file)) {}

  Object* device() const { return device_.get(); }
  Object* function_names() const;
  Object* new_function(String* name);
  Object* new_function_with(String* name, FunctionConstantValues* values, Error** error);

 private:
  const Ref<Device> device_;
  const std::string file_;
};

class Function : public Labeled {
 public:
  explicit Function(const emulator::Kernel& function_kernel)
      : Labeled("MTLFunction"), kernel(function_kernel), name_(Ref<String>::of_new(new String(kernel.name))) {}

  Object* name() const { return name_.get(); }

  const emulator::Kernel& kernel;
  std::map<std::string, std::vector<std::byte>> constants;

 private:
  const Ref<String> name_;
};

class PipelineState : public Labeled {
 public:
  PipelineState(Device* device, Function* function);

  Object* device() const { return device_.get(); }
  unsigned long max_threads() const { return max_threads_; }
  unsigned long execution_width() const { return 32; }
  unsigned long threadgroup_memory() const { return function_->kernel.threadgroup_bytes; }
  const Function& function() const { return *function_; }

 private:
  const Ref<Device> device_;
  const Ref<Function> function_;
  const size_t max_threads_;
};

}  // namespace fake_metal
