#include "commands.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "blocks.h"

namespace fake_metal {
namespace {

constexpr unsigned long kIndices = 31;
constexpr unsigned long kMaxBytes = 4096;  // of setBytes
constexpr unsigned long kMaxCommandBuffers = 64;
constexpr auto kPatience = std::chrono::seconds(20);

using Clock = std::chrono::steady_clock;
double seconds(Clock::time_point time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

std::string text(MTL::Size size) {
  return "(" + std::to_string(size.width) + ", " + std::to_string(size.height) + ", " + std::to_string(size.depth) +
         ")";
}
size_t volume(MTL::Size size) { return size.width * size.height * size.depth; }
emulator::Size emulator_size(MTL::Size size) {
  return {static_cast<uint32_t>(size.width), static_cast<uint32_t>(size.height), static_cast<uint32_t>(size.depth)};
}

std::span<const emulator::Parameter> parameters_of(const emulator::Kernel& kernel) {
  return {kernel.parameters, static_cast<size_t>(kernel.count)};
}

// Whether Metal lets `later` begin only after `earlier`, with these barriers between them.
bool is_ordered(const Dispatch& earlier, const Dispatch& later, std::span<const Barrier* const> barriers) {
  const auto uses = [](const Dispatch& dispatch, const Buffer* buffer) {
    return std::any_of(dispatch.bindings.begin(), dispatch.bindings.end(),
                       [&](const auto& bound) { return bound.second.buffer == buffer; });
  };
  return std::any_of(barriers.begin(), barriers.end(), [&](const Barrier* barrier) {
    return barrier->buffers.empty() ||
           std::any_of(barrier->buffers.begin(), barrier->buffers.end(),
                       [&](const Buffer* buffer) { return uses(earlier, buffer) && uses(later, buffer); });
  });
}

}  // namespace

// Queues

Object* Device::new_queue() { return new_queue_of(kMaxCommandBuffers); }
Object* Device::new_queue_of(unsigned long max_command_buffers) { return new CommandQueue(this, max_command_buffers); }
Object* Device::new_event() { return new SharedEvent; }

CommandQueue::CommandQueue(Device* device, unsigned long max_command_buffers)
    : Labeled("MTLCommandQueue"),
      device_(device),
      max_command_buffers_(max_command_buffers),
      thread_([shared = shared_] { run(shared); }) {}

CommandQueue::~CommandQueue() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->ends = true;
  }
  shared_->changed.notify_all();
  // The last reference may be that of a command buffer whose thread this is.
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

Object* CommandQueue::command_buffer() { return new_command_buffer(true); }
Object* CommandQueue::command_buffer_with_unretained_references() { return new_command_buffer(false); }
Object* CommandQueue::command_buffer_of(Object* descriptor) {
  return new_command_buffer(static_cast<CommandBufferDescriptor*>(descriptor)->retains);
}

Object* CommandQueue::new_command_buffer(bool retains) {
  if (++command_buffers_ > max_command_buffers_) {
    fault("a command buffer more than the " + std::to_string(max_command_buffers_) +
          " of a queue: Metal waits until one completes");
  }
  return autoreleased(new CommandBuffer(this, device_.get(), retains));
}

void CommandQueue::enqueue(CommandBuffer* commands) {
  const std::lock_guard lock(shared_->mutex);
  shared_->commands.emplace_back(commands);
}

void CommandQueue::set_status(CommandBuffer& commands, unsigned long status) {
  {
    const std::lock_guard lock(shared_->mutex);
    commands.status_ = status;
  }
  shared_->changed.notify_all();
}

void CommandQueue::run(std::shared_ptr<Shared> shared) {
  std::unique_lock lock(shared->mutex);
  std::deque<Ref<CommandBuffer>>& waiting = shared->commands;
  for (;;) {
    // The first begins when something waits for it, or for one after it, or when its latency is over.
    if (waiting.empty() || !waiting.front()->is_committed()) {
      if (shared->ends) return;
      shared->changed.wait(lock);
      continue;
    }
    const bool is_awaited =
        std::any_of(waiting.begin(), waiting.end(), [](const auto& each) { return each->is_awaited(); });
    if (!is_awaited && Clock::now() < waiting.front()->begins()) {
      shared->changed.wait_until(lock, waiting.front()->begins());
      continue;
    }
    begin_work();
    Ref<CommandBuffer> commands = std::move(waiting.front());
    waiting.pop_front();
    lock.unlock();
    {
      const Ref<AutoreleasePool> pool = Ref<AutoreleasePool>::of_new(new AutoreleasePool);
      commands->execute();
    }
    commands = {};
    end_work();
    lock.lock();
  }
}

// Events

unsigned long SharedEvent::value() const {
  const std::lock_guard lock(mutex_);
  return value_;
}

void SharedEvent::set_value(unsigned long value) {
  {
    const std::lock_guard lock(mutex_);
    value_ = value;
  }
  changed_.notify_all();
}

bool SharedEvent::wait(unsigned long value, unsigned long milliseconds) {
  std::unique_lock lock(mutex_);
  const auto most = std::min<unsigned long>(milliseconds, 1000ul * 3600);
  return changed_.wait_for(lock, std::chrono::milliseconds(most), [&] { return value_ >= value; });
}

// Command buffers

EncoderInfo::EncoderInfo(const Pass& pass) : Labeled("MTLCommandBufferEncoderInfo"), state_(pass.state) {
  std::vector<Ref<Object>> texts;
  for (const std::string& text : pass.signposts) texts.push_back(Ref<Object>::of_new(new String(text)));
  signposts_ = Ref<Array>::of_new(new Array(std::move(texts)));
  const auto label = Ref<String>::of_new(new String(pass.label));
  set_label(label.get());
}

CommandBuffer::CommandBuffer(CommandQueue* queue, Device* device, bool retains)
    : Labeled("MTLCommandBuffer"), queue_(queue), device_(device), retains_(retains) {}

CommandBuffer::~CommandBuffer() {
  if (!finished_) {
    release_what_it_uses();
    queue_->forget_command_buffer();
  }
  for (Handler handler : completed_handlers_) release_block(handler);
  for (Handler handler : scheduled_handlers_) release_block(handler);
}

template <class Encoder>
Object* CommandBuffer::encoder(bool concurrent) {
  if (!is_open("an encoder")) return nullptr;
  if (encoding_) refuse("an encoder is made before the last one has ended");
  encoding_ = true;
  passes_.push_back(std::make_shared<Pass>());
  passes_.back()->concurrent = concurrent;
  return autoreleased(new Encoder(this, passes_.back()));
}

Object* CommandBuffer::compute_encoder_of(unsigned long dispatch_type) {
  return encoder<ComputeEncoder>(dispatch_type == MTL::DispatchTypeConcurrent);
}

Object* CommandBuffer::blit_encoder() { return encoder<BlitEncoder>(false); }

void CommandBuffer::signal(SharedEvent* event, unsigned long value) {
  if (!is_open("encodeSignalEvent")) return;
  if (encoding_) return refuse("encodeSignalEvent while an encoder is open");
  passes_.push_back(std::make_shared<Pass>());
  passes_.back()->commands.push_back(Signal{Ref<SharedEvent>(event), value});
}

void CommandBuffer::wait_for(SharedEvent* event, unsigned long value) {
  if (!is_open("encodeWait")) return;
  if (encoding_) return refuse("encodeWait while an encoder is open");
  passes_.push_back(std::make_shared<Pass>());
  passes_.back()->commands.push_back(Wait{Ref<SharedEvent>(event), value});
}

void CommandBuffer::add_completed_handler(Handler handler) {
  if (!is_open("addCompletedHandler")) return;
  completed_handlers_.push_back(copy_block(handler));
}

void CommandBuffer::add_scheduled_handler(Handler handler) {
  if (!is_open("addScheduledHandler")) return;
  scheduled_handlers_.push_back(copy_block(handler));
}

void CommandBuffer::enqueue() {
  if (enqueued_) return;
  enqueued_ = true;
  status_ = MTL::CommandBufferStatusEnqueued;
  queue_->enqueue(this);
}

void CommandBuffer::commit() {
  if (is_committed()) return fault("commit of a command buffer that is committed");
  if (encoding_) refuse("commit before the encoder has ended");
  enqueue();
  begins_ = Clock::now() +
            std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(settings().seconds_of_latency));
  queue_->set_status(*this, MTL::CommandBufferStatusCommitted);
}

