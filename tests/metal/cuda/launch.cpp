// emulator::Launch on an NVIDIA GPU. Orders of threads are the GPU's own.
#include <cstdlib>
#include <utility>

#include "emulator.h"
#include "metal_on_cuda.h"

namespace metal_on_cuda {
namespace {

// Filled while the program starts.
std::map<std::string, const Kernel*>& kernels() {
  static std::map<std::string, const Kernel*> table;
  return table;
}
std::vector<const FunctionConstant*>& function_constants() {
  static std::vector<const FunctionConstant*> table;
  return table;
}

}  // namespace

Kernel::Kernel(const emulator::Kernel& kernel, void (*kernel_launch)(const Grid&, void* const* buffers),
               const void* kernel_code, uint32_t written_buffers)
    : signature(kernel), launch(kernel_launch), code(kernel_code), written(written_buffers) {
  if (!kernels().insert({kernel.name, this}).second) {
    throw emulator::Fault(std::string("two kernels are called ") + kernel.name);
  }
}

FunctionConstant::FunctionConstant(const char* constant_file, const char* constant_name, size_t constant_bytes,
                                   const void* constant_symbol)
    : file(constant_file), name(constant_name), bytes(constant_bytes), symbol(constant_symbol) {
  function_constants().push_back(this);
}

const Kernel& find_kernel(const std::string& name) {
  const auto found = kernels().find(name);
  if (found == kernels().end()) throw emulator::Fault("no kernel is called " + name);
  return *found->second;
}

void check(cudaError_t error, const std::string& what) {
  if (error != cudaSuccess) throw emulator::Fault(what + ": " + cudaGetErrorString(error));
}

void set_constant(const Kernel& kernel, const std::string& name, const void* value, size_t bytes) {
  for (const FunctionConstant* constant : function_constants()) {
    if (name != constant->name || std::string(kernel.signature.file) != constant->file || bytes != constant->bytes)
      continue;
    return check(cudaMemcpyToSymbol(constant->symbol, value, bytes), name);
  }
  throw emulator::Fault(std::string("[") + kernel.signature.name + "] no function constant is called " + name +
                        " and has this type");
}

}  // namespace metal_on_cuda

namespace emulator {

using metal_on_cuda::check;

namespace {

// Memory of the device that is a copy of the host's, of exactly its size, so that memcheck sees a byte beyond.
class Copy {
 public:
  Copy(void* host, size_t bytes) : host_(host), bytes_(bytes) { check(cudaMalloc(&device_, bytes), "cudaMalloc"); }
  Copy(Copy&& other) noexcept
      : host_(other.host_), device_(std::exchange(other.device_, nullptr)), bytes_(other.bytes_) {}
  ~Copy() { cudaFree(device_); }

  void* device() const { return device_; }
  void upload() const { check(cudaMemcpy(device_, host_, bytes_, cudaMemcpyHostToDevice), "upload"); }
  void download() const { check(cudaMemcpy(host_, device_, bytes_, cudaMemcpyDeviceToHost), "download"); }

 private:
  void* host_;
  void* device_ = nullptr;
  size_t bytes_;
};

}  // namespace

Launch::Launch(const std::string& kernel) : kernel_(metal_on_cuda::find_kernel(kernel).signature) {}

Launch& Launch::bind(int index, void* memory, size_t bytes) {
  buffers_[index] = {memory, bytes, true};
  return *this;
}

Launch& Launch::constant(const std::string& name, const void* value, size_t bytes) {
  const auto* first = static_cast<const std::byte*>(value);
  constants_[name].assign(first, first + bytes);
  return *this;
}

void Launch::run(Size threadgroups, Size threads, Order) {
  // For initcheck: what a kernel only writes stays uninitialised, instead of a copy of the host's poison.
  static const bool uninitialised = std::getenv("TRITIUM_UNINITIALISED") != nullptr;
  const metal_on_cuda::Kernel& kernel = metal_on_cuda::find_kernel(kernel_.name);
  const std::string where = std::string("[") + kernel_.name + "] ";
  std::vector<void*> memory(31);
  std::map<void*, Copy> copies;  // by host memory: two parameters may share it
  std::map<void*, bool> read, written;
  for (const Parameter& parameter : std::span(kernel_.parameters, static_cast<size_t>(kernel_.count))) {
    const Bound& bound = buffers_[parameter.index];
    if (!bound.used) throw Fault(where + "nothing is bound to " + parameter.name);
    if (bound.bytes < parameter.least_bytes) {
      throw Fault(where + std::to_string(bound.bytes) + " bytes are bound to " + parameter.name);
    }
    void*& place = memory[static_cast<size_t>(parameter.index)];
    place = bound.memory;
    if (parameter.is_constant || bound.bytes == 0) continue;
    place = copies.try_emplace(bound.memory, bound.memory, bound.bytes).first->second.device();
    const bool writes = (kernel.written >> parameter.index & 1) != 0;
    (writes ? written : read)[bound.memory] = true;
  }
  for (const auto& [host, copy] : copies) {
    if (read[host] || !uninitialised) copy.upload();
  }
  for (const auto& [name, value] : constants_) metal_on_cuda::set_constant(kernel, name, value.data(), value.size());
  kernel.launch({{threadgroups.x, threadgroups.y, threadgroups.z}, {threads.x, threads.y, threads.z}, nullptr},
                memory.data());
  metal_on_cuda::check(cudaGetLastError(), where + "launch");
  metal_on_cuda::check(cudaDeviceSynchronize(), where + "run");
  for (const auto& [host, copy] : copies) {
    if (written[host]) copy.download();
  }
}

}  // namespace emulator
