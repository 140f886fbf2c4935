#include "engine/sample_stream.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/process_guard.h"

namespace tritium {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kLongestWait = std::chrono::hours(24 * 365);  // a time point must hold it

}  // namespace

// A ring of `capacity` samples. Each moves on from pushed to ran to freed; the counters never fall, and sample i lies
// at place i % capacity.
struct SampleStream::State {
  State(std::shared_ptr<InferenceEngine> engine_in, std::shared_ptr<const Model> model_in, const StreamOptions& options,
        Callback callback_in)
      : engine(std::move(engine_in)), model(std::move(model_in)), callback(std::move(callback_in)) {
    if (model->is_language_model()) {
      throw BatchProcessingError(
          concat("[stream] '", model->name(), "' is a language model that takes token ids, not float32 samples"));
    }
    if (options.buffer_size < 1) {
      throw BatchProcessingError(concat("[stream] buffer_size must be at least 1, got ", options.buffer_size));
    }
    if (options.max_wait.count() < 0) {
      throw BatchProcessingError(
          concat("[stream] max_wait must be at least 0, got ", options.max_wait.count(), " microseconds"));
    }
    capacity = options.buffer_size;
    half = std::max<int64_t>(1, capacity / 2);
    max_wait = std::min(options.max_wait, kLongestWait);
    width = element_count(model->input_shape());
    height = element_count(model->output_shape());
    inputs.resize(static_cast<size_t>(capacity * width));
    outputs.resize(static_cast<size_t>(capacity * height));
    arrivals.resize(static_cast<size_t>(capacity));
    errors.resize(static_cast<size_t>(capacity));
    try {
      worker = std::thread([this] { work(); });
    } catch (const std::system_error& error) {
      throw DeviceError(concat("[stream] no thread could be started: ", error.what()));
    }
  }

  void check(std::span<const float> sample) const {
    guard.check("a SampleStream");
    if (static_cast<int64_t>(sample.size()) != width) {
      throw BatchProcessingError(concat("[stream] a sample of ", shape_text(model->input_shape()), " has ", width,
                                        " numbers, got ", sample.size()));
    }
  }

  bool has_room() const { return pushed - freed < capacity; }

  // The lock is held, and there is room unless the stream has ended.
  void add(std::span<const float> sample) {
    if (failure) std::rethrow_exception(failure);
    if (cancelled) throw BatchProcessingError("[stream] a sample was pushed after cancel()");
    if (finished) throw BatchProcessingError("[stream] a sample was pushed after finish()");
    const int64_t place = pushed % capacity;
    std::copy(sample.begin(), sample.end(), inputs.begin() + place * width);
    arrivals[static_cast<size_t>(place)] = Clock::now();
    ++pushed;
    if (pushed - ran == 1 || pushed - ran == full_batch()) work_came.notify_one();
  }

  void free_one() {
    ++freed;
    room_came.notify_one();
  }

  // The lock is held.
  void stop(std::exception_ptr error) {
    cancelled = true;
    if (error && !failure) failure = std::move(error);
    work_came.notify_all();
    room_came.notify_all();
    result_came.notify_all();
  }

  // Samples of the next micro-batch at most: they lie side by side in the ring.
  int64_t full_batch() const { return std::min(half, capacity - ran % capacity); }

  // How many samples are to run now; 0 if no more will. The lock is held, but not meanwhile.
  int64_t next_batch(std::unique_lock<std::mutex>& lock) {
    const auto is_complete = [this] { return cancelled || finished || pushed - ran >= full_batch(); };
    work_came.wait(lock, [&] { return is_complete() || pushed > ran; });
    if (!is_complete()) {
      work_came.wait_until(lock, arrivals[static_cast<size_t>(ran % capacity)] + max_wait, is_complete);
    }
    return cancelled ? 0 : std::min(pushed - ran, full_batch());
  }

  void work() {
    std::unique_lock lock(mutex);
    while (const int64_t count = next_batch(lock)) {
      lock.unlock();
      run(ran % capacity, count);  // only this thread changes `ran`
      lock.lock();
      ran += count;
      if (callback) {
        call_back(lock);
      } else {
        result_came.notify_all();
      }
    }
    stopped = true;
    result_came.notify_all();
  }

  void run(int64_t place, int64_t count) {
    const std::span<const float> x(inputs.data() + place * width, static_cast<size_t>(count * width));
    const std::span<float> y(outputs.data() + place * height, static_cast<size_t>(count * height));
    try {
      engine->infer(model, x, y);
      return;
    } catch (...) {
      if (count == 1) errors[static_cast<size_t>(place)] = std::current_exception();
    }
    if (count == 1) return;
    run(place, count / 2);
    run(place + count / 2, count - count / 2);
  }