void CommandBuffer::wait_until_completed() {
  if (!is_committed()) return fault("waitUntilCompleted of a command buffer that is not committed never returns");
  std::unique_lock lock(queue_->mutex());
  awaited_ = true;
  queue_->changed().notify_all();
  queue_->changed().wait(lock, [&] { return finished_.load(); });
}

void CommandBuffer::wait_until_scheduled() {
  if (!is_committed()) return fault("waitUntilScheduled of a command buffer that is not committed never returns");
  std::unique_lock lock(queue_->mutex());
  awaited_ = true;
  queue_->changed().notify_all();
  queue_->changed().wait(lock, [&] { return status_ >= MTL::CommandBufferStatusScheduled; });
}

unsigned long CommandBuffer::status() const { return status_; }

Object* CommandBuffer::error() const { return status_ == MTL::CommandBufferStatusError ? error_.get() : nullptr; }

bool CommandBuffer::is_open(const char* what) const {
  if (!is_committed()) return true;
  fault(std::string(what) + " after commit");
  return false;
}

void CommandBuffer::use(Object* object) {
  retains_ ? object->retain() : object->borrow();
  used_.push_back(object);
}

void CommandBuffer::release_what_it_uses() {
  for (Object* object : used_) retains_ ? object->release() : object->give_back();
  used_.clear();
}

