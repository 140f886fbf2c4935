// SampleStream: samples of a network arrive one by one, run in micro-batches on a thread of the stream, and their
// results come in the same order: to a callback, or to a consumer who asks for them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>

#include "engine/engine.h"

namespace tritium {

struct StreamOptions {
  int64_t buffer_size = 4 * kDefaultBatchSize;  // samples under way at most; a micro-batch has up to half of them
  std::chrono::microseconds max_wait{2000};     // after which a micro-batch that is not full runs
};

// What became of one sample: y, or an error that is not null.
struct SampleResult {
  int64_t index;             // of the sample among all, from 0
  std::span<const float> y;  // (elements of output_shape); valid until the next result is asked for or called back
  std::exception_ptr error;  // where a call with several samples fails, its halves run, down to those that fail alone

  // y; throws the error if there is one.
  std::span<const float> get() const {
    if (error) std::rethrow_exception(error);
    return y;
  }
};

// A sample is under way from its push until the next result after its own is asked for, or its callback has returned.
// Nothing is allocated for a sample. Several threads may push, one may ask for results. In the child after fork() every
// call is a DeviceError.
class SampleStream {
 public:
  using Callback = std::function<void(const SampleResult&)>;

  // Results are asked for by next(), or in a range-based for over the stream.
  // BatchProcessingError if the model is a language model, buffer_size is below 1 or max_wait below 0.
  SampleStream(std::shared_ptr<InferenceEngine> engine, std::shared_ptr<const Model> model,
               const StreamOptions& options = {});
  // Results are called back on the thread of the stream. A callback that throws cancels the stream; push and wait then
  // throw the same. A callback that pushes must not wait for room: it takes try_push.
  SampleStream(std::shared_ptr<InferenceEngine> engine, std::shared_ptr<const Model> model,
               const StreamOptions& options, Callback callback);
  // Cancels, and waits for the micro-batch or the callback that runs. No other thread may still push or wait, and it
  // must not be a callback that destroys its stream.
  ~SampleStream();
  SampleStream(const SampleStream&) = delete;
  SampleStream& operator=(const SampleStream&) = delete;

  // Copies a sample (elements of input_shape); waits while the buffer is full. BatchProcessingError if it has another
  // size, or after finish() or cancel().
  void push(std::span<const float> sample);
  // The same without waiting: false if the buffer is full.
  bool try_push(std::span<const float> sample);
  // No more samples come; those under way run.
  void finish();
  // Drops what does not run yet; wakes whoever waits. A consumer gets no more results.
  void cancel();
  // Waits until every sample has been called back or the stream is cancelled; call finish() before.
  // BatchProcessingError if there is no callback, or if it is the callback that waits.
  void wait();

  // The next result, waited for; none after the last one, after finish(), or after cancel().
  // BatchProcessingError if there is a callback.
  std::optional<SampleResult> next();

  // An input iterator over next(). Dereferencing gives y and throws the sample's error; the loop may go on after it.
  class Iterator {
   public:
    using value_type = std::span<const float>;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    explicit Iterator(SampleStream& stream) : stream_(&stream), result_(stream.next()) {}
    std::span<const float> operator*() const { return result_->get(); }
    Iterator& operator++() {
      result_ = stream_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return !result_; }

   private:
    SampleStream* stream_;
    std::optional<SampleResult> result_;
  };
  Iterator begin() { return Iterator(*this); }
  static std::default_sentinel_t end() { return std::default_sentinel; }

 private:
  struct State;

  std::unique_ptr<State> state_;
};

}  // namespace tritium
