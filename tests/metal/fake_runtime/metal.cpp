#include "metal.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "blocks.h"
#include "commands.h"

namespace fake_metal {
namespace {

constexpr int kPoison = 0xFF;  // NaN as a float, -1 as an integer

// metal-cpp may look the key up before anything of this runtime is there: its address is all that it needs.
alignas(String) std::byte encoder_info_key[sizeof(String)];

struct State {
  std::mutex mutex;
  Settings settings;
  std::vector<Device*> devices;  // null before someone asks and after all have released it
  CompileOptions compile_options;
};
State& state() {
  static State* const instance = new State;
  return *instance;
}

Object* get_device(size_t index) {
  static String* const key = ::new (&encoder_info_key) String("MTLCommandBufferEncoderInfoErrorKey");
  keep_forever(key);
  const std::lock_guard lock(state().mutex);
  std::vector<Device*>& devices = state().devices;
  devices.resize(std::max(devices.size(), index + 1));
  if (devices[index]) {
    devices[index]->retain();
  } else {
    devices[index] = new Device(state().settings.devices[index], 100 + index);
  }
  return devices[index];
}

// Null, after saying why.
std::nullptr_t fail(Error** error, MTL::LibraryError code, const std::string& what) {
  if (error) *error = autoreleased(new Error("MTLLibraryErrorDomain", static_cast<long>(code), what));
  return nullptr;
}

struct Type {
  unsigned long metal;
  const char* name;
  size_t bytes;
};
constexpr Type kTypes[] = {
    {MTL::DataTypeBool, "bool", 1},     {MTL::DataTypeInt, "int", 4},   {MTL::DataTypeUInt, "uint", 4},
    {MTL::DataTypeFloat, "float", 4},   {MTL::DataTypeHalf, "half", 2}, {MTL::DataTypeShort, "short", 2},
    {MTL::DataTypeUShort, "ushort", 2},
};
const Type* find_type(unsigned long metal) {
  const Type* found =
      std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& t) { return t.metal == metal; });
  if (found != std::end(kTypes)) return found;
  fault("function constants of MTLDataType " + std::to_string(metal) + " are not in this runtime");
  return nullptr;
}

constexpr std::string_view kMetallib = "MTLB";

std::string name_of(const emulator::Source& source) {
  const std::string file = source.file;
  return file.substr(0, file.rfind('.'));
}

// Where a text that nobody has compiled differs from the one that is most like it.
std::string difference(std::string_view text) {
  std::string nearest = "there are no others";
  size_t most = 0;
  for (const emulator::Source* source : emulator::sources()) {
    const std::string_view other = source->text;
    const auto differs = std::mismatch(text.begin(), text.end(), other.begin(), other.end());
    const size_t same = static_cast<size_t>(differs.first - text.begin());
    if (same < most) continue;
    most = same;
    nearest = std::string(source->file) + " differs from line " +
              std::to_string(1 + std::count(text.begin(), differs.first, '\n')) + " on";
  }
  return nearest;
}

}  // namespace

void configure(Settings settings) {
  const std::lock_guard lock(state().mutex);
  state().settings = std::move(settings);
  state().devices.clear();
}

const Settings& settings() { return state().settings; }

CompileOptions last_compile_options() {
  const std::lock_guard lock(state().mutex);
  return state().compile_options;
}

std::map<std::string, std::string> sources() {
  std::map<std::string, std::string> texts;
  for (const emulator::Source* source : emulator::sources()) texts[name_of(*source)] = source->text;
  return texts;
}

std::string metallib(const std::string& source) { return std::string(kMetallib) + source; }

// Devices

Device::Device(DeviceSettings device_settings, unsigned long registry_id)
    : Object("MTLDevice"),
      settings(std::move(device_settings)),
      name_(Ref<String>::of_new(new String(settings.name))),
      registry_id_(registry_id) {}

Device::~Device() {
  const std::lock_guard lock(state().mutex);
  for (Device*& device : state().devices) {
    if (device == this) device = nullptr;
  }
}

bool Device::supports_family(MTL::GPUFamily family) const {
  if (family >= MTL::GPUFamilyApple1 && family <= MTL::GPUFamilyApple7) return settings.is_apple;
  return family == MTL::GPUFamilyMac2 || family == MTL::GPUFamilyMetal3 ||
         (family >= MTL::GPUFamilyCommon1 && family <= MTL::GPUFamilyCommon3);
}

bool Device::allocate(size_t bytes) {
  if (++allocations_ == settings.failing_allocation || allocated_ + bytes > settings.memory) return false;
  allocated_ += bytes;
  return true;
}

bool Device::runs_next() {
  const int n = ++command_buffers_;
  return settings.failing_command_buffer == 0 || n < settings.failing_command_buffer ||
         n - settings.failing_command_buffer >= settings.failing_command_buffers;
}