void CommandBuffer::refuse(const std::string& what) {
  fault(what);
  if (refusal_.empty()) refusal_ = what;
}

void CommandBuffer::execute() {
  queue_->set_status(*this, MTL::CommandBufferStatusScheduled);
  for (Handler handler : scheduled_handlers_) handler(this);
  gpu_start_ = seconds(Clock::now());
  if (!refusal_.empty()) {
    finish(MTL::CommandBufferErrorInvalidResource, refusal_);
  } else if (!device_->runs_next()) {
    finish(static_cast<MTL::CommandBufferError>(device_->settings.command_buffer_error),
           device_->settings.name + " does not run command buffers any more");
  } else {
    MTL::CommandBufferError code = MTL::CommandBufferErrorNone;
    std::string what;
    for (const std::shared_ptr<Pass>& pass : passes_) {
      try {
        run(*pass);
        pass->state = MTL::CommandEncoderErrorStateCompleted;
      } catch (const emulator::Fault& found) {
        pass->state = MTL::CommandEncoderErrorStateFaulted;
        code = MTL::CommandBufferErrorInternal;
        what = found.what();
        fault(what);
        break;
      }
    }
    finish(code, what);
  }
  for (Handler handler : completed_handlers_) handler(this);
  finished_ = true;
  queue_->set_status(*this, status_);
}

void CommandBuffer::finish(MTL::CommandBufferError code, const std::string& what) {
  gpu_end_ = gpu_start_ + threads_run_ / device_->settings.threads_per_second;
  std::this_thread::sleep_until(
      Clock::time_point(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(gpu_end_))));
  release_what_it_uses();
  queue_->forget_command_buffer();
  if (code == MTL::CommandBufferErrorNone) {
    queue_->set_status(*this, MTL::CommandBufferStatusCompleted);
    return;
  }
  std::vector<Ref<Object>> encoders;
  for (const std::shared_ptr<Pass>& pass : passes_) {
    encoders.push_back(Ref<Object>::of_new(new EncoderInfo(*pass)));
  }
  const auto infos = Ref<Array>::of_new(new Array(std::move(encoders)));
  const auto key = Ref<String>::of_new(new String("MTLCommandBufferEncoderInfoErrorKey"));
  const auto details = Ref<Dictionary>::of_new(new Dictionary(infos.get(), key.get()));
  error_ = Ref<Error>::of_new(new Error("MTLCommandBufferErrorDomain", static_cast<long>(code), what, details.get()));
  queue_->set_status(*this, MTL::CommandBufferStatusError);
}

