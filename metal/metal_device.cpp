#include "metal/metal_device.h"

#include "base/error.h"

namespace tritium {

MetalDevice::MetalDevice(NS::SharedPtr<MTL::Device> device)
    : device_(std::move(device)),
      queue_(NS::TransferPtr(device_->newCommandQueue())),
      name_(text_of(device_->name())),
      unified_(device_->hasUnifiedMemory()),
      matrices_(device_->supportsFamily(MTL::GPUFamilyApple7)),
      max_buffer_bytes_(device_->maxBufferLength()),
      working_set_bytes_(device_->recommendedMaxWorkingSetSize()) {
  if (!queue_) throw DeviceError(concat("[metal] ", name_, " gives no command queue"));
}

void MetalDevice::check() const {
  if (!lost_.empty()) throw DeviceError(concat("[metal] ", name_, " is lost: ", lost_));
}

std::vector<std::shared_ptr<MetalDevice>> metal_devices() {
  const AutoreleaseScope scope;
  std::vector<NS::SharedPtr<MTL::Device>> found;
  found.push_back(NS::TransferPtr(MTL::CreateSystemDefaultDevice()));
  const auto all = NS::TransferPtr(MTL::CopyAllDevices());
  for (NS::UInteger i = 0; all && i < all->count(); ++i) {
    auto* device = all->object<MTL::Device>(i);
    if (device != found[0].get()) found.push_back(NS::RetainPtr(device));
  }
  std::vector<std::shared_ptr<MetalDevice>> devices;
  for (auto& device : found) {
    if (device) devices.push_back(std::make_shared<MetalDevice>(std::move(device)));
  }
  return devices;
}

MetalCommands::MetalCommands(MetalDevice& device, std::string label) : device_(device), label_(std::move(label)) {
  device_.check();
  const auto descriptor = NS::TransferPtr(MTL::CommandBufferDescriptor::alloc()->init());
  descriptor->setErrorOptions(MTL::CommandBufferErrorOptionEncoderExecutionStatus);
  descriptor->setRetainedReferences(false);  // who encodes keeps the buffers until it has waited
  commands_ = NS::RetainPtr(device_.queue()->commandBuffer(descriptor.get()));
  if (!commands_) throw DeviceError(concat("[metal] ", device_.name(), " gives no command buffer for ", label_));
  commands_->setLabel(ns_string(label_));
}

MetalCommands::~MetalCommands() {
  end_encoders();  // Metal ends the process otherwise
  if (running_) commands_->waitUntilCompleted();
}

MTL::ComputeCommandEncoder* MetalCommands::kernels() {
  if (kernels_) return kernels_.get();
  end_encoders();
  kernels_ = NS::RetainPtr(commands_->computeCommandEncoder(MTL::DispatchTypeConcurrent));
  if (!kernels_) throw DeviceError(concat("[metal] ", device_.name(), " gives no encoder for ", label_));
  return kernels_.get();
}

void MetalCommands::copy(const MTL::Buffer* from, size_t from_offset, const MTL::Buffer* to, size_t to_offset,
                         size_t bytes) {
  if (bytes == 0) return;
  if (!copies_) {
    end_encoders();
    copies_ = NS::RetainPtr(commands_->blitCommandEncoder());
    if (!copies_) throw DeviceError(concat("[metal] ", device_.name(), " gives no encoder for ", label_));
  }
  copies_->copyFromBuffer(from, from_offset, to, to_offset, bytes);
}

void MetalCommands::end_encoders() {
  if (kernels_) kernels_->endEncoding();
  if (copies_) copies_->endEncoding();
  kernels_.reset();
  copies_.reset();
}

void MetalCommands::commit() {
  end_encoders();
  commands_->commit();
  running_ = true;
}

void MetalCommands::wait() {
  commands_->waitUntilCompleted();
  running_ = false;
  if (commands_->status() != MTL::CommandBufferStatusCompleted) fail();
}

double MetalCommands::seconds() const { return commands_->GPUEndTime() - commands_->GPUStartTime(); }

// The kernel of the last signpost that was passed.
std::string MetalCommands::faulty_kernel(const NS::Error* error) const {
  const NS::Dictionary* details = error ? error->userInfo() : nullptr;
  if (!details || !MTL::CommandBufferEncoderInfoErrorKey) return "";
  const auto* encoders = static_cast<NS::Array*>(details->object(MTL::CommandBufferEncoderInfoErrorKey));
  std::string kernel;
  for (NS::UInteger i = 0; encoders && i < encoders->count(); ++i) {
    const auto* encoder = encoders->object<MTL::CommandBufferEncoderInfo>(i);
    if (encoder->errorState() == MTL::CommandEncoderErrorStateCompleted) continue;
    const NS::Array* signposts = encoder->debugSignposts();
    if (signposts && signposts->count() > 0) kernel = text_of(signposts->object<NS::String>(signposts->count() - 1));
  }
  return kernel;
}

void MetalCommands::fail() {
  const AutoreleaseScope scope;
  const NS::Error* error = commands_->error();
  const std::string kernel = faulty_kernel(error);
  const std::string what =
      concat(label_, kernel.empty() ? "" : concat(", kernel ", kernel, ","), " failed: ", text_of(error));
  const NS::Integer code = error ? error->code() : 0;
  if (code == MTL::CommandBufferErrorDeviceRemoved || code == MTL::CommandBufferErrorAccessRevoked) {
    device_.lose(what);
    device_.check();
  }
  if (code == MTL::CommandBufferErrorOutOfMemory) {
    throw MemoryLimitError(concat("[metal] ", device_.name(), ": ", what, "; it holds ",
                                  device_.get()->currentAllocatedSize(), " bytes of ", device_.working_set_bytes()));
  }
  throw DeviceError(concat("[metal] ", device_.name(), ": ", what));
}

}  // namespace tritium