Object* Device::new_buffer(unsigned long length, unsigned long options) {
  if (length == 0 || length > settings.max_buffer_length) {
    fault("newBuffer of " + std::to_string(length) + " bytes; possible are 1 to " +
          std::to_string(settings.max_buffer_length));
    return nullptr;
  }
  if (options & MTL::ResourceHazardTrackingModeUntracked) {
    fault("newBuffer without hazard tracking, which is not in this runtime");
    return nullptr;
  }
  return allocate(length) ? new Buffer(this, length, options) : nullptr;
}

Object* Device::new_buffer_from(const void* bytes, unsigned long length, unsigned long options) {
  if (storage_mode_of(options) == MTL::StorageModePrivate) {
    fault("newBuffer with bytes in private storage");
    return nullptr;
  }
  Object* object = new_buffer(length, options);
  if (object) std::memcpy(static_cast<Buffer*>(object)->bytes(), bytes, length);
  return object;
}

Object* Device::new_buffer_over(void* bytes, unsigned long length, unsigned long options, Deallocator deallocator) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (reinterpret_cast<uintptr_t>(bytes) % page != 0 || length % page != 0 || length == 0) {
    fault("newBuffer without a copy of " + std::to_string(length) + " bytes that are not whole pages");
    return nullptr;
  }
  if (length > settings.max_buffer_length || storage_mode_of(options) != MTL::StorageModeShared) {
    fault("newBuffer without a copy is shared and has at most " + std::to_string(settings.max_buffer_length) +
          " bytes, not " + std::to_string(length));
    return nullptr;
  }
  return allocate(length) ? new Buffer(this, bytes, length, options, deallocator) : nullptr;
}

Object* Device::new_library(String* source, CompileOptionsObject* options, Error** error) {
  const CompileOptions asked = options ? options->options : CompileOptions();
  {
    const std::lock_guard lock(state().mutex);
    state().compile_options = asked;
  }
  if (!fake_metal::settings().compile_error.empty()) {
    return fail(error, MTL::LibraryErrorCompileFailure, fake_metal::settings().compile_error);
  }
  // From 3.2 on dialect.h asks for it in the text.
  if (asked.fast_math && asked.language_version < MTL::LanguageVersion3_2) {
    fault("newLibrary with fast math, with which kernels do not give the CPU's bits");
  }
  const std::string& text = source->text();
  const size_t include = text.find("#include \"");
  if (include != std::string::npos) {
    return fail(error, MTL::LibraryErrorCompileFailure,
                "file not found: " + text.substr(include, text.find('\n', include) - include));
  }
  for (const emulator::Source* known : emulator::sources()) {
    if (text == known->text) return new Library(this, known->file);
  }
  return fail(error, MTL::LibraryErrorCompileFailure,
              "this text is not what was compiled for the emulator: " + difference(text));
}

Object* Device::new_library_from_url(Url* url, Error** error) {
  std::ifstream file(url->path(), std::ios::binary);
  if (!file) return fail(error, MTL::LibraryErrorFileNotFound, std::string("no file ") + url->path());
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const auto data = Ref<Data>::of_new(new Data(bytes));
  return new_library_from_data(data.get(), error);
}

Object* Device::new_library_from_data(Data* data, Error** error) {
  const std::string& bytes = data->bytes;
  for (const emulator::Source* known : emulator::sources()) {
    if (bytes == metallib(known->text)) return new Library(this, known->file);
  }
  return fail(error, MTL::LibraryErrorUnsupported, "these bytes are not a library");
}

Object* Device::new_pipeline(Function* function, Error** error) {
  const std::string kernel = function->kernel.name;
  const auto failing = fake_metal::settings().pipeline_errors.find(kernel);
  if (failing != fake_metal::settings().pipeline_errors.end()) {
    return fail(error, MTL::LibraryErrorInternal, failing->second);
  }
  for (int i = 0; i < function->kernel.constant_count; ++i) {
    const char* const constant = function->kernel.constants[i];
    if (function->constants.contains(constant)) continue;
    const std::string what = "[" + kernel + "] the function constant " + constant + " has no value";
    fault(what);
    return fail(error, MTL::LibraryErrorCompileFailure, what);
  }
  constexpr size_t kMost = 32 * 1024;
  if (function->kernel.threadgroup_bytes > kMost) {
    return fail(error, MTL::LibraryErrorCompileFailure,
                "[" + kernel + "] " + std::to_string(function->kernel.threadgroup_bytes) +
                    " bytes of threadgroup memory, " + std::to_string(kMost) + " can be had");
  }
  return new PipelineState(this, function);
}

// Memory