// In a concurrent pass a dispatch runs as late as barriers allow, so that one which needs an earlier one's result and
// has no barrier before it does not get it.
void CommandBuffer::run(const Pass& pass) {
  std::vector<const Dispatch*> waiting;
  std::vector<std::vector<const Barrier*>> barriers;  // after each
  const auto drain = [&] {
    while (!waiting.empty()) {
      size_t next = waiting.size() - 1;
      for (;; --next) {
        std::vector<const Barrier*> between;
        bool ready = true;
        for (size_t i = next; i-- > 0 && ready;) {
          between.insert(between.end(), barriers[i].begin(), barriers[i].end());
          ready = !is_ordered(*waiting[i], *waiting[next], between);
        }
        if (ready) break;
      }
      const Dispatch* dispatch = waiting[next];
      if (next > 0) barriers[next - 1].insert(barriers[next - 1].end(), barriers[next].begin(), barriers[next].end());
      waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(next));
      barriers.erase(barriers.begin() + static_cast<std::ptrdiff_t>(next));
      run(*dispatch);
    }
  };
  for (const Command& command : pass.commands) {
    if (const auto* dispatch = std::get_if<Dispatch>(&command)) {
      waiting.push_back(dispatch);
      barriers.emplace_back();
      if (!pass.concurrent) drain();
    } else if (const auto* barrier = std::get_if<Barrier>(&command)) {
      if (barrier->buffers.empty()) drain();
      if (!waiting.empty()) barriers.back().push_back(barrier);
    } else if (const auto* copy = std::get_if<Copy>(&command)) {
      std::memcpy(copy->to->bytes() + copy->to_offset, copy->from->bytes() + copy->from_offset, copy->bytes);
    } else if (const auto* fill = std::get_if<Fill>(&command)) {
      std::memset(fill->buffer->bytes() + fill->offset, fill->value, fill->bytes);
    } else if (const auto* signal = std::get_if<Signal>(&command)) {
      signal->event->set_value(signal->value);
    } else if (const auto* wait = std::get_if<Wait>(&command)) {
      const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience).count();
      if (!wait->event->wait(wait->value, static_cast<unsigned long>(patience))) {
        throw emulator::Fault("an event never gets the value " + std::to_string(wait->value));
      }
    }
  }
  drain();
}

void CommandBuffer::run(const Dispatch& dispatch) {
  const Function& function = dispatch.pipeline->function();
  emulator::Launch launch(function.kernel.name);
  for (const emulator::Parameter& parameter : parameters_of(function.kernel)) {
    const Binding& binding = dispatch.bindings.at(static_cast<unsigned long>(parameter.index));
    if (binding.buffer) {
      launch.buffer(parameter.index, binding.buffer->bytes() + binding.offset,
                    binding.buffer->length() - binding.offset);
    } else {
      launch.buffer(parameter.index, const_cast<std::byte*>(binding.bytes.data()), binding.bytes.size());
    }
  }
  for (const auto& [name, value] : function.constants) launch.constant(name, value.data(), value.size());
  const emulator::Order order = emulator::kOrders[static_cast<size_t>(dispatches_++) % std::size(emulator::kOrders)];
  launch.run_threads(emulator_size(dispatch.grid), emulator_size(dispatch.threads), order);
  threads_run_ += static_cast<double>(volume(dispatch.grid));
}

// Encoders

CommandEncoder::CommandEncoder(const char* class_name, CommandBuffer* commands, std::shared_ptr<Pass> pass)
    : Labeled(class_name), commands_(commands), pass_(std::move(pass)) {}

CommandEncoder::~CommandEncoder() {
  if (!ended_) fault("an encoder is released that has not ended");
}

bool CommandEncoder::is_open(const char* what) {
  if (!ended_) return true;
  refuse(std::string(what) + " after endEncoding");
  return false;
}

void CommandEncoder::end() {
  if (!is_open("endEncoding")) return;
  ended_ = true;
  commands_->end_encoder();
}

void CommandEncoder::insert_signpost(String* text) { pass_->signposts.push_back(text->text()); }

void CommandEncoder::set_encoder_label(String* label) {
  set_label(label);
  pass_->label = label_text();
}

void ComputeEncoder::set_pipeline(PipelineState* pipeline) {
  if (!is_open("setComputePipelineState")) return;
  if (!pipeline) return refuse("setComputePipelineState without one");
  if (!is_of_device("setComputePipelineState", pipeline)) return;
  commands_->use(pipeline);
  next_.pipeline = pipeline;
}

