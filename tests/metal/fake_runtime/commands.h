// What runs: queues, command buffers, encoders and events.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <optional>
#include <thread>
#include <variant>

#include "metal.h"

namespace fake_metal {

class CommandBuffer;

class CommandQueue : public Labeled {
 public:
  CommandQueue(Device* device, unsigned long max_command_buffers);
  ~CommandQueue() override;

  Object* device() const { return device_.get(); }
  Object* command_buffer();
  Object* command_buffer_with_unretained_references();
  Object* command_buffer_of(Object* descriptor);

  void enqueue(CommandBuffer* commands);
  void set_status(CommandBuffer& commands, unsigned long status);
  std::mutex& mutex() { return shared_->mutex; }
  std::condition_variable& changed() { return shared_->changed; }
  void forget_command_buffer() { --command_buffers_; }

 private:
  // Outlives the queue while its thread ends.
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Ref<CommandBuffer>> commands;
    bool ends = false;
  };
  static void run(std::shared_ptr<Shared> shared);
  Object* new_command_buffer(bool retains);

  const Ref<Device> device_;
  const unsigned long max_command_buffers_;
  std::atomic<unsigned long> command_buffers_ = 0;
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

class SharedEvent : public Labeled {
 public:
  SharedEvent() : Labeled("MTLSharedEvent") {}

  unsigned long value() const;
  void set_value(unsigned long value);
  bool wait(unsigned long value, unsigned long milliseconds);

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  unsigned long value_ = 0;
};

struct Binding {
  Buffer* buffer = nullptr;
  size_t offset = 0;
  std::vector<std::byte> bytes;
};
struct Dispatch {
  PipelineState* pipeline = nullptr;
  std::map<unsigned long, Binding> bindings;
  MTL::Size threads, grid;  // threads of a threadgroup, threads of all
};
// Later dispatches wait for earlier ones: all, or those that use one of the buffers.
struct Barrier {
  std::set<const Buffer*> buffers;
};
struct Copy {
  Buffer *from, *to;
  size_t from_offset, to_offset, bytes;
};
struct Fill {
  Buffer* buffer;
  size_t offset, bytes;
  uint8_t value;
};
struct Signal {
  Ref<SharedEvent> event;
  unsigned long value;
};
struct Wait {
  Ref<SharedEvent> event;
  unsigned long value;
};
using Command = std::variant<Dispatch, Barrier, Copy, Fill, Signal, Wait>;

// What an encoder wrote.
struct Pass {
  bool concurrent = false;
  std::vector<Command> commands;
  std::string label;
  std::vector<std::string> signposts;
  MTL::CommandEncoderErrorState state = MTL::CommandEncoderErrorStatePending;
};

class CommandBufferDescriptor : public Object {
 public:
  CommandBufferDescriptor() : Object("MTLCommandBufferDescriptor") {}

  bool retained_references() const { return retains; }
  void set_retained_references(bool retained) { retains = retained; }
  unsigned long error_options() const { return error_options_; }
  void set_error_options(unsigned long options) { error_options_ = options; }

  bool retains = true;

 private:
  unsigned long error_options_ = 0;
};

class EncoderInfo : public Labeled {
 public:
  explicit EncoderInfo(const Pass& pass);

  long error_state() const { return state_; }
  Object* signposts() const { return signposts_.get(); }

 private:
  const long state_;
  Ref<Array> signposts_;
};

class CommandBuffer : public Labeled {
 public:
  using Handler = void (^)(CommandBuffer*);

  CommandBuffer(CommandQueue* queue, Device* device, bool retains);
  ~CommandBuffer() override;

  Object* device() const { return device_.get(); }
  Object* queue() const { return queue_.get(); }
  bool retains() const { return retains_; }
  Object* compute_encoder() { return compute_encoder_of(MTL::DispatchTypeSerial); }
  Object* compute_encoder_of(unsigned long dispatch_type);
  Object* blit_encoder();
  void signal(SharedEvent* event, unsigned long value);
  void wait_for(SharedEvent* event, unsigned long value);
  void add_completed_handler(Handler handler);
  void add_scheduled_handler(Handler handler);
  void enqueue();
  void commit();
  void wait_until_completed();
  void wait_until_scheduled();
  unsigned long status() const;
  Object* error() const;
  double gpu_start() const { return gpu_start_; }
  double gpu_end() const { return gpu_end_; }