Buffer::Buffer(Device* device, size_t length, unsigned long options)
    : Labeled("MTLBuffer"), device_(device), length_(length), options_(options), owns_(true), deallocator_(nullptr) {
  void* memory = nullptr;
  // The exact length, so that a sanitizer sees an overrun.
  if (posix_memalign(&memory, static_cast<size_t>(sysconf(_SC_PAGESIZE)), length) != 0) throw std::bad_alloc();
  std::memset(memory, kPoison, length);
  bytes_ = static_cast<std::byte*>(memory);
}

Buffer::Buffer(Device* device, void* bytes, size_t length, unsigned long options, Deallocator deallocator)
    : Labeled("MTLBuffer"),
      device_(device),
      bytes_(static_cast<std::byte*>(bytes)),
      length_(length),
      options_(options),
      owns_(false),
      deallocator_(copy_block(deallocator)) {}

Buffer::~Buffer() {
  device_->free(length_);
  if (owns_) std::free(bytes_);
  if (deallocator_) {
    deallocator_(bytes_, length_);
    release_block(deallocator_);
  }
}

void* Buffer::contents() const {
  if (storage_mode() != MTL::StorageModePrivate) return bytes_;
  fault("contents of a private buffer");
  return nullptr;
}

// Libraries and pipelines

void FunctionConstantValues::set_by_index(const void* value, unsigned long type, unsigned long index) {
  const auto* first = static_cast<const std::byte*>(value);
  if (const Type* found = find_type(type)) by_index_[index] = {type, {first, first + found->bytes}};
}

void FunctionConstantValues::set_by_name(const void* value, unsigned long type, String* name) {
  const auto* first = static_cast<const std::byte*>(value);
  if (const Type* found = find_type(type)) by_name_[name->text()] = {type, {first, first + found->bytes}};
}

void FunctionConstantValues::reset() {
  by_index_.clear();
  by_name_.clear();
}

const FunctionConstantValues::Value* FunctionConstantValues::of(const emulator::FunctionConstant& constant) const {
  const auto named = by_name_.find(constant.name);
  if (named != by_name_.end()) return &named->second;
  const auto numbered = by_index_.find(static_cast<unsigned long>(constant.index));
  return numbered == by_index_.end() ? nullptr : &numbered->second;
}

Object* Library::function_names() const {
  std::vector<Ref<Object>> names;
  for (const std::string& name : emulator::kernel_names()) {
    if (emulator::find_kernel(name).file == file_) names.push_back(Ref<Object>::of_new(new String(name)));
  }
  return autoreleased(new Array(std::move(names)));
}

Object* Library::new_function(String* name) {
  const std::vector<std::string> names = emulator::kernel_names();
  if (std::find(names.begin(), names.end(), name->text()) == names.end()) return nullptr;
  const emulator::Kernel& kernel = emulator::find_kernel(name->text());
  return kernel.file == file_ ? new Function(kernel) : nullptr;
}

Object* Library::new_function_with(String* name, FunctionConstantValues* values, Error** error) {
  auto function = Ref<Function>::of_new(static_cast<Function*>(new_function(name)));
  if (!function) {
    return fail(error, MTL::LibraryErrorFunctionNotFound, file_ + " has no function " + name->text());
  }
  for (const emulator::FunctionConstant* constant : emulator::constants_of(function->kernel)) {
    const FunctionConstantValues::Value* value = values ? values->of(*constant) : nullptr;
    if (!value) continue;  // a pipeline is not made if the function reads it
    if (std::string(constant->type) != find_type(value->type)->name) {
      return fail(error, MTL::LibraryErrorCompileFailure,
                  std::string("[") + function->kernel.name + "] the function constant " + constant->name + " is a " +
                      constant->type + ", its value a " + find_type(value->type)->name);
    }
    function->constants[constant->name] = value->bytes;
  }
  function->retain();
  return function.get();
}

PipelineState::PipelineState(Device* device, Function* function)
    : Labeled("MTLComputePipelineState"), device_(device), function_(function), max_threads_([&] {
        const auto limited = settings().max_threads.find(function->kernel.name);
        return limited == settings().max_threads.end() ? 1024 : limited->second;
      }()) {}

