#include "memory/mapped_file.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "memory/allocator.h"

namespace tritium {

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path, FileAccess access) {
  return open(std::make_unique<File>(path), path, access);
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path, uint64_t map_above) {
  auto file = std::make_unique<File>(path);
  const FileAccess access = file->size() > map_above ? FileAccess::kMap : FileAccess::kRead;
  return open(std::move(file), path, access);
}

std::shared_ptr<const MappedFile> MappedFile::open(std::unique_ptr<File> file, const std::filesystem::path& path,
                                                   FileAccess access) {
  if (file->size() > std::numeric_limits<size_t>::max() / 2) {
    throw ModelLoadError(
        concat("[file] '", path_text(path), "' has ", file->size(), " bytes, more than can be mapped"));
  }
  const auto size = static_cast<size_t>(file->size());
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->path_ = path;
  mapped->access_ = access;
  mapped->identity_ = file->identity();
  if (size == 0) return mapped;  // an empty file cannot be mapped
  if (access == FileAccess::kMap) {
    mapped->data_ = file->map(size);
    mapped->size_ = size;
    mapped->file_ = std::move(file);
  } else {
    auto* data = static_cast<std::byte*>(allocate_aligned(size));
    mapped->data_ = data;  // owned from here on, whatever read() does
    mapped->size_ = size;
    file->read(data, size);
  }
  return mapped;
}

std::shared_ptr<const MappedFile> MappedFile::lend(std::span<const std::byte> bytes, std::shared_ptr<const void> owner,
                                                   const std::filesystem::path& path) {
  std::shared_ptr<MappedFile> lent(new MappedFile);
  lent->path_ = path;
  lent->access_ = FileAccess::kLent;
  lent->data_ = bytes.data();
  lent->size_ = bytes.size();
  lent->owner_ = std::move(owner);
  return lent;
}

const std::byte* MappedFile::fetch(uint64_t offset, size_t count, std::byte* scratch) const {
  if (!file_) return data_ + offset;
  file_->read_at(offset, scratch, count);
  return scratch;
}

void MappedFile::drop(uint64_t offset, uint64_t count) const noexcept {
  if (access_ != FileAccess::kMap || offset >= size_) return;
  File::drop(data_ + offset, static_cast<size_t>(std::min<uint64_t>(count, size_ - offset)));
}

bool MappedFile::is_current() const noexcept {
  try {
    return identity_ && File(path_).identity() == *identity_;
  } catch (const ModelLoadError&) {
    return false;
  }
}

MappedFile::~MappedFile() {
  if (!data_ || access_ == FileAccess::kLent) return;
  if (access_ == FileAccess::kMap) {
    File::unmap(data_, size_);
  } else {
    free_aligned(const_cast<std::byte*>(data_), size_);
  }
}

}  // namespace tritium
