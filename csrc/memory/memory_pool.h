// MemoryPool: reuses buffers by size, under a limit, and counts what it gives out.
#pragma once

#include <cstddef>
#include <memory>

namespace tritium {

// What a buffer is for. Static strings, so that an error can say it and the pool can count by it.
inline constexpr const char* kWeightsMemory = "packed weights";
inline constexpr const char* kCacheMemory = "the KV cache";
inline constexpr const char* kArenaMemory = "the arena";
inline constexpr const char* kOutputMemory = "the outputs";

struct MemoryStats {
  size_t active = 0;  // bytes in use
  size_t peak = 0;    // the most that were ever in use
  size_t cached = 0;  // bytes kept for reuse
  size_t limit = 0;   // active + cached never pass it
};

class MemoryPool {
 public:
  explicit MemoryPool(size_t limit);
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // One piece of memory, aligned to kAlignment; goes back to the pool when destroyed. It may outlive the pool.
  class Buffer {
   public:
    Buffer() = default;
    ~Buffer();
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    void* data() const { return data_; }
    size_t size() const { return size_; }  // bytes, as asked for
    template <class T>
    T* as() const {
      return static_cast<T*>(data_);
    }

   private:
    friend class MemoryPool;
    struct Shared;
    std::shared_ptr<Shared> pool_;
    void* data_ = nullptr;
    size_t size_ = 0;
    size_t capacity_ = 0;
    const char* what_ = nullptr;
  };

  // The contents are not initialised. MemoryLimitError names `what`, the bytes asked for and the limit.
  Buffer allocate(size_t bytes, const char* what);

  // Gives the cached buffers back to the system.
  void trim();

  MemoryStats stats() const;
  // Bytes in use that were allocated for `what`.
  size_t active(const char* what) const;

 private:
  std::shared_ptr<Buffer::Shared> shared_;
};

}  // namespace tritium