void add_metal(MethodTable& table) {
  table["MTLDevice"].of_instances = {
      {"name", kMethod<&Device::name>},
      {"registryID", kMethod<&Device::registry_id>},
      {"hasUnifiedMemory", kMethod<&Device::is_apple>},
      {"isLowPower", kMethod<&Device::no>},
      {"isHeadless", kMethod<&Device::no>},
      {"isRemovable", kMethod<&Device::no>},
      {"maxBufferLength", kMethod<&Device::max_buffer_length>},
      {"recommendedMaxWorkingSetSize", kMethod<&Device::recommended_working_set>},
      {"currentAllocatedSize", kMethod<&Device::allocated>},
      {"maxThreadgroupMemoryLength", kMethod<&Device::threadgroup_memory>},
      {"maxThreadsPerThreadgroup", kMethod<&Device::max_threads>},
      {"supportsFamily:", kMethod<&Device::supports_family>},
      {"newBufferWithLength:options:", kMethod<&Device::new_buffer>},
      {"newBufferWithBytes:length:options:", kMethod<&Device::new_buffer_from>},
      {"newBufferWithBytesNoCopy:length:options:deallocator:", kMethod<&Device::new_buffer_over>},
      {"newLibraryWithSource:options:error:", kMethod<&Device::new_library>},
      {"newLibraryWithURL:error:", kMethod<&Device::new_library_from_url>},
      {"newLibraryWithData:error:", kMethod<&Device::new_library_from_data>},
      {"newComputePipelineStateWithFunction:error:", kMethod<&Device::new_pipeline>},
      {"newCommandQueue", kMethod<&Device::new_queue>},
      {"newCommandQueueWithMaxCommandBufferCount:", kMethod<&Device::new_queue_of>},
      {"newSharedEvent", kMethod<&Device::new_event>},
      {"newEvent", kMethod<&Device::new_event>},
  };
  table["MTLBuffer"].of_instances = {
      {"label", kMethod<&Buffer::label>},
      {"setLabel:", kMethod<&Buffer::set_label>},
      {"device", kMethod<&Buffer::device>},
      {"contents", kMethod<&Buffer::contents>},
      {"length", kMethod<&Buffer::length>},
      {"allocatedSize", kMethod<&Buffer::length>},
      {"storageMode", kMethod<&Buffer::storage_mode>},
      {"resourceOptions", kMethod<&Buffer::options>},
  };
  table["MTLCompileOptions"] = {
      {{"alloc", kMethod<&allocate<CompileOptionsObject>>}},
      {
          {"languageVersion", kMethod<&CompileOptionsObject::language_version>},
          {"setLanguageVersion:", kMethod<&CompileOptionsObject::set_language_version>},
          {"mathMode", kMethod<&CompileOptionsObject::math_mode>},
          {"setMathMode:", kMethod<&CompileOptionsObject::set_math_mode>},
          {"fastMathEnabled", kMethod<&CompileOptionsObject::fast_math>},
          {"setFastMathEnabled:", kMethod<&CompileOptionsObject::set_fast_math>},
      },
  };
  table["MTLFunctionConstantValues"] = {
      {{"alloc", kMethod<&allocate<FunctionConstantValues>>}},
      {
          {"setConstantValue:type:atIndex:", kMethod<&FunctionConstantValues::set_by_index>},
          {"setConstantValue:type:withName:", kMethod<&FunctionConstantValues::set_by_name>},
          {"reset", kMethod<&FunctionConstantValues::reset>},
      },
  };
  table["MTLLibrary"].of_instances = {
      {"label", kMethod<&Library::label>},
      {"setLabel:", kMethod<&Library::set_label>},
      {"device", kMethod<&Library::device>},
      {"functionNames", kMethod<&Library::function_names>},
      {"newFunctionWithName:", kMethod<&Library::new_function>},
      {"newFunctionWithName:constantValues:error:", kMethod<&Library::new_function_with>},
  };
  table["MTLFunction"].of_instances = {
      {"label", kMethod<&Function::label>},
      {"setLabel:", kMethod<&Function::set_label>},
      {"name", kMethod<&Function::name>},
  };
  table["MTLComputePipelineState"].of_instances = {
      {"label", kMethod<&PipelineState::label>},
      {"device", kMethod<&PipelineState::device>},
      {"maxTotalThreadsPerThreadgroup", kMethod<&PipelineState::max_threads>},
      {"threadExecutionWidth", kMethod<&PipelineState::execution_width>},
      {"staticThreadgroupMemoryLength", kMethod<&PipelineState::threadgroup_memory>},
  };
}

}  // namespace fake_metal

extern "C" {

// By dlsym.
__attribute__((visibility("default"))) extern void* const MTLCommandBufferEncoderInfoErrorKey =
    fake_metal::encoder_info_key;

fake_metal::Object* MTLCreateSystemDefaultDevice() {
  return fake_metal::settings().devices.empty() ? nullptr : fake_metal::get_device(0);
}

fake_metal::Object* MTLCopyAllDevices() {
  std::vector<fake_metal::Ref<fake_metal::Object>> devices;
  for (size_t i = 0; i < fake_metal::settings().devices.size(); ++i) {
    devices.push_back(fake_metal::Ref<fake_metal::Object>::of_new(fake_metal::get_device(i)));
  }
  return new fake_metal::Array(std::move(devices));
}

fake_metal::Object* MTLCopyAllDevicesWithObserver(void**, const void*) { return MTLCopyAllDevices(); }

void MTLRemoveDeviceObserver(const void*) {}

}  // extern "C"