void ComputeEncoder::set_buffer(Buffer* buffer, unsigned long offset, unsigned long index) {
  if (!is_open("setBuffer")) return;
  if (index >= kIndices) return refuse("setBuffer at index " + std::to_string(index) + " of 31");
  if (!buffer) {
    next_.bindings.erase(index);
    return;
  }
  if (!is_of_device("setBuffer", buffer)) return;
  commands_->use(buffer);
  next_.bindings[index] = {buffer, 0, {}};
  set_buffer_offset(offset, index);
}

void ComputeEncoder::set_buffer_offset(unsigned long offset, unsigned long index) {
  if (!is_open("setBufferOffset")) return;
  const auto bound = next_.bindings.find(index);
  if (bound == next_.bindings.end() || !bound->second.buffer) {
    return refuse("setBufferOffset at index " + std::to_string(index) + ", which has no buffer");
  }
  if (offset >= bound->second.buffer->length()) {
    return refuse("setBuffer with offset " + std::to_string(offset) + " of " +
                  std::to_string(bound->second.buffer->length()) + " bytes");
  }
  bound->second.offset = offset;
}

void ComputeEncoder::set_bytes(const void* bytes, unsigned long length, unsigned long index) {
  if (!is_open("setBytes")) return;
  if (index >= kIndices) return refuse("setBytes at index " + std::to_string(index) + " of 31");
  if (length == 0 || length > kMaxBytes) return refuse("setBytes of " + std::to_string(length) + " bytes, 1 to 4096");
  const auto* first = static_cast<const std::byte*>(bytes);
  next_.bindings[index] = {nullptr, 0, {first, first + length}};
}

void ComputeEncoder::set_threadgroup_memory(unsigned long length, unsigned long index) {
  if (!is_open("setThreadgroupMemoryLength")) return;
  if (index >= kIndices || length % 16 != 0 || length > 32 * 1024) {
    refuse("setThreadgroupMemoryLength of " + std::to_string(length) + " bytes at index " + std::to_string(index));
  }
}

void ComputeEncoder::dispatch_threadgroups(MTL::Size threadgroups, MTL::Size threads) {
  dispatch("dispatchThreadgroups",
           MTL::Size(threadgroups.width * threads.width, threadgroups.height * threads.height,
                     threadgroups.depth * threads.depth),
           threads);
}

void ComputeEncoder::dispatch_threads(MTL::Size grid, MTL::Size threads) { dispatch("dispatchThreads", grid, threads); }

// What is wrong with the next dispatch, or nothing.
std::string ComputeEncoder::mistake(MTL::Size grid, MTL::Size threads) const {
  if (volume(grid) == 0 || volume(threads) == 0) {
    return "no threads: " + text(grid) + " in threadgroups of " + text(threads);
  }
  if (volume(threads) > next_.pipeline->max_threads()) {
    return std::to_string(volume(threads)) + " threads in a threadgroup, the pipeline has at most " +
           std::to_string(next_.pipeline->max_threads());
  }
  const bool is_apple = static_cast<Device*>(next_.pipeline->device())->is_apple();
  for (const emulator::Parameter& parameter : parameters_of(next_.pipeline->function().kernel)) {
    const auto bound = next_.bindings.find(static_cast<unsigned long>(parameter.index));
    const std::string name = std::string(parameter.name) + " (" + std::to_string(parameter.index) + ")";
    if (bound == next_.bindings.end()) return "nothing is bound to " + name;
    const Binding& binding = bound->second;
    const size_t bytes = binding.buffer ? binding.buffer->length() - binding.offset : binding.bytes.size();
    const size_t least = std::max(parameter.least_bytes, parameter.alignment);
    if (bytes < least) {
      return std::to_string(bytes) + " bytes are bound to " + name + ", which has " + std::to_string(least);
    }
    const size_t alignment = std::max<size_t>(parameter.alignment, parameter.is_constant && !is_apple ? 32 : 4);
    if (binding.offset % alignment != 0) {
      return "the offset " + std::to_string(binding.offset) + " of " + name + " is not a multiple of " +
             std::to_string(alignment);
    }
  }
  return "";
}