  // For encoders.
  bool is_open(const char* what) const;
  void use(Object* object);
  void end_encoder() { encoding_ = false; }
  // A fault of the encoding: the command buffer will not complete.
  void refuse(const std::string& what);

  // For the queue, under its mutex.
  bool is_committed() const { return status_ >= MTL::CommandBufferStatusCommitted; }
  bool is_awaited() const { return awaited_; }
  std::chrono::steady_clock::time_point begins() const { return begins_; }
  void execute();

 private:
  friend class CommandQueue;

  template <class Encoder>
  Object* encoder(bool concurrent);
  void run(const Pass& pass);
  void run(const Dispatch& dispatch);
  void finish(MTL::CommandBufferError code, const std::string& what);
  void release_what_it_uses();

  const Ref<CommandQueue> queue_;
  const Ref<Device> device_;
  const bool retains_;
  bool encoding_ = false, enqueued_ = false;
  std::vector<std::shared_ptr<Pass>> passes_;
  std::vector<Object*> used_;
  std::vector<Handler> completed_handlers_, scheduled_handlers_;
  std::string refusal_;
  std::atomic<unsigned long> status_ = MTL::CommandBufferStatusNotEnqueued;
  std::atomic<bool> finished_ = false;  // with its handlers
  bool awaited_ = false;
  std::chrono::steady_clock::time_point begins_;  // if nothing waits for it
  Ref<Error> error_;
  double gpu_start_ = 0, gpu_end_ = 0;
  double threads_run_ = 0;
  int dispatches_ = 0;
};

class CommandEncoder : public Labeled {
 public:
  CommandEncoder(const char* class_name, CommandBuffer* commands, std::shared_ptr<Pass> pass);
  ~CommandEncoder() override;

  Object* command_buffer() const { return commands_.get(); }
  void end();
  void insert_signpost(String* text);
  void push_group(String*) {}
  void pop_group() {}
  void set_encoder_label(String* label);

 protected:
  bool is_open(const char* what);
  // Whether the buffer or pipeline is one of the command buffer's device.
  template <class T>
  bool is_of_device(const char* what, const T* object) {
    if (object->device() == commands_->device()) return true;
    refuse(std::string(what) + ": " + object->is_a()->name + " of another device");
    return false;
  }
  void refuse(const std::string& what) { commands_->refuse(what); }

  const Ref<CommandBuffer> commands_;
  const std::shared_ptr<Pass> pass_;

 private:
  bool ended_ = false;
};

class ComputeEncoder : public CommandEncoder {
 public:
  ComputeEncoder(CommandBuffer* commands, std::shared_ptr<Pass> pass)
      : CommandEncoder("MTLComputeCommandEncoder", commands, std::move(pass)) {}

  void set_pipeline(PipelineState* pipeline);
  void set_buffer(Buffer* buffer, unsigned long offset, unsigned long index);
  void set_buffer_offset(unsigned long offset, unsigned long index);
  void set_bytes(const void* bytes, unsigned long length, unsigned long index);
  void set_threadgroup_memory(unsigned long length, unsigned long index);
  void dispatch_threadgroups(MTL::Size threadgroups, MTL::Size threads);
  void dispatch_threads(MTL::Size grid, MTL::Size threads);
  void barrier(unsigned long scope);
  void barrier_of(Buffer* const* buffers, unsigned long count);
  void use_resource(Buffer* buffer, unsigned long usage);

 private:
  void dispatch(const char* what, MTL::Size grid, MTL::Size threads);
  std::string mistake(MTL::Size grid, MTL::Size threads) const;

  Dispatch next_;
};

class BlitEncoder : public CommandEncoder {
 public:
  BlitEncoder(CommandBuffer* commands, std::shared_ptr<Pass> pass)
      : CommandEncoder("MTLBlitCommandEncoder", commands, std::move(pass)) {}

  void copy(Buffer* from, unsigned long from_offset, Buffer* to, unsigned long to_offset, unsigned long bytes);
  void fill(Buffer* buffer, NS::Range range, unsigned char value);
  void synchronize(Buffer*) {}

 private:
  // Whether the range is inside the buffer and a multiple of four.
  bool is_possible(const char* what, Buffer* buffer, size_t offset, size_t bytes);
};

}  // namespace fake_metal
