// MemoryPool: reuses buffers by size, under limits, and counts what it gives out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace tritium {

// What a buffer is for.
struct MemoryUse {
  const char* name;      // static; in errors, and what the pool counts by
  bool working = true;   // needed while something runs: under the limit of working memory, too
  bool reusable = true;  // kept for the next buffer of its size; otherwise the system has it back at once
};

inline constexpr MemoryUse kWeightsMemory{"packed weights", false, false};
inline constexpr MemoryUse kCacheMemory{"the KV cache", false};
inline constexpr MemoryUse kMeasurementMemory{"the measurement", false, false};
inline constexpr MemoryUse kArenaMemory{"the arena"};
inline constexpr MemoryUse kOutputMemory{"the outputs"};

struct MemoryStats {
  size_t active = 0;  // bytes in use
  size_t peak = 0;    // the most that were ever in use
  size_t cached = 0;  // bytes kept for reuse
  size_t limit = 0;   // active + cached never pass it
};

// Where a pool has memory from, other than the system: a device.
class MemorySource {
 public:
  virtual ~MemorySource() = default;
  // A pointer, or what stands for the memory on the device. MemoryLimitError names the use, the bytes asked for and the
  // limit, if there is none.
  virtual void* allocate(size_t bytes, const MemoryUse& use) = 0;
  virtual void free(void* memory, size_t bytes) noexcept = 0;
};

// Every call is a DeviceError in the child after fork(); what the child destroys is left alone.
class MemoryPool {
 public:
  // Bytes of everything together, and of working memory.
  explicit MemoryPool(size_t limit, size_t working_limit = SIZE_MAX);
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // One piece of memory, aligned to kAlignment, or of a source; goes back to the pool when destroyed. It may outlive
  // the pool.
  class Buffer {
   public:
    Buffer() = default;
    ~Buffer();
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    void* data() const { return data_; }   // what the source gave
    size_t size() const { return size_; }  // bytes, as asked for
    template <class T>
    T* as() const {
      return static_cast<T*>(data_);
    }

   private:
    friend class MemoryPool;
    struct Shared;
    std::shared_ptr<Shared> pool_;
    std::shared_ptr<MemorySource> source_;  // null: the system
    void* data_ = nullptr;
    size_t size_ = 0;
    size_t capacity_ = 0;
    MemoryUse use_{};
  };

  // The contents are not initialised. MemoryLimitError names the use, the bytes asked for and the limit. Memory of a
  // source counts as memory of the system does, and is reused for the same source.
  Buffer allocate(size_t bytes, const MemoryUse& use, std::shared_ptr<MemorySource> source = nullptr);

  // Gives the cached buffers back to the system.
  void trim();

  MemoryStats stats() const;
  MemoryStats working_stats() const;
  // Bytes in use that were allocated for a use of this name.
  size_t active(const MemoryUse& use) const;

 private:
  std::shared_ptr<Buffer::Shared> shared_;
};

}  // namespace tritium