void ComputeEncoder::dispatch(const char* what, MTL::Size grid, MTL::Size threads) {
  if (!is_open(what)) return;
  if (!next_.pipeline) return refuse(std::string(what) + " without a pipeline");
  const std::string found = mistake(grid, threads);
  if (!found.empty()) return refuse(std::string("[") + next_.pipeline->function().kernel.name + "] " + found);
  next_.grid = grid;
  next_.threads = threads;
  pass_->commands.push_back(next_);
}

void ComputeEncoder::barrier(unsigned long scope) {
  if (!is_open("memoryBarrier")) return;
  if (scope & MTL::BarrierScopeBuffers) pass_->commands.push_back(Barrier{});
}

void ComputeEncoder::barrier_of(Buffer* const* buffers, unsigned long count) {
  if (!is_open("memoryBarrier")) return;
  if (count > 0) pass_->commands.push_back(Barrier{{buffers, buffers + count}});
}

void ComputeEncoder::use_resource(Buffer* buffer, unsigned long) {
  if (is_open("useResource")) commands_->use(buffer);
}

bool BlitEncoder::is_possible(const char* what, Buffer* buffer, size_t offset, size_t bytes) {
  if (!is_open(what)) return false;
  if (buffer && bytes > 0 && offset <= buffer->length() && bytes <= buffer->length() - offset && offset % 4 == 0 &&
      bytes % 4 == 0) {
    return true;
  }
  refuse(std::string(what) + " of " + std::to_string(bytes) + " bytes from " + std::to_string(offset) +
         " on, multiples of 4 within " + std::to_string(buffer ? buffer->length() : 0));
  return false;
}

void BlitEncoder::copy(Buffer* from, unsigned long from_offset, Buffer* to, unsigned long to_offset,
                       unsigned long bytes) {
  if (!is_possible("copyFromBuffer", from, from_offset, bytes)) return;
  if (!is_possible("copyFromBuffer, to a buffer,", to, to_offset, bytes)) return;
  if (!is_of_device("copyFromBuffer", from) || !is_of_device("copyFromBuffer", to)) return;
  if (from == to && from_offset < to_offset + bytes && to_offset < from_offset + bytes) {
    return refuse("copyFromBuffer between ranges that overlap");
  }
  commands_->use(from);
  commands_->use(to);
  pass_->commands.push_back(Copy{from, to, from_offset, to_offset, bytes});
}

void BlitEncoder::fill(Buffer* buffer, NS::Range range, unsigned char value) {
  if (!is_possible("fillBuffer", buffer, range.location, range.length)) return;
  if (!is_of_device("fillBuffer", buffer)) return;
  commands_->use(buffer);
  pass_->commands.push_back(Fill{buffer, range.location, range.length, value});
}