  // Takes the error along, so that the place is free for the next sample.
  SampleResult result() {
    const int64_t place = freed % capacity;
    if (auto error = std::exchange(errors[static_cast<size_t>(place)], nullptr)) return {freed, {}, std::move(error)};
    return {freed, {outputs.data() + place * height, static_cast<size_t>(height)}, nullptr};
  }

  void call_back(std::unique_lock<std::mutex>& lock) {
    while (freed < ran && !cancelled) {
      const SampleResult one = result();
      lock.unlock();
      std::exception_ptr thrown;
      try {
        callback(one);
      } catch (...) {
        thrown = std::current_exception();
      }
      lock.lock();
      free_one();
      if (thrown) stop(std::move(thrown));
    }
  }

  const std::shared_ptr<InferenceEngine> engine;
  const std::shared_ptr<const Model> model;
  const Callback callback;
  int64_t capacity, half, width, height;  // samples, samples, numbers, numbers
  std::chrono::microseconds max_wait;
  ProcessGuard guard;

  std::vector<float> inputs;   // (capacity, width)
  std::vector<float> outputs;  // (capacity, height)
  std::vector<Clock::time_point> arrivals;
  std::vector<std::exception_ptr> errors;

  std::mutex mutex;
  std::condition_variable work_came, room_came, result_came;
  int64_t pushed = 0, ran = 0, freed = 0;
  bool finished = false, cancelled = false, stopped = false;
  bool handed_out = false;  // the consumer has the result of sample `freed`
  std::exception_ptr failure;
  std::thread worker;
};

SampleStream::SampleStream(std::shared_ptr<InferenceEngine> engine, std::shared_ptr<const Model> model,
                           const StreamOptions& options)
    : SampleStream(std::move(engine), std::move(model), options, nullptr) {}

SampleStream::SampleStream(std::shared_ptr<InferenceEngine> engine, std::shared_ptr<const Model> model,
                           const StreamOptions& options, Callback callback)
    : state_(std::make_unique<State>(std::move(engine), std::move(model), options, std::move(callback))) {}

SampleStream::~SampleStream() {
  if (state_->guard.is_owner()) {
    cancel();
    state_->worker.join();
  } else {
    // The worker stayed in the parent process: nothing here can be joined, detached or destroyed safely.
    static_cast<void>(state_.release());
  }
}

void SampleStream::push(std::span<const float> sample) {
  state_->check(sample);
  std::unique_lock lock(state_->mutex);
  state_->room_came.wait(lock, [&] { return state_->cancelled || state_->finished || state_->has_room(); });
  state_->add(sample);
}

bool SampleStream::try_push(std::span<const float> sample) {
  state_->check(sample);
  std::lock_guard lock(state_->mutex);
  if (!state_->cancelled && !state_->finished && !state_->has_room()) return false;
  state_->add(sample);
  return true;
}

void SampleStream::finish() {
  state_->guard.check("a SampleStream");
  std::lock_guard lock(state_->mutex);
  state_->finished = true;
  state_->work_came.notify_all();
  state_->room_came.notify_all();
  state_->result_came.notify_all();
}

void SampleStream::cancel() {
  state_->guard.check("a SampleStream");
  std::lock_guard lock(state_->mutex);
  state_->stop(nullptr);
}

void SampleStream::wait() {
  state_->guard.check("a SampleStream");
  if (!state_->callback)
    throw BatchProcessingError("[stream] wait() needs a callback; results are asked for by next()");
  if (std::this_thread::get_id() == state_->worker.get_id()) {
    throw BatchProcessingError("[stream] a callback cannot wait for itself");
  }
  std::unique_lock lock(state_->mutex);
  state_->result_came.wait(lock, [&] { return state_->stopped; });
  if (state_->failure) std::rethrow_exception(state_->failure);
}

std::optional<SampleResult> SampleStream::next() {
  State& state = *state_;
  state.guard.check("a SampleStream");
  if (state.callback) throw BatchProcessingError("[stream] results go to the callback; next() has none");
  std::unique_lock lock(state.mutex);
  if (std::exchange(state.handed_out, false)) state.free_one();
  state.result_came.wait(lock, [&] {
    return state.cancelled || state.ran > state.freed || (state.finished && state.ran == state.pushed);
  });
  if (state.cancelled || state.ran == state.freed) return std::nullopt;
  state.handed_out = true;
  return state.result();
}

}  // namespace tritium