void add_commands(MethodTable& table) {
  table["MTLCommandQueue"].of_instances = {
      {"label", kMethod<&CommandQueue::label>},
      {"setLabel:", kMethod<&CommandQueue::set_label>},
      {"device", kMethod<&CommandQueue::device>},
      {"commandBuffer", kMethod<&CommandQueue::command_buffer>},
      {"commandBufferWithUnretainedReferences", kMethod<&CommandQueue::command_buffer_with_unretained_references>},
      {"commandBufferWithDescriptor:", kMethod<&CommandQueue::command_buffer_of>},
  };
  table["MTLSharedEvent"].of_instances = {
      {"label", kMethod<&SharedEvent::label>},
      {"setLabel:", kMethod<&SharedEvent::set_label>},
      {"signaledValue", kMethod<&SharedEvent::value>},
      {"setSignaledValue:", kMethod<&SharedEvent::set_value>},
      {"waitUntilSignaledValue:timeoutMS:", kMethod<&SharedEvent::wait>},
  };
  table["MTLCommandBufferDescriptor"] = {
      {{"alloc", kMethod<&allocate<CommandBufferDescriptor>>}},
      {
          {"retainedReferences", kMethod<&CommandBufferDescriptor::retained_references>},
          {"setRetainedReferences:", kMethod<&CommandBufferDescriptor::set_retained_references>},
          {"errorOptions", kMethod<&CommandBufferDescriptor::error_options>},
          {"setErrorOptions:", kMethod<&CommandBufferDescriptor::set_error_options>},
      },
  };
  table["MTLCommandBufferEncoderInfo"].of_instances = {
      {"label", kMethod<&EncoderInfo::label>},
      {"errorState", kMethod<&EncoderInfo::error_state>},
      {"debugSignposts", kMethod<&EncoderInfo::signposts>},
  };
  table["MTLCommandBuffer"].of_instances = {
      {"label", kMethod<&CommandBuffer::label>},
      {"setLabel:", kMethod<&CommandBuffer::set_label>},
      {"device", kMethod<&CommandBuffer::device>},
      {"commandQueue", kMethod<&CommandBuffer::queue>},
      {"retainedReferences", kMethod<&CommandBuffer::retains>},
      {"computeCommandEncoder", kMethod<&CommandBuffer::compute_encoder>},
      {"computeCommandEncoderWithDispatchType:", kMethod<&CommandBuffer::compute_encoder_of>},
      {"blitCommandEncoder", kMethod<&CommandBuffer::blit_encoder>},
      {"encodeSignalEvent:value:", kMethod<&CommandBuffer::signal>},
      {"encodeWaitForEvent:value:", kMethod<&CommandBuffer::wait_for>},
      {"addCompletedHandler:", kMethod<&CommandBuffer::add_completed_handler>},
      {"addScheduledHandler:", kMethod<&CommandBuffer::add_scheduled_handler>},
      {"enqueue", kMethod<&CommandBuffer::enqueue>},
      {"commit", kMethod<&CommandBuffer::commit>},
      {"waitUntilCompleted", kMethod<&CommandBuffer::wait_until_completed>},
      {"waitUntilScheduled", kMethod<&CommandBuffer::wait_until_scheduled>},
      {"status", kMethod<&CommandBuffer::status>},
      {"error", kMethod<&CommandBuffer::error>},
      {"GPUStartTime", kMethod<&CommandBuffer::gpu_start>},
      {"GPUEndTime", kMethod<&CommandBuffer::gpu_end>},
  };
  const Methods of_encoders = {
      {"label", kMethod<&CommandEncoder::label>},
      {"setLabel:", kMethod<&CommandEncoder::set_encoder_label>},
      {"endEncoding", kMethod<&CommandEncoder::end>},
      {"insertDebugSignpost:", kMethod<&CommandEncoder::insert_signpost>},
      {"pushDebugGroup:", kMethod<&CommandEncoder::push_group>},
      {"popDebugGroup", kMethod<&CommandEncoder::pop_group>},
  };
  table["MTLComputeCommandEncoder"].of_instances = {
      {"setComputePipelineState:", kMethod<&ComputeEncoder::set_pipeline>},
      {"setBuffer:offset:atIndex:", kMethod<&ComputeEncoder::set_buffer>},
      {"setBufferOffset:atIndex:", kMethod<&ComputeEncoder::set_buffer_offset>},
      {"setBytes:length:atIndex:", kMethod<&ComputeEncoder::set_bytes>},
      {"setThreadgroupMemoryLength:atIndex:", kMethod<&ComputeEncoder::set_threadgroup_memory>},
      {"dispatchThreadgroups:threadsPerThreadgroup:", kMethod<&ComputeEncoder::dispatch_threadgroups>},
      {"dispatchThreads:threadsPerThreadgroup:", kMethod<&ComputeEncoder::dispatch_threads>},
      {"memoryBarrierWithScope:", kMethod<&ComputeEncoder::barrier>},
      {"memoryBarrierWithResources:count:", kMethod<&ComputeEncoder::barrier_of>},
      {"useResource:usage:", kMethod<&ComputeEncoder::use_resource>},
  };
  table["MTLComputeCommandEncoder"].of_instances.insert(of_encoders.begin(), of_encoders.end());
  table["MTLBlitCommandEncoder"].of_instances = {
      {"copyFromBuffer:sourceOffset:toBuffer:destinationOffset:size:", kMethod<&BlitEncoder::copy>},
      {"fillBuffer:range:value:", kMethod<&BlitEncoder::fill>},
      {"synchronizeResource:", kMethod<&BlitEncoder::synchronize>},
  };
  table["MTLBlitCommandEncoder"].of_instances.insert(of_encoders.begin(), of_encoders.end());
}

}  // namespace fake_metal
